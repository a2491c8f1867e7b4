#define _POSIX_C_SOURCE 200809L
#include "launch/train_settings.h"

#include <inttypes.h>
#include <stdio.h>

#include "comm/base/hash.h"
#include "launch/options_schema.h"

bool train_settings_fix(enum options_id option)
{
    switch (option) {
    case OPTION_output_dir:
    case OPTION_max_steps:
    case OPTION_resume_from_checkpoint:
    case OPTION_overwrite_output_dir:
    case OPTION_init_from:
    case OPTION_data_dir:
    case OPTION_tokenizer: /* told by the training set, below */
    case OPTION_gradient_accumulation_steps:
    case OPTION_feature_cache:
    case OPTION_logging_steps:
    case OPTION_tensorboard:
    case OPTION_prometheus_file:
    case OPTION_hash_steps:
    case OPTION_save_steps:
    case OPTION_save_compressed:
    case OPTION_save_mb_per_s:
    case OPTION_save_total_limit:
    case OPTION_max_eval_samples:
    case OPTION_timing_samples:
    case OPTION_eval_budgets:
    case OPTION_eval_risks:
    case OPTION_eval_detail:
    case OPTION_snapshot_steps:
    case OPTION_snapshot_overhead_percent:
    case OPTION_mtbf_hours:
    case OPTION_snapshot_dir:
    case OPTION_snapshot_retain_s:
    case OPTION_snapshot_data_members:
    case OPTION_snapshot_parity_members:
    case OPTION_failure_domains:
    case OPTION_snapshot_min_domains:
    case OPTION_device: /* told by the kernels, below */
    case OPTION_collective_deadline_ms:
    case OPTION_serial_deadline_ms: return false;
    default: return true;
    }
}

static void print_scope(FILE *to, enum options_scope scope, const char *prefix,
                        const struct options *options)
{
    for (int i = 0; i < OPTIONS_COUNT; i++) {
        if (train_settings_fix((enum options_id)i) && options_schemas[i].scope == scope) {
            fprintf(to, "%s%s: ", prefix, options_schemas[i].name);
            options_print_value(to, &options_schemas[i], options);
            fputc('\n', to);
        }
    }
}

/* With init_from the model is not the one that the settings describe. */
static void print_model(FILE *to, const struct model_config *config)
{
    static const char *const families[MODEL_FAMILIES] = {"vit", "bert", "gpt2"};

    fprintf(to,
            "model: %s, image %" PRId64 ", patch %" PRId64 ", channels %" PRId64 ", width %" PRId64
            ", layers %" PRId64 ", heads %" PRId64 ", MLP %" PRId64 ", labels %" PRId64
            ", epsilon %.17g, activation %d, pooling %d, words %" PRId64 ", positions %" PRId64
            "\n",
            families[model_config_family(config)], config->image_size, config->patch_size,
            config->num_channels, config->hidden_size, config->num_hidden_layers,
            config->num_attention_heads, config->intermediate_size, config->num_labels,
            config->layer_norm_eps, (int)config->hidden_act, (int)config->pooling,
            config->vocab_size, config->max_position_embeddings);
}

enum err train_settings_text(const struct train_run *run, char **text_out)
{
    char hash[HASH_TEXT_BYTES];
    char prefix[64];
    size_t bytes = 0;
    FILE *to = open_memstream(text_out, &bytes);

    if (to == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "settings");
    }
    print_scope(to, OPTIONS_RUN, "", &run->options->run);
    for (int s = 0; s < run->options->stage_count; s++) {
        snprintf(prefix, sizeof(prefix), "stage %d (%s) ", s + 1,
                 options_stage_name(run->options->stages[s].kind));
        print_scope(to, OPTIONS_STAGE, prefix, &run->options->stages[s].options);
    }
    print_model(to, model_config_of(run->state.model));
    hash_text(run->data.train->hash, hash);
    fprintf(to, "training set: %s\n", hash);
    fprintf(to, "kernels: %s, %s\n", run->ops.isa, run->ops.matmul);
    return fclose(to) == 0 ? ERR_OK : ERR_FAIL(ERR_NO_MEMORY, "settings");
}
