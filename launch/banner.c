#include "launch/banner.h"

#include <inttypes.h>
#include <stdio.h>

#include "launch/commands.h"

static void print_exits(const struct train_run *run)
{
    static const char *const heads[] = {"linear", "norm + linear", "norm + MLP"};
    static const char *const gates[] = {"linear", "MLP"};
    const struct exits_net_config *config = exits_net_config_of(run->state.net);

    printf("exits:  %d, head %s, gate %s, for %d lambdas; multiply-adds of one %s\n", config->count,
           heads[config->head], gates[config->gate], config->set_count,
           run->data.tokenizer == NULL        ? "image"
           : run_data_is_language(&run->data) ? "token"
                                              : "text of mean length");
    printf("          leaves after   multiply-adds   of all\n");
    for (int g = 0; g <= config->count; g++) {
        const int64_t layer = g < config->count
                                  ? config->layers[g] + 1
                                  : model_config_of(run->state.model)->num_hidden_layers;
        printf("          layer %-3" PRId64 " %15.2f M %8.1f %%\n", layer,
               1e-6 * (double)run->macs[g], 100 * run->exits.costs[g]);
    }
}

void banner_print(const struct train_run *run)
{
    const struct model_config *config = model_config_of(run->state.model);
    int64_t params = 0;

    for (int64_t t = 0; t < model_params(run->state.model)->count; t++) {
        params += model_params(run->state.model)->params[t].count;
    }
    printf("offramp %s | %d ranks, launcher %s | %s%s%s\n", OFFRAMP_VERSION, comm_size(run->world),
           comm_launcher(run->world), device_name(run->device.device),
           run->device.why[0] != '\0' ? ", not CUDA: " : "", run->device.why);
    printf("kernels: %s; matrix products: %s; one thread a rank\n", run->ops.isa, run->ops.matmul);
    printf("data:   %s, %" PRId64 " %s to train on, %" PRId64 " for validation, %" PRId64
           " to test, %" PRId64 " classes\n",
           run->options->run.data_dir, run->data.split->train_count, run_data_noun(&run->data),
           run->data.split->held_out_count, run->data.test->shape.count,
           run->data.train->shape.class_count);
    printf("model:  %" PRId64 " layers of width %" PRId64 ", %" PRId64 " heads, MLP %" PRId64 ", ",
           config->num_hidden_layers, config->hidden_size, config->num_attention_heads,
           config->intermediate_size);
    if (config->embedding == MODEL_EMBEDDING_TOKENS) {
        printf("%" PRId64 " words, up to %" PRId64 " tokens, %" PRId64 " in the mean",
               config->vocab_size, config->max_length, run_data_mean_tokens(&run->data));
    } else {
        printf("patches of %" PRId64 ", %" PRId64 " tokens", config->patch_size,
               model_config_tokens(config));
    }
    printf(", %.3f M parameters\n", 1e-6 * (double)params);
    if (run->init_notes != NULL) {
        printf("%s\n", run->init_notes);
    }
    if (run->state.net != NULL) {
        print_exits(run);
    }
    fflush(stdout);
}
