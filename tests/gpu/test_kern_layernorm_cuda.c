/* Tests of trainer/kernels/kern_layernorm_cuda.cu, with the cases of the CPU's versions. */
#include "tests/support/device_mirror.h"
#include "trainer/kernels/kern_layernorm.h"

static void forward_there(float *y, float *mean, float *rstd, const float *x, int64_t ld_x,
                          const float *gain, const float *bias, int64_t N, int64_t C, float epsilon)
{
    struct device_mirror m = device_mirror_begin();
    float *y_there = device_mirror_out(&m, y, N * C);
    float *mean_there = device_mirror_out(&m, mean, N),
          *rstd_there = device_mirror_out(&m, rstd, N);
    const float *x_there = device_mirror_in(&m, x, device_mirror_extent(N, C, ld_x));

    kern_layernorm_forward_cuda(y_there, mean_there, rstd_there, x_there, ld_x,
                                device_mirror_in(&m, gain, C), device_mirror_in(&m, bias, C), N, C,
                                epsilon);
    device_mirror_end(&m);
}

static void backward_there(float *dx, const float *residual, float *dgain, float *dbias,
                           const float *dy, const float *x, int64_t ld_x, const float *mean,
                           const float *rstd, const float *gain, int64_t N, int64_t C,
                           bool accumulate)
{
    struct device_mirror m = device_mirror_begin();
    const int64_t extent = device_mirror_extent(N, C, ld_x);
    float *dx_there = device_mirror_out(&m, dx, extent);
    const float *residual_there = device_mirror_in(&m, residual, extent);
    float *dgain_there = device_mirror_out(&m, dgain, C);
    float *dbias_there = device_mirror_out(&m, dbias, C);
    const float *mean_there = device_mirror_in(&m, mean, N);

    kern_layernorm_backward_cuda(dx_there, residual_there, dgain_there, dbias_there,
                                 device_mirror_in(&m, dy, N * C), device_mirror_in(&m, x, extent),
                                 ld_x, mean_there, device_mirror_in(&m, rstd, N),
                                 device_mirror_in(&m, gain, C), N, C, accumulate);
    device_mirror_end(&m);
}

#define KERN_CASES_VERSIONS                                                                        \
    {                                                                                              \
        "cuda", forward_there, backward_there                                                      \
    }
#define KERN_CASES_COUNT 1
#include "tests/support/kern_layernorm_cases.h"
