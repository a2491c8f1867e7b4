/* Tests of trainer/kernels/kern_xent_cuda.cu, with the cases of the CPU's versions. */
#include "tests/support/device_mirror.h"
#include "trainer/kernels/kern_xent.h"

static void forward_there(const struct kern_xent_out *out, const float *z, const int32_t *label,
                          int64_t N, int64_t K)
{
    struct device_mirror m = device_mirror_begin();
    const struct kern_xent_out there = {
        .loss = device_mirror_out(&m, out->loss, N),
        .lse = device_mirror_out(&m, out->lse, N),
        .features = device_mirror_out(&m, out->features, N * KERN_XENT_FEATURES),
        .predicted = device_mirror_out_i32(&m, out->predicted, N),
        .bad = device_mirror_out(&m, out->bad, 1),
    };

    kern_xent_forward_cuda(&there, device_mirror_in(&m, z, N * K),
                           device_mirror_in_i32(&m, label, N), N, K);
    device_mirror_end(&m);
}

static void backward_there(float *dz, const float *z, const float *lse, const int32_t *label,
                           const float *weight, int64_t N, int64_t K)
{
    struct device_mirror m = device_mirror_begin();
    float *dz_there = device_mirror_out(&m, dz, N * K);

    kern_xent_backward_cuda(dz_there, device_mirror_in(&m, z, N * K), device_mirror_in(&m, lse, N),
                            device_mirror_in_i32(&m, label, N), device_mirror_in(&m, weight, N), N,
                            K);
    device_mirror_end(&m);
}

#define KERN_CASES_VERSIONS                                                                        \
    {                                                                                              \
        "cuda", forward_there, backward_there                                                      \
    }
#define KERN_CASES_COUNT 1
#include "tests/support/kern_xent_cases.h"
