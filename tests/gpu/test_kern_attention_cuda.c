/* Tests of trainer/kernels/kern_attention_cuda.cu, with the cases of the CPU's versions. */
#include "tests/support/device_mirror.h"
#include "trainer/kernels/kern_attention.h"

static int64_t elems_of(const struct kern_attention_shape *shape)
{
    return shape->B * shape->T * shape->H * shape->D;
}

/* The mask with lengths of the device; NULL for none. */
static const struct kern_attention_mask *mask_there(struct device_mirror *m,
                                                    const struct kern_attention_shape *shape,
                                                    const struct kern_attention_mask *mask,
                                                    struct kern_attention_mask *there)
{
    if (mask == NULL) {
        return NULL;
    }
    *there = *mask;
    if (mask->lengths != NULL) {
        there->lengths = device_mirror_in_i32(m, mask->lengths, shape->B);
    }
    return there;
}

static void forward_there(float *out, float *saved, const float *qkv,
                          const struct kern_attention_shape *shape, int64_t query_count,
                          const struct kern_attention_mask *mask)
{
    struct device_mirror m = device_mirror_begin();
    struct kern_attention_mask there;
    float *out_there = device_mirror_out(&m, out, elems_of(shape));
    float *saved_there = device_mirror_out(&m, saved, kern_attention_saved_elems_cuda(shape));

    kern_attention_forward_cuda(out_there, saved_there,
                                device_mirror_in(&m, qkv, 3 * elems_of(shape)), shape, query_count,
                                mask_there(&m, shape, mask, &there));
    device_mirror_end(&m);
}

static void backward_there(float *dqkv, const float *dout, const float *qkv, const float *saved,
                           const struct kern_attention_shape *shape, int64_t query_count,
                           const struct kern_attention_mask *mask)
{
    struct device_mirror m = device_mirror_begin();
    struct kern_attention_mask there;
    float *dqkv_there = device_mirror_out(&m, dqkv, 3 * elems_of(shape));
    const float *dout_there = device_mirror_in(&m, dout, elems_of(shape));
    const float *saved_there = device_mirror_in(&m, saved, kern_attention_saved_elems_cuda(shape));

    kern_attention_backward_cuda(dqkv_there, dout_there,
                                 device_mirror_in(&m, qkv, 3 * elems_of(shape)), saved_there, shape,
                                 query_count, mask_there(&m, shape, mask, &there));
    device_mirror_end(&m);
}

#define KERN_CASES_VERSIONS                                                                        \
    {                                                                                              \
        "cuda", kern_attention_saved_elems_cuda, forward_there, backward_there                     \
    }
#define KERN_CASES_COUNT 1
#include "tests/support/kern_attention_cases.h"
