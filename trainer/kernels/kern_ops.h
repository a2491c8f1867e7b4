/*
 * trainer/kernels/kern_ops.h - the arithmetic of a device, as one table.
 *
 * A table holds one function per operation; what an operation computes is in the
 * header of its own (kern_linear.h, kern_attention.h, ...). Every table computes
 * the same thing: a "portable" one in plain C, which is the definition, and faster
 * ones that must agree with it to the tolerance their header names.
 *
 * All arrays are float32 and row-major. No function allocates, fails, or keeps a
 * pointer. Within one table, equal inputs give equal bits: sums have a fixed order
 * that depends on the shape alone, and a row of a result depends on no other row (of a BLAS
 * library's product: on no other row's values, though perhaps on how many there are).
 *
 * Threads: tables are read-only once chosen; any thread may call any function on
 * memory of its own. One thread computes one call.
 */
#ifndef TRAINER_KERNELS_KERN_OPS_H
#define TRAINER_KERNELS_KERN_OPS_H

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "trainer/kernels/kern_attention.h"
#include "trainer/kernels/kern_attention_cache.h"
#include "trainer/kernels/kern_embed.h"
#include "trainer/kernels/kern_gate.h"
#include "trainer/kernels/kern_layernorm.h"
#include "trainer/kernels/kern_likeliest.h"
#include "trainer/kernels/kern_linear.h"
#include "trainer/kernels/kern_rows.h"
#include "trainer/kernels/kern_tokens.h"
#include "trainer/kernels/kern_update.h"
#include "trainer/kernels/kern_xent.h"

/* AUTO is AVX2 where the CPU has AVX2 and FMA, else PORTABLE. */
enum kern_isa { KERN_ISA_AUTO, KERN_ISA_PORTABLE, KERN_ISA_AVX2 };

/* Who multiplies matrices. AUTO is OWN if the other kernels are the AVX2 ones, else BLAS. */
enum kern_matmul { KERN_MATMUL_AUTO, KERN_MATMUL_PORTABLE, KERN_MATMUL_OWN, KERN_MATMUL_BLAS };

struct kern_ops {
    struct device *device; /* whose memory the functions work on */
    const char *isa;       /* "portable", "avx2" */
    const char *matmul; /* "portable", "own avx2 6x16", "openblas Zen" (with the BLAS core name) */

    kern_linear_panel_elems_fn *linear_panel_elems;
    kern_linear_pack_fn *linear_pack;
    kern_linear_forward_fn *linear_forward;
    kern_linear_backward_data_fn *linear_backward_data;
    kern_linear_backward_weight_fn *linear_backward_weight;

    kern_layernorm_forward_fn *layernorm_forward;
    kern_layernorm_backward_fn *layernorm_backward;

    kern_attention_saved_elems_fn *attention_saved_elems;
    kern_attention_forward_fn *attention_forward;
    kern_attention_backward_fn *attention_backward;
    /* Of texts that are written token by token: NULL on a CUDA device. */
    kern_attention_cache_put_fn *attention_cache_put;
    kern_attention_cache_forward_fn *attention_cache_forward;
    kern_likeliest_fn *likeliest;

    kern_xent_forward_fn *xent_forward;
    kern_xent_backward_fn *xent_backward;

    kern_embed_forward_fn *embed_forward;
    kern_embed_backward_fn *embed_backward;

    kern_tokens_forward_fn *tokens_forward;
    kern_tokens_backward_fn *tokens_backward;
    kern_token_mean_forward_fn *token_mean_forward;
    kern_token_mean_backward_fn *token_mean_backward;
    kern_token_last_forward_fn *token_last_forward;
    kern_token_last_backward_fn *token_last_backward;

    kern_gate_forward_fn *gate_forward;
    kern_gate_backward_fn *gate_backward;

    kern_zero_fn *zero;
    kern_copy_rows_fn *copy_rows;
    kern_add_rows_fn *add_rows;
    kern_gather_rows_fn *gather_rows;
    kern_keep_rows_fn *keep_rows;
    kern_mean_forward_fn *mean_forward;
    kern_mean_backward_fn *mean_backward;
    kern_count_fn *count;
    kern_tally_fn *tally;

    kern_add_fn *add;
    kern_sum_squares_fn *sum_squares;
    kern_adamw_fn *adamw;
    kern_sgd_fn *sgd;
};

/*
 * Fills *ops_out for this CPU. Errors: ERR_CONFIG if the choice needs AVX2 and FMA
 * and the CPU has neither, naming what it has.
 */
ERR_MUST_CHECK enum err kern_ops_choose(enum kern_isa isa, enum kern_matmul matmul,
                                        struct kern_ops *ops_out);

/* "avx2 fma avx512f ...": what matters here of what this CPU can do. Static storage. */
const char *kern_cpu_features(void);

/*
 * GFLOP/s of one core on independent fused multiply-adds, the ceiling of every
 * kernel here: the best of a few runs of `duration_ms` in all. 0 without AVX2.
 */
double kern_fma_peak_gflops(int duration_ms);

#endif
