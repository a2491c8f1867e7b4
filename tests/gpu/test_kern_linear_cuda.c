/* Tests of trainer/kernels/kern_linear_cuda.cu, with the cases of the CPU's versions. */
#include "tests/support/device_mirror.h"
#include "trainer/kernels/kern_linear.h"

static struct kern_linear weight_there(struct device_mirror *m, const struct kern_linear *linear)
{
    return (struct kern_linear){
        .N = linear->N,
        .K = linear->K,
        .weight = device_mirror_in(m, linear->weight, linear->N * linear->K),
    };
}

static void forward_there(float *y, int64_t ld_y, const float *x, int64_t ld_x, int64_t M,
                          const struct kern_linear *linear,
                          const struct kern_linear_epilogue *epilogue)
{
    struct device_mirror m = device_mirror_begin();
    const int64_t extent = device_mirror_extent(M, linear->N, ld_y);
    const struct kern_linear there = weight_there(&m, linear);
    float *y_there = device_mirror_out(&m, y, extent);
    struct kern_linear_epilogue also = {.gelu = KERN_GELU_NONE};

    if (epilogue != NULL) {
        also.bias = device_mirror_in(&m, epilogue->bias, linear->N);
        also.residual = device_mirror_in(&m, epilogue->residual, extent);
        also.gelu = epilogue->gelu;
        also.slope = device_mirror_out(&m, epilogue->slope, extent);
    }
    kern_linear_forward_cuda(y_there, ld_y,
                             device_mirror_in(&m, x, device_mirror_extent(M, linear->K, ld_x)),
                             ld_x, M, &there, epilogue == NULL ? NULL : &also);
    device_mirror_end(&m);
}

static void backward_data_there(float *dx, int64_t ld_dx, const float *dy, int64_t ld_dy, int64_t M,
                                const struct kern_linear *linear, const float *slope)
{
    struct device_mirror m = device_mirror_begin();
    const int64_t extent = device_mirror_extent(M, linear->K, ld_dx);
    const struct kern_linear there = weight_there(&m, linear);
    float *dx_there = device_mirror_out(&m, dx, extent);
    const float *slope_there = device_mirror_in(&m, slope, extent);

    kern_linear_backward_data_cuda(
        dx_there, ld_dx, device_mirror_in(&m, dy, device_mirror_extent(M, linear->N, ld_dy)), ld_dy,
        M, &there, slope_there);
    device_mirror_end(&m);
}

static void backward_weight_there(float *dweight, float *dbias, const float *dy, int64_t ld_dy,
                                  const float *x, int64_t ld_x, int64_t M, int64_t N, int64_t K,
                                  bool accumulate)
{
    struct device_mirror m = device_mirror_begin();
    float *dweight_there = device_mirror_out(&m, dweight, N * K);
    float *dbias_there = device_mirror_out(&m, dbias, N);
    const float *dy_there = device_mirror_in(&m, dy, device_mirror_extent(M, N, ld_dy));

    kern_linear_backward_weight_cuda(dweight_there, dbias_there, dy_there, ld_dy,
                                     device_mirror_in(&m, x, device_mirror_extent(M, K, ld_x)),
                                     ld_x, M, N, K, accumulate);
    device_mirror_end(&m);
}

#define KERN_CASES_VERSIONS                                                                        \
    {                                                                                              \
        "cuda", kern_linear_panel_elems_cuda, kern_linear_pack_cuda, forward_there,                \
            backward_data_there, backward_weight_there                                             \
    }
#define KERN_CASES_COUNT 1
#define KERN_CASES_START() ((void)0)
#define KERN_CASES_ROW_BITS 0 /* as a BLAS library, it promises nothing about them */
#define KERN_CASES_ROW_BITS_COUNT 0
#include "tests/support/kern_linear_cases.h"
