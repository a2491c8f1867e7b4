/*
 * Training and forward throughput of a backbone: the counterpart of peer/bench_peer.py.
 *
 *      bench_train MODE LAYERS WIDTH HEADS MICRO ROUNDS STEPS [MATMUL]
 *
 * MODE is train or fwd; the model is a ViT with patches of 4 on 28x28 images (50 tokens)
 * and an MLP of 4 x WIDTH; the global batch is 128, shared by the ranks of mpirun. Prints
 * one line of JSON: images/s of ROUNDS rounds of STEPS steps (median, least, most), the
 * FMA peak of the same minute, and the share of it that the matrix products reach.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "comm/base/rng.h"
#include "comm/group/comm_group.h"
#include "trainer/optim/optim.h"
#include "trainer/step/step.h"

enum { BATCH = 128, PIXELS = 28 * 28, CLASSES = 10, ROUNDS_MAX = 64, DEADLINE_MS = 60000 };

struct bench {
    struct comm_group *world, *sums;
    struct kern_ops ops;
    struct model *model;
    struct step *step;
    struct model_work *work; /* forward only */
    struct optim *optim;
    float *images;
    float *pooled, *logits;
    int32_t labels[BATCH];
    int64_t micro, local;
};

static void die_on(enum err status)
{
    char text[512];

    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "bench_train: %s\n", text);
        exit(EXIT_FAILURE);
    }
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void open_bench(struct bench *bench, int layers, int width, int heads,
                       enum kern_matmul matmul)
{
    const struct model_config config = {.image_size = 28,
                                        .patch_size = 4,
                                        .num_channels = 1,
                                        .hidden_size = width,
                                        .num_hidden_layers = layers,
                                        .num_attention_heads = heads,
                                        .intermediate_size = 4 * width,
                                        .num_labels = CLASSES,
                                        .layer_norm_eps = 1e-6,
                                        .initializer_range = 0.02,
                                        .hidden_act = KERN_GELU_TANH};
    const struct optim_options adamw = {.kind = OPTIM_ADAMW,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .epsilon = 1e-8,
                                        .weight_decay = 0.05,
                                        .max_grad_norm = 1};

    die_on(comm_start(&bench->world));
    die_on(comm_duplicate(bench->world, &bench->sums));
    die_on(kern_ops_choose(KERN_ISA_AUTO, matmul, &bench->ops));
    die_on(model_open(&config, &bench->ops, &bench->model));
    model_init(bench->model, 1);
    bench->local = BATCH / comm_size(bench->world);
    const struct step_options options = {.model = bench->model,
                                         .group = bench->sums,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = bench->micro,
                                         .micro_count = bench->local / bench->micro,
                                         .trains_backbone = true};
    const struct param_list *params = model_params(bench->model);
    const struct optim_range range = {0, params->block_elems, 0, true};
    die_on(step_open(&options, &bench->step));
    die_on(optim_open(&adamw, &bench->ops, &range, 1, params->block_elems, &bench->optim));
    die_on(memory_open_f32(BATCH * PIXELS, "images", &bench->images));
    die_on(memory_open_f32(BATCH * (int64_t)width, "pooled", &bench->pooled));
    die_on(memory_open_f32(BATCH * CLASSES, "logits", &bench->logits));
    for (int64_t i = 0; i < BATCH * PIXELS; i++) {
        bench->images[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i, 0);
    }
    for (int i = 0; i < BATCH; i++) {
        bench->labels[i] = i % CLASSES;
    }
}

static void train_once(struct bench *bench)
{
    struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, 1e-3, 0}};
    struct step_result result;

    model_pack(bench->model, true);
    for (int64_t at = 0; at < bench->local; at += bench->micro) {
        die_on(step_micro_batch(bench->step, bench->images + at * PIXELS, bench->labels + at,
                                bench->micro, 0));
    }
    die_on(step_finish(bench->step, DEADLINE_MS, &result));
    die_on(optim_update(bench->optim, model_block(bench->model), result.gradients,
                        result.sample_count, groups));
}

static void forward_once(struct bench *bench)
{
    const int64_t layers = model_config_of(bench->model)->num_hidden_layers;

    for (int64_t at = 0; at < bench->local; at += bench->micro) {
        model_embed_forward(bench->work, bench->images + at * PIXELS, bench->micro);
        for (int64_t layer = 0; layer < layers; layer++) {
            model_block_forward(bench->work, layer);
        }
        model_pool(bench->work, bench->pooled);
        model_head_forward(bench->work, bench->logits, bench->pooled);
    }
}

/* Multiply-adds of one image forward, every token of every layer counted, as the peer computes it. */
static double macs(int layers, double width)
{
    const double T = 50;

    return 49 * 16 * width + layers * (T * 12 * width * width + 2 * T * T * width) +
           width * CLASSES;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    double rates[ROUNDS_MAX];
    int64_t agreed = 0;

    if (argc < 8) {
        fprintf(stderr, "usage: bench_train train|fwd LAYERS WIDTH HEADS MICRO ROUNDS STEPS "
                        "[auto|own|blas]\n");
        return 2;
    }
    const bool trains = strcmp(argv[1], "train") == 0;
    const int layers = (int)strtol(argv[2], NULL, 10), width = (int)strtol(argv[3], NULL, 10);
    const int rounds = (int)strtol(argv[6], NULL, 10), steps = (int)strtol(argv[7], NULL, 10);
    const enum kern_matmul matmul = argc < 9                       ? KERN_MATMUL_AUTO
                                    : strcmp(argv[8], "blas") == 0 ? KERN_MATMUL_BLAS
                                                                   : KERN_MATMUL_AUTO;
    bench.micro = strtol(argv[5], NULL, 10);
    open_bench(&bench, layers, width, (int)strtol(argv[4], NULL, 10), matmul);
    if (!trains) {
        model_pack(bench.model, false);
        die_on(model_work_open(bench.model, bench.micro, false, &bench.work));
    }
    for (int round = -1; round < rounds && round < ROUNDS_MAX; round++) {
        die_on(comm_agree_max(bench.world, 0, DEADLINE_MS, &agreed));
        const int64_t start_ns = clock_now_ns();
        for (int i = 0; i < steps; i++) {
            if (trains) {
                train_once(&bench);
            } else {
                forward_once(&bench);
            }
        }
        die_on(comm_agree_max(bench.world, 0, DEADLINE_MS, &agreed));
        if (round >= 0) { /* the first one warms up */
            rates[round] = BATCH * steps / clock_since_s(start_ns);
        }
    }
    const double peak = kern_fma_peak_gflops(100);
    qsort(rates, (size_t)rounds, sizeof(rates[0]), ascending);
    const double gflops = rates[rounds / 2] * 2e-9 * macs(layers, width) * (trains ? 3 : 1);
    if (comm_rank(bench.world) == 0) {
        printf("{\"program\": \"offramp\", \"mode\": \"%s\", \"layers\": %d, \"width\": %d, "
               "\"ranks\": %d, \"micro\": %" PRId64 ", \"matmul\": \"%s\", \"img_s_median\": %.1f, "
               "\"img_s_min\": %.1f, \"img_s_max\": %.1f, \"gflops_per_core\": %.1f, "
               "\"fma_peak_gflops\": %.1f, \"peak_share\": %.3f, \"peak_rss_mib\": %.0f}\n",
               argv[1], layers, width, comm_size(bench.world), bench.micro, bench.ops.matmul,
               rates[rounds / 2], rates[0], rates[rounds - 1], gflops / comm_size(bench.world),
               peak, gflops / comm_size(bench.world) / peak,
               (double)memory_peak_bytes() / (1 << 20));
    }
    step_close(bench.step);
    model_work_close(bench.work);
    optim_close(bench.optim);
    model_close(bench.model);
    memory_close(bench.images);
    memory_close(bench.pooled);
    memory_close(bench.logits);
    comm_close(bench.sums);
    comm_stop(bench.world, 1);
    return 0;
}
