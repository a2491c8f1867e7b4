/* Tests of trainer/kernels/kern_gelu_cuda.cu, with the cases of the CPU's versions. */
#include "tests/support/device_mirror.h"
#include "trainer/kernels/kern_gelu.h"

static void gelu_there(float *y, float *slope, const float *x, int64_t count, enum kern_gelu form)
{
    struct device_mirror m = device_mirror_begin();
    float *y_there = device_mirror_out(&m, y, count);
    float *slope_there = device_mirror_out(&m, slope, count);

    kern_gelu_cuda(y_there, slope_there, device_mirror_in(&m, x, count), count, form);
    device_mirror_end(&m);
}

#define KERN_CASES_VERSIONS gelu_there
#define KERN_CASES_COUNT 1
#include "tests/support/kern_gelu_cases.h"
