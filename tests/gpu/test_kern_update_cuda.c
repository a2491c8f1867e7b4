/* Tests of trainer/kernels/kern_update_cuda.cu, with the cases of the CPU's versions. */
#include "tests/support/device_mirror.h"
#include "trainer/kernels/kern_update.h"

static void add_there(float *to, const float *from, int64_t count)
{
    struct device_mirror m = device_mirror_begin();

    kern_add_cuda(device_mirror_out(&m, to, count), device_mirror_in(&m, from, count), count);
    device_mirror_end(&m);
}

static void squares_there(double *sum, const float *x, int64_t count)
{
    struct device_mirror m = device_mirror_begin();

    kern_sum_squares_cuda(device_mirror_of(&m, sum, sizeof(*sum), true),
                          device_mirror_in(&m, x, count), count);
    device_mirror_end(&m);
}

static void adamw_there(float *weight, float *m1, float *v, const float *gradient, int64_t count,
                        const struct kern_adamw_args *args)
{
    struct device_mirror m = device_mirror_begin();

    kern_adamw_cuda(device_mirror_out(&m, weight, count), device_mirror_out(&m, m1, count),
                    device_mirror_out(&m, v, count), device_mirror_in(&m, gradient, count), count,
                    args);
    device_mirror_end(&m);
}

static void sgd_there(float *weight, float *m1, const float *gradient, int64_t count,
                      const struct kern_sgd_args *args)
{
    struct device_mirror m = device_mirror_begin();

    kern_sgd_cuda(device_mirror_out(&m, weight, count), device_mirror_out(&m, m1, count),
                  device_mirror_in(&m, gradient, count), count, args);
    device_mirror_end(&m);
}

#define KERN_CASES_VERSIONS                                                                        \
    {                                                                                              \
        add_there, squares_there, adamw_there, sgd_there, 1e-14                                    \
    }
#define KERN_CASES_COUNT 1
#include "tests/support/kern_update_cases.h"
