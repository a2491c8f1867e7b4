/*
 * The embedding on the device: patches of all samples, a start of x that holds all but the product,
 * and one product for all samples, each at its stride. Backward gathers the rows of patches behind each
 * other, for one product, too.
 *
 * Floor, with I = C P P inputs of a patch: forward 2 B (T - 1) I D operations, 4 bytes of the images read
 * and of the patches written and read, x written twice and read once; backward as many operations,
 * dx read three times and written once.
 */
#include "trainer/kernels/kern_embed.h"

#include "trainer/kernels/kern_columns_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"
#include "trainer/kernels/kern_product_cuda_priv.h"
#include "trainer/kernels/kern_rows.h"

enum { THREADS = 256 };

template <typename T> struct patches_args {
    T *patches;
    const float *images;
    uint32_t channels, image_size, patch_size, side;
    uint32_t count; /* of elements */
};

/* An element a thread: where it comes from depends on all of its coordinates. */
template <typename T>
static __global__ void __launch_bounds__(THREADS) patches_kernel(const struct patches_args<T> a)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;

    if (i >= a.count) {
        return;
    }
    const uint32_t x = i % a.patch_size, row = i / a.patch_size;
    const uint32_t y = row % a.patch_size, plane = row / a.patch_size;
    const uint32_t c = plane % a.channels, patch = plane / a.channels;
    const uint32_t px = patch % a.side, line = patch / a.side;
    const uint32_t py = line % a.side, b = line / a.side;
    const uint32_t from_row = (b * a.channels + c) * a.image_size + py * a.patch_size + y;
    kern_store(a.patches + i, a.images[(int64_t)from_row * a.image_size + px * a.patch_size + x]);
}

template <typename T> struct start_args {
    T *x;
    const T *cls, *bias, *positions;
    int64_t B, tokens, D;
    bool whole;
};

/* x[b, 0] = cls + positions[0], x[b, t] = bias + positions[t]. */
template <typename T>
static __global__ void __launch_bounds__(THREADS) start_kernel(const struct start_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const uint32_t packs = (uint32_t)((a.D + P - 1) / P);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t row = i / packs, t = row % (uint32_t)a.tokens;
    const int64_t at = (int64_t)(i - row * packs) * P;
    float v[P], position[P];

    if (row >= a.B * a.tokens) {
        return;
    }
    kern_load_pack<P>(v, t == 0 ? a.cls : a.bias, at, a.D, a.whole);
    kern_load_pack<P>(position, a.positions + t * a.D, at, a.D, a.whole);
#pragma unroll
    for (int e = 0; e < P; e++) {
        v[e] = __fadd_rn(v[e], position[e]);
    }
    kern_store_pack<P>(a.x + row * a.D, v, at, a.D, a.whole);
}

template <typename T> static void start(struct start_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t packs = a.B * a.tokens * kern_blocks(a.D, P);

    assert(packs <= INT32_MAX);
    a.whole = kern_is_aligned(a.x) && kern_is_aligned(a.cls) && kern_is_aligned(a.bias) &&
              kern_is_aligned(a.positions) && a.D % P == 0;
    KERN_LAUNCH((start_kernel<T>), kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                device_cuda_current(), a);
}

/* x += W patches, of all samples. */
static void add_product(enum kern_type type, void *x, const void *weight, const void *patches,
                        const struct kern_embed_shape *shape)
{
    const int64_t side = shape->S / shape->P, inputs = shape->C * shape->P * shape->P;
    struct kern_product product = {};

    product.type = product.type_d = type;
    product.is_a_transposed = true;
    product.m = shape->D;
    product.n = side * side;
    product.k = inputs;
    product.a = weight;
    product.lda = inputs;
    product.b = patches;
    product.ldb = inputs;
    product.stride_b = side * side * inputs;
    product.c = product.d = x;
    product.ldd = shape->D;
    product.stride_d = (1 + side * side) * shape->D;
    product.adds_c = true;
    product.batch = shape->B;
    kern_product_run(&product);
}

template <typename T>
static void forward(enum kern_type type, T *x, T *patches, const float *images, const T *weight,
                    struct start_args<T> begin, const struct kern_embed_shape *shape)
{
    const int64_t side = shape->S / shape->P, D = shape->D;
    const int64_t count = shape->B * side * side * shape->C * shape->P * shape->P;
    const struct patches_args<T> cut = {
        patches, images, (uint32_t)shape->C, (uint32_t)shape->S, (uint32_t)shape->P, (uint32_t)side,
            (uint32_t)count
    };

    assert(count <= INT32_MAX);
    if (count == 0) {
        return;
    }
    KERN_LAUNCH((patches_kernel<T>), kern_grid(kern_blocks(count, THREADS)), THREADS, 0,
                device_cuda_current(), cut);
    begin.x = x;
    begin.B = shape->B;
    begin.tokens = 1 + side * side;
    begin.D = D;
    start<T>(begin);
    add_product(type, x + D, weight, patches, shape);
}

void kern_embed_forward_cuda(const struct kern_ops *ops, float *x, float *patches,
                             const float *images, const struct kern_embed *embed,
                             const struct kern_embed_shape *shape)
{
    (void)ops;
    forward<float>(KERN_F32, x, patches, images, embed->linear->weight,
                   {NULL, embed->cls, embed->bias, embed->positions, 0, 0, 0, false}, shape);
}

void kern_embed_forward_bf16_cuda(uint16_t *x, uint16_t *patches, const float *images,
                                  const struct kern_embed_bf16 *embed,
                                  const struct kern_embed_shape *shape)
{
    forward<uint16_t>(KERN_BF16, x, patches, images, embed->weight,
                      {NULL, embed->cls, embed->bias, embed->positions, 0, 0, 0, false}, shape);
}

void kern_embed_backward_cuda(const struct kern_ops *ops,
                              const struct kern_embed_gradients *gradients, const float *dx,
                              const float *patches, float *scratch,
                              const struct kern_embed_shape *shape, bool accumulate)
{
    const int64_t side = shape->S / shape->P, patch_count = side * side;
    const int64_t inputs = shape->C * shape->P * shape->P, D = shape->D;
    const int64_t row_elems = (1 + patch_count) * D;

    (void)ops;
    kern_sum_columns_f32(gradients->cls, dx, row_elems, shape->B, D, accumulate);
    kern_sum_columns_f32(gradients->positions, dx, row_elems, shape->B, row_elems, accumulate);
    kern_copy_rows_cuda(scratch, patch_count * D, dx + D, row_elems, shape->B, patch_count * D);
    kern_linear_backward_weight_cuda(gradients->weight, gradients->bias, scratch, D, patches,
                                     inputs, shape->B * patch_count, D, inputs, accumulate);
}

void kern_embed_backward_bf16_cuda(const struct kern_embed_gradients *gradients, const uint16_t *dx,
                                   const uint16_t *patches, uint16_t *scratch,
                                   const struct kern_embed_shape *shape, bool accumulate)
{
    const int64_t side = shape->S / shape->P, patch_count = side * side;
    const int64_t inputs = shape->C * shape->P * shape->P, D = shape->D;
    const int64_t row_elems = (1 + patch_count) * D;

    kern_sum_columns_bf16(gradients->cls, dx, row_elems, shape->B, D, accumulate);
    kern_sum_columns_bf16(gradients->positions, dx, row_elems, shape->B, row_elems, accumulate);
    kern_copy_rows_bf16_cuda(scratch, patch_count * D, dx + D, row_elems, shape->B,
                             patch_count * D);
    kern_linear_backward_weight_bf16_cuda(gradients->weight, gradients->bias, scratch, D, patches,
                                          inputs, shape->B * patch_count, D, inputs, accumulate);
}
