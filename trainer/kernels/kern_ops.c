#include "trainer/kernels/kern_ops.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "trainer/kernels/kern_cpu_priv.h"

static void fill_portable(struct kern_ops *ops)
{
    ops->isa = "portable";
    ops->layernorm_forward = kern_layernorm_forward_portable;
    ops->layernorm_backward = kern_layernorm_backward_portable;
    ops->attention_saved_elems = kern_attention_saved_elems_portable;
    ops->attention_forward = kern_attention_forward_portable;
    ops->attention_backward = kern_attention_backward_portable;
    ops->attention_cache_put = kern_attention_cache_put_portable;
    ops->attention_cache_forward = kern_attention_cache_forward_portable;
    ops->likeliest = kern_likeliest_portable;
    ops->xent_forward = kern_xent_forward_portable;
    ops->xent_backward = kern_xent_backward_portable;
    ops->gate_forward = kern_gate_forward_portable;
    ops->gate_backward = kern_gate_backward_portable;
    ops->add = kern_add_portable;
    ops->sum_squares = kern_sum_squares_portable;
    ops->adamw = kern_adamw_portable;
    ops->sgd = kern_sgd_portable;
}

static void fill_avx2(struct kern_ops *ops)
{
    ops->isa = "avx2";
    ops->layernorm_forward = kern_layernorm_forward_avx2;
    ops->layernorm_backward = kern_layernorm_backward_avx2;
    ops->attention_saved_elems = kern_attention_saved_elems_avx2;
    ops->attention_forward = kern_attention_forward_avx2;
    ops->attention_backward = kern_attention_backward_avx2;
    ops->attention_cache_put = kern_attention_cache_put_avx2;
    ops->attention_cache_forward = kern_attention_cache_forward_avx2;
    ops->likeliest = kern_likeliest_avx2;
    ops->xent_forward = kern_xent_forward_avx2;
    ops->xent_backward = kern_xent_backward_avx2;
    ops->gate_forward = kern_gate_forward_avx2;
    ops->gate_backward = kern_gate_backward_avx2;
    ops->add = kern_add_avx2;
    ops->sum_squares = kern_sum_squares_avx2;
    ops->adamw = kern_adamw_avx2;
    ops->sgd = kern_sgd_avx2;
}

/* What the compiler makes of the definition is as fast as memory. */
static void fill_rows(struct kern_ops *ops)
{
    ops->embed_forward = kern_embed_forward_cpu;
    ops->embed_backward = kern_embed_backward_cpu;
    ops->tokens_forward = kern_tokens_forward_portable;
    ops->tokens_backward = kern_tokens_backward_portable;
    ops->token_mean_forward = kern_token_mean_forward_portable;
    ops->token_mean_backward = kern_token_mean_backward_portable;
    ops->token_last_forward = kern_token_last_forward_portable;
    ops->token_last_backward = kern_token_last_backward_portable;
    ops->zero = kern_zero_portable;
    ops->copy_rows = kern_copy_rows_portable;
    ops->add_rows = kern_add_rows_portable;
    ops->gather_rows = kern_gather_rows_portable;
    ops->keep_rows = kern_keep_rows_portable;
    ops->mean_forward = kern_mean_forward_portable;
    ops->mean_backward = kern_mean_backward_portable;
    ops->count = kern_count_portable;
    ops->tally = kern_tally_portable;
}

static void fill_matmul_portable(struct kern_ops *ops)
{
    ops->matmul = "portable";
    ops->linear_panel_elems = kern_linear_panel_elems_portable;
    ops->linear_pack = kern_linear_pack_portable;
    ops->linear_forward = kern_linear_forward_portable;
    ops->linear_backward_data = kern_linear_backward_data_portable;
    ops->linear_backward_weight = kern_linear_backward_weight_portable;
}

static void fill_matmul_own(struct kern_ops *ops)
{
    ops->matmul = "own avx2 6x16";
    ops->linear_panel_elems = kern_linear_panel_elems_avx2;
    ops->linear_pack = kern_linear_pack_avx2;
    ops->linear_forward = kern_linear_forward_avx2;
    ops->linear_backward_data = kern_linear_backward_data_avx2;
    ops->linear_backward_weight = kern_linear_backward_weight_avx2;
}

static void fill_matmul_blas(struct kern_ops *ops)
{
    ops->matmul = kern_linear_blas_start();
    ops->linear_panel_elems = kern_linear_panel_elems_blas;
    ops->linear_pack = kern_linear_pack_blas;
    ops->linear_forward = kern_linear_forward_blas;
    ops->linear_backward_data = kern_linear_backward_data_blas;
    ops->linear_backward_weight = kern_linear_backward_weight_blas;
}

enum err kern_ops_choose(enum kern_isa isa, enum kern_matmul matmul, struct kern_ops *ops_out)
{
    const bool has_avx2 = kern_cpu_has_avx2_fma();
    struct kern_ops ops;

    assert(ops_out != NULL);
    if (isa == KERN_ISA_AVX2 && !has_avx2) {
        return ERR_FAIL(ERR_CONFIG,
                        "kernels for avx2 need a CPU with avx2 and fma, this one has: %s; choose "
                        "auto or portable",
                        kern_cpu_features());
    }
    if (matmul == KERN_MATMUL_OWN && !has_avx2) {
        return ERR_FAIL(ERR_CONFIG,
                        "our own matrix product needs a CPU with avx2 and fma, this one has: %s; "
                        "choose auto, blas or portable",
                        kern_cpu_features());
    }
    if (isa == KERN_ISA_AUTO) {
        isa = has_avx2 ? KERN_ISA_AVX2 : KERN_ISA_PORTABLE;
    }
    if (matmul == KERN_MATMUL_AUTO) {
        matmul = isa == KERN_ISA_AVX2 ? KERN_MATMUL_OWN : KERN_MATMUL_BLAS;
    }

    if (isa == KERN_ISA_AVX2) {
        fill_avx2(&ops);
    } else {
        fill_portable(&ops);
    }
    fill_rows(&ops);
    ops.device = device_cpu();
    switch (matmul) {
    case KERN_MATMUL_OWN: fill_matmul_own(&ops); break;
    case KERN_MATMUL_BLAS: fill_matmul_blas(&ops); break;
    default: fill_matmul_portable(&ops); break;
    }
    *ops_out = ops;
    return ERR_OK;
}

const char *kern_cpu_features(void)
{
    static const char *const names[] = {
        "neither avx2 nor fma", "avx2", "fma", "avx2 fma", "avx512f", "avx2 avx512f", "fma avx512f",
        "avx2 fma avx512f",
    };
    const int which = (__builtin_cpu_supports("avx2") ? 1 : 0) +
                      (__builtin_cpu_supports("fma") ? 2 : 0) +
                      (__builtin_cpu_supports("avx512f") ? 4 : 0);

    return names[which];
}

double kern_fma_peak_gflops(int duration_ms)
{
    return kern_cpu_has_avx2_fma() ? kern_fma_peak_gflops_avx2(duration_ms) : 0.0;
}
