#include "trainer/kernels/kern_ops_cuda.h"

#include "trainer/kernels/kern_cuda.h"

enum err kern_ops_cuda(struct device *device, struct kern_ops *ops_out)
{
    ERR_TRY(kern_cuda_open());
    *ops_out = (struct kern_ops){
        .device = device,
        .isa = "cuda",
        .matmul = kern_cuda_matmul_name(),
        .linear_panel_elems = kern_linear_panel_elems_cuda,
        .linear_pack = kern_linear_pack_cuda,
        .linear_forward = kern_linear_forward_cuda,
        .linear_backward_data = kern_linear_backward_data_cuda,
        .linear_backward_weight = kern_linear_backward_weight_cuda,
        .layernorm_forward = kern_layernorm_forward_cuda,
        .layernorm_backward = kern_layernorm_backward_cuda,
        .attention_saved_elems = kern_attention_saved_elems_cuda,
        .attention_forward = kern_attention_forward_cuda,
        .attention_backward = kern_attention_backward_cuda,
        .xent_forward = kern_xent_forward_cuda,
        .xent_backward = kern_xent_backward_cuda,
        .embed_forward = kern_embed_forward_cuda,
        .embed_backward = kern_embed_backward_cuda,
        .tokens_forward = kern_tokens_forward_cuda,
        .tokens_backward = kern_tokens_backward_cuda,
        .token_mean_forward = kern_token_mean_forward_cuda,
        .token_mean_backward = kern_token_mean_backward_cuda,
        .token_last_forward = kern_token_last_forward_cuda,
        .token_last_backward = kern_token_last_backward_cuda,
        .gate_forward = kern_gate_forward_cuda,
        .gate_backward = kern_gate_backward_cuda,
        .zero = kern_zero_cuda,
        .copy_rows = kern_copy_rows_cuda,
        .add_rows = kern_add_rows_cuda,
        .gather_rows = kern_gather_rows_cuda,
        .keep_rows = kern_keep_rows_cuda,
        .mean_forward = kern_mean_forward_cuda,
        .mean_backward = kern_mean_backward_cuda,
        .count = kern_count_cuda,
        .tally = kern_tally_cuda,
        .add = kern_add_cuda,
        .sum_squares = kern_sum_squares_cuda,
        .adamw = kern_adamw_cuda,
        .sgd = kern_sgd_cuda,
    };
    return ERR_OK;
}
