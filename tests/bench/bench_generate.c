/*
 * Times a decoder (trainer/model/model_decoder.h) on random weights: one row, as a token is written,
 * to eight, as a draft is verified; beside the floor, which is reading all matrices once, or their
 * multiply-adds at the speed of this core, whichever takes longer.
 *
 *      bench_generate [LAYERS WIDTH INTERMEDIATE VOCABULARY [TOKENS_BEFORE]]
 *
 * A JSON line for each number of rows: us (median of passes that take turns with the other numbers, and least),
 * floor_us, what binds, and the ratio of the least to it. Times are of the CPU, which neighbours on the machine lengthen less.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "trainer/model/model_decoder.h"

enum { ROWS_MAX = 8, REPEATS = 25, READS = 15, PEAK_MS = 200 };

static int compare(const void *a, const void *b)
{
    const double difference = *(const double *)a - *(const double *)b;

    return difference < 0 ? -1 : difference > 0;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

static volatile int missed;

/*
 * Bytes a second at which this core reads a block of that size again and again, at best: the C library looks for a byte
 * that is not there, which takes it longer than loading by nothing.
 */
static double read_rate(size_t bytes)
{
    void *block = NULL;
    double best = 0;

    if (memory_open(bytes, "a block to read", &block) != ERR_OK) {
        return 0;
    }
    for (int i = 0; i < READS; i++) {
        const double began_s = clock_cpu_s();
        missed += memchr(block, 1, bytes) == NULL;
        const double rate = (double)bytes / (clock_cpu_s() - began_s);
        best = rate > best ? rate : best;
    }
    memory_close(block);
    return best;
}

static struct model_config config_of(int argc, char **argv)
{
    int64_t sizes[4] = {8, 128, 512, 2048};

    for (int i = 0; i < 4 && argc >= 5; i++) {
        sizes[i] = strtoll(argv[i + 1], NULL, 10);
    }
    return (struct model_config){.hidden_size = sizes[1],
                                 .num_hidden_layers = sizes[0],
                                 .num_attention_heads = sizes[1] / 32,
                                 .intermediate_size = sizes[2],
                                 .num_labels = sizes[3],
                                 .vocab_size = sizes[3],
                                 .max_position_embeddings = 1024,
                                 .max_length = 1024,
                                 .layer_norm_eps = 1e-5,
                                 .initializer_range = 0.02,
                                 .hidden_act = KERN_GELU_TANH,
                                 .embedding = MODEL_EMBEDDING_TOKENS,
                                 .norm = MODEL_NORM_PRE,
                                 .mask = MODEL_MASK_CAUSAL,
                                 .pooling = MODEL_POOLING_LAST,
                                 .ties_classifier = true};
}

/* CPU seconds of a pass of n rows behind `before` tokens. */
static double pass(struct model_decoder *decoder, int64_t layers, int64_t before, int64_t n,
                   float *logits)
{
    static const int32_t tokens[ROWS_MAX] = {1, 2, 3, 4, 5, 6, 7, 8};
    const double began_s = clock_cpu_s();

    model_decoder_put(decoder, tokens, n);
    model_decoder_run(decoder, 0, layers);
    model_decoder_head(decoder, before, n, logits);
    const double seconds = clock_cpu_s() - began_s;
    model_decoder_cut(decoder, before);
    return seconds;
}

static void report(struct model_decoder *decoder, const struct model_config *config, int64_t before,
                   float *logits)
{
    const int64_t L = config->num_hidden_layers, D = config->hidden_size;
    const int64_t weights =
        L * (4 * D * D + 2 * D * config->intermediate_size) + config->vocab_size * D;
    const double rate = read_rate((size_t)weights * sizeof(float));
    const double peak = 1e9 * kern_fma_peak_gflops(PEAK_MS);

    double seconds[ROWS_MAX][REPEATS], flops[ROWS_MAX];
    for (int i = 0; i < REPEATS; i++) {
        for (int64_t n = 1; n <= ROWS_MAX; n++) {
            const int64_t macs = model_decoder_macs(decoder);
            seconds[n - 1][i] = pass(decoder, L, before, n, logits);
            flops[n - 1] = 2.0 * (double)(model_decoder_macs(decoder) - macs);
        }
    }
    for (int64_t n = 1; n <= ROWS_MAX; n++) {
        const double reading = (double)weights * sizeof(float) / rate;
        const double computing = peak > 0 ? flops[n - 1] / peak : 0;
        const double floor = reading > computing ? reading : computing;
        const double middle = median(seconds[n - 1], REPEATS);
        printf("{\"rows\": %" PRId64 ", \"us\": %.1f, \"least_us\": %.1f, \"floor_us\": %.1f, "
               "\"bound\": \"%s\", \"ratio\": %.2f, \"weights_mb\": %.2f, \"read_gb_s\": %.1f, "
               "\"peak_gflops\": %.1f}\n",
               n, 1e6 * middle, 1e6 * seconds[n - 1][0], 1e6 * floor,
               reading > computing ? "reading" : "computing", seconds[n - 1][0] / floor,
               1e-6 * (double)weights * sizeof(float), 1e-9 * rate, 1e-9 * peak);
    }
}

int main(int argc, char **argv)
{
    const struct model_config config = config_of(argc, argv);
    const int64_t before = argc > 5 ? strtoll(argv[5], NULL, 10) : 64;
    struct model_decoder *decoder = NULL;
    struct model *model = NULL;
    struct kern_ops ops;
    float *logits = NULL;

    if (kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_AUTO, &ops) != ERR_OK ||
        model_open(&config, &ops, &model) != ERR_OK || model_init(model, 1) != ERR_OK ||
        memory_open_f32(ROWS_MAX * config.vocab_size, "logits", &logits) != ERR_OK) {
        fprintf(stderr, "bench_generate: no model of that size\n");
        return 1;
    }
    model_pack(model, false);
    if (model_decoder_open(model, config.max_position_embeddings, &decoder) != ERR_OK) {
        fprintf(stderr, "bench_generate: no decoder\n");
        return 1;
    }
    for (int64_t t = 0; t < before; t++) {
        const int32_t token = (int32_t)(t % config.vocab_size);
        model_decoder_put(decoder, &token, 1);
    }
    model_decoder_run(decoder, 0, config.num_hidden_layers);
    report(decoder, &config, before, logits);
    model_decoder_close(decoder);
    model_close(model);
    memory_close(logits);
    return 0;
}
