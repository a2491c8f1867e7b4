/*
 * GELU on the device: a pack of elements a thread.
 *
 * Floor: 4 bytes read and 4 or 8 written an element (2 and 2 or 4 in bfloat16), some 30 operations of
 * which two are exponentials: bound by memory.
 */
#include "trainer/kernels/kern_gelu.h"

#include "trainer/kernels/kern_gelu_cuda_priv.h"
#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum { THREADS = 256 }; /* eight warps hide the latency of two 16-byte accesses each */

/* Row n of `width` elements begins at n * ld; slope as y, or NULL. */
template <typename T> struct gelu_args {
    T *y, *slope;
    const T *x;
    int64_t rows, width, ld;
    enum kern_gelu form;
    bool whole;
};

template <typename T>
static __global__ void __launch_bounds__(THREADS) gelu_kernel(const struct gelu_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const uint32_t packs = (uint32_t)((a.width + P - 1) / P);
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    const uint32_t n = i / packs;
    const int64_t at = (int64_t)(i - n * packs) * P, row = n * a.ld;
    float x[P], slope[P];

    if (n >= a.rows) {
        return;
    }
    kern_load_pack<P>(x, a.x + row, at, a.width, a.whole);
#pragma unroll
    for (int p = 0; p < P; p++) {
        const struct kern_gelu_pair pair = kern_gelu_both(x[p], a.form);
        x[p] = pair.y;
        slope[p] = pair.slope;
    }
    kern_store_pack<P>(a.y + row, x, at, a.width, a.whole);
    if (a.slope != NULL) {
        kern_store_pack<P>(a.slope + row, slope, at, a.width, a.whole);
    }
}

template <typename T> static void launch(struct gelu_args<T> a)
{
    constexpr int P = KERN_PACK<T>;
    const int64_t packs = a.rows * kern_blocks(a.width, P);

    assert(packs <= INT32_MAX);
    if (packs == 0) {
        return;
    }
    a.whole = kern_is_aligned(a.x) && kern_is_aligned(a.y) && kern_is_aligned(a.slope) &&
              (a.rows == 1 || a.ld % P == 0);
    KERN_LAUNCH((gelu_kernel<T>), kern_grid(kern_blocks(packs, THREADS)), THREADS, 0,
                device_cuda_current(), a);
}

void kern_gelu_cuda(float *y, float *slope, const float *x, int64_t count, enum kern_gelu form)
{
    assert(form != KERN_GELU_NONE);
    launch<float>({y, slope, x, 1, count, count, form, false});
}

void kern_gelu_bf16_cuda(uint16_t *y, uint16_t *slope, const uint16_t *x, int64_t count,
                         enum kern_gelu form)
{
    assert(form != KERN_GELU_NONE);
    launch<uint16_t>({y, slope, x, 1, count, count, form, false});
}

void kern_gelu_rows_f32(float *y, float *slope, int64_t rows, int64_t width, int64_t ld,
                        enum kern_gelu form)
{
    launch<float>({y, slope, y, rows, width, ld, form, false});
}

void kern_gelu_rows_bf16(uint16_t *y, uint16_t *slope, int64_t rows, int64_t width, int64_t ld,
                         enum kern_gelu form)
{
    launch<uint16_t>({y, slope, y, rows, width, ld, form, false});
}
