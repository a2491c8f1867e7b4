/*
 * tests/cudasim/include/mma.h - nvcuda::wmma for bfloat16 16x16x16 with float accumulators.
 *
 * As on a GPU a fragment lies spread over a warp, and which lane holds which element is nobody's
 * business: here lane l holds the elements l, l + 32, ... of the row-major matrix.
 */
#ifndef CUDASIM_MMA_H
#define CUDASIM_MMA_H

#include <cuda_bf16.h>

extern "C" {
/* Of a whole warp, like the functions below. ld in elements. */
void cudasim_wmma_load(void *lane_elements, const void *matrix, unsigned ld, int is_row_major,
                       size_t element_bytes, const char *what);
void cudasim_wmma_store(void *matrix, const float *lane_elements, unsigned ld, int is_row_major);
void cudasim_wmma_mma(float *lane_d, const unsigned short *lane_a, const unsigned short *lane_b,
                      const float *lane_c);
}

namespace nvcuda
{
namespace wmma
{
struct row_major {
};
struct col_major {
};
struct matrix_a {
};
struct matrix_b {
};
struct accumulator {
};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment;

template <class Use, class Layout> struct cudasim_input_fragment {
    static constexpr int num_elements = 8;
    __nv_bfloat16 x[8];
};
template <class Layout>
struct fragment<matrix_a, 16, 16, 16, __nv_bfloat16, Layout>
    : cudasim_input_fragment<matrix_a, Layout> {
};
template <class Layout>
struct fragment<matrix_b, 16, 16, 16, __nv_bfloat16, Layout>
    : cudasim_input_fragment<matrix_b, Layout> {
};
template <> struct fragment<accumulator, 16, 16, 16, float, void> {
    static constexpr int num_elements = 8;
    float x[8];
};

template <class Use, class T, class Layout, class V>
static inline void fill_fragment(fragment<Use, 16, 16, 16, T, Layout> &f, const V &value)
{
    for (int i = 0; i < f.num_elements; i++) {
        if constexpr (std::is_same<T, __nv_bfloat16>::value) {
            f.x[i] = __float2bfloat16(static_cast<float>(value));
        } else {
            f.x[i] = static_cast<T>(value);
        }
    }
}
template <class Use, class Layout>
static inline void load_matrix_sync(fragment<Use, 16, 16, 16, __nv_bfloat16, Layout> &f,
                                    const __nv_bfloat16 *matrix, unsigned ld)
{
    cudasim_wmma_load(f.x, matrix, ld, std::is_same<Layout, row_major>::value,
                      sizeof(__nv_bfloat16), "load_matrix_sync");
}
static inline void load_matrix_sync(fragment<accumulator, 16, 16, 16, float> &f,
                                    const float *matrix, unsigned ld, layout_t layout)
{
    cudasim_wmma_load(f.x, matrix, ld, layout == mem_row_major, sizeof(float), "load_matrix_sync");
}
static inline void store_matrix_sync(float *matrix,
                                     const fragment<accumulator, 16, 16, 16, float> &f, unsigned ld,
                                     layout_t layout)
{
    cudasim_wmma_store(matrix, f.x, ld, layout == mem_row_major);
}
template <class LayoutA, class LayoutB>
static inline void mma_sync(fragment<accumulator, 16, 16, 16, float> &d,
                            const fragment<matrix_a, 16, 16, 16, __nv_bfloat16, LayoutA> &a,
                            const fragment<matrix_b, 16, 16, 16, __nv_bfloat16, LayoutB> &b,
                            const fragment<accumulator, 16, 16, 16, float> &c)
{
    cudasim_wmma_mma(d.x, &a.x[0].bits, &b.x[0].bits, c.x);
}
} // namespace wmma
} // namespace nvcuda

#endif
