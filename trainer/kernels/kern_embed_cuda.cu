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

enum { P = 4, THREADS = 256 };

struct patches_args {
    float *patches;
    const float *images;
    uint32_t channels, image_size, patch_size, side;
    uint32_t count; /* of elements */
};

/* An element a thread: where it comes from depends on all of its coordinates. */
static __global__ void __launch_bounds__(THREADS) patches_kernel(const struct patches_args a)
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
    a.patches[i] = a.images[(int64_t)from_row * a.image_size + px * a.patch_size + x];
}

struct start_args {
    float *x;
    const float *cls, *bias, *positions;
    int64_t B, T, D;
    bool whole;
};

/* x[b, 0] = cls + positions[0], x[b, t] = bias + positions[t]. */
static __global__ void __launch_bounds__(THREADS) start_kernel(const struct start_args a)
{
    const uint32_t packs = (uint32_t)((a.D + P - 1) / P);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t row = i / packs, t = row % (uint32_t)a.T;
    const int64_t at = (int64_t)(i - row * packs) * P;
    float v[P], position[P];

    if (row >= a.B * a.T) {
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

static void start(float *x, const struct kern_embed *embed, int64_t B, int64_t T, int64_t D)
{
    const int64_t packs = B * T * kern_blocks(D, P);
    const bool whole = kern_is_aligned(x) && kern_is_aligned(embed->cls) &&
                       kern_is_aligned(embed->bias) && kern_is_aligned(embed->positions) &&
                       D % P == 0;
    const struct start_args args = {x, embed->cls, embed->bias, embed->positions, B, T, D, whole};

    assert(packs <= INT32_MAX);
    KERN_LAUNCH(start_kernel, kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                device_cuda_current(), args);
}

void kern_embed_forward_cuda(const struct kern_ops *ops, float *x, float *patches,
                             const float *images, const struct kern_embed *embed,
                             const struct kern_embed_shape *shape)
{
    const int64_t side = shape->S / shape->P, patch_count = side * side;
    const int64_t inputs = shape->C * shape->P * shape->P, D = shape->D;
    const int64_t count = shape->B * patch_count * inputs;
    const struct patches_args cut = {
        patches,        images,         (uint32_t)shape->C, (uint32_t)shape->S, (uint32_t)shape->P,
        (uint32_t)side, (uint32_t)count};

    (void)ops;
    assert(count <= INT32_MAX);
    if (count == 0) {
        return;
    }
    KERN_LAUNCH(patches_kernel, kern_grid(kern_blocks(count, THREADS)), THREADS, 0,
                device_cuda_current(), cut);
    start(x, embed, shape->B, 1 + patch_count, D);
    struct kern_product product = {};
    product.is_a_transposed = true;
    product.m = D;
    product.n = patch_count;
    product.k = inputs;
    product.a = embed->linear->weight;
    product.lda = inputs;
    product.b = patches;
    product.ldb = inputs;
    product.stride_b = patch_count * inputs;
    product.c = product.d = x + D;
    product.ldd = D;
    product.stride_d = (1 + patch_count) * D;
    product.adds_c = true;
    product.batch = shape->B;
    kern_product_run(&product);
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
