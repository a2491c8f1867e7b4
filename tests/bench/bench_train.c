/*
 * Throughput of training, inference and exit training: the counterpart of peer/bench_peer.py.
 *
 *      bench_train MODE LAYERS WIDTH HEADS MICRO ROUNDS STEPS [auto|blas|cuda] [full|cls]
 *
 *      train    forward, backward, AdamW          fwd      inference
 *      frozen   exit heads and gates on a frozen backbone, which runs in every step
 *      cached   the same on stored features
 *
 * The model is a ViT with patches of 4 on 28x28 images (50 tokens) and an MLP of 4 x WIDTH;
 * the global batch is 128, shared by the ranks of mpirun. `full` computes all rows of the
 * last layer, as the peer does; `cls` only those that are read, as the program does. With `cuda`
 * each rank computes on a CUDA device of its own.
 * Prints one line of JSON: images/s of ROUNDS rounds of STEPS steps (median, least, most), and of a
 * CPU the FMA peak of the same minute and the share of it that the matrix products reach.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "comm/base/rng.h"
#include "comm/group/comm_group.h"
#include "exits/exits_step.h"
#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_ops_cuda.h"
#include "trainer/optim/optim.h"
#include "trainer/step/step.h"

enum mode { TRAIN, FWD, FROZEN, CACHED, MODES };

static const char *const mode_names[MODES] = {"train", "fwd", "frozen", "cached"};

enum {
    ROWS = 4096,
    BATCH = 128,
    PIXELS = 28 * 28,
    CLASSES = 10,
    ROUNDS_MAX = 64,
    DEADLINE_MS = 60000
};

struct bench {
    struct comm_group *world, *sums;
    struct device *device;
    struct device_stream *stream; /* NULL on a CPU */
    struct kern_ops ops;
    struct model *model;
    struct step *step;
    struct model_work *work; /* forward only */
    struct optim *optim;
    struct exits_net *net; /* of the exit modes, as what follows */
    struct exits_trainer *trainer;
    struct exits_balance balance;
    struct step_tap tap;
    struct exits_cache *cache;
    struct exits_step *exits_step;
    uint32_t samples[BATCH];
    int32_t row_labels[ROWS];
    int64_t steps_done;
    enum mode mode;
    float *images;
    void *staged; /* where the device has the images of a pass that is forward only */
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

/* The device that `where` names, and its kernels. */
static void open_device(struct bench *bench, const char *where)
{
    if (strcmp(where, "cuda") != 0) {
        bench->device = device_cpu();
        die_on(kern_ops_choose(KERN_ISA_AUTO,
                               strcmp(where, "blas") == 0 ? KERN_MATMUL_BLAS : KERN_MATMUL_AUTO,
                               &bench->ops));
        return;
    }
    die_on(device_open(DEVICE_CUDA, comm_local_rank(bench->world), comm_local_size(bench->world),
                       &bench->device));
    die_on(device_stream_open(bench->device, DEVICE_PRIORITY_NORMAL, &bench->stream));
    device_use(bench->stream);
    die_on(kern_ops_cuda(bench->device, &bench->ops));
}

static void open_model(struct bench *bench, int layers, int width, int heads, bool full)
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
                                        .hidden_act = KERN_GELU_TANH,
                                        .full_last_layer = full};

    die_on(comm_duplicate(bench->world, &bench->sums));
    die_on(model_open(&config, &bench->ops, &bench->model));
    die_on(model_init(bench->model, 1));
    model_pack(bench->model, true);
    bench->local = BATCH / comm_size(bench->world);
    die_on(memory_open_f32(BATCH * PIXELS, "images", &bench->images));
    die_on(device_memory_open_f32(bench->device, BATCH * (int64_t)width, "pooled", &bench->pooled));
    die_on(device_memory_open_f32(bench->device, BATCH * CLASSES, "logits", &bench->logits));
    if (bench->stream != NULL) {
        die_on(device_memory_open(bench->device, BATCH * PIXELS * sizeof(float), "images",
                                  &bench->staged));
    }
    for (int64_t i = 0; i < BATCH * PIXELS; i++) {
        bench->images[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i, 0);
    }
    for (int i = 0; i < BATCH; i++) {
        bench->labels[i] = i % CLASSES;
    }
}

static void open_optim(struct bench *bench, int64_t elems)
{
    const struct optim_options adamw = {.kind = OPTIM_ADAMW,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .epsilon = 1e-8,
                                        .weight_decay = 0.05,
                                        .max_grad_norm = 1};
    const struct optim_range range = {0, elems, 0, true, 0};

    die_on(optim_open(&adamw, &bench->ops, &range, 1, elems, &bench->optim));
}

static void open_step(struct bench *bench)
{
    const struct step_options options = {.model = bench->model,
                                         .group = bench->sums,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = bench->micro,
                                         .micro_count = bench->local / bench->micro,
                                         .trains_backbone = bench->mode == TRAIN,
                                         .tap = bench->mode == TRAIN ? NULL : &bench->tap};

    die_on(step_open(&options, &bench->step));
}

/* An exit behind every layer but the last, one lambda, the program's own defaults. */
static void open_exits(struct bench *bench, int layers, int width)
{
    struct exits_net_config config = {.count = layers - 1,
                                      .set_count = 1,
                                      .width = width,
                                      .classes = CLASSES,
                                      .head = EXITS_HEAD_NORM_LINEAR,
                                      .gate = EXITS_GATE_MLP,
                                      .gate_hidden = 16,
                                      .layer_norm_eps = 1e-6f};
    struct exits_train_config losses = {.loss_floor = 0.1, .lambdas = {0.1}};
    double prior[MODEL_LAYERS_MAX];

    for (int g = 0; g < layers - 1; g++) {
        config.layers[g] = g;
        prior[g] = 1.0 / (layers - g);
        losses.costs[g] = (double)(g + 1) / layers;
    }
    losses.costs[layers - 1] = 1;
    die_on(exits_net_open(&config, &bench->ops, &bench->net));
    die_on(exits_net_init(bench->net, 1, prior));
    exits_net_pack(bench->net);
    die_on(exits_trainer_open(bench->net, &losses, &bench->balance, bench->micro, &bench->trainer));
    bench->tap = exits_trainer_tap(bench->trainer);
    open_optim(bench, exits_net_params(bench->net)->block_elems);
}

static void open_cache(struct bench *bench, int layers, int width)
{
    const struct exits_cache_shape shape = {ROWS, layers - 1, width, CLASSES};
    struct exits_step_options options = {.net = bench->net,
                                         .trainer = bench->trainer,
                                         .labels = bench->row_labels,
                                         .ops = &bench->ops,
                                         .group = bench->sums,
                                         .order = COMM_REDUCE_TREE,
                                         .micro_samples = bench->micro,
                                         .micro_count = bench->local / bench->micro};

    die_on(exits_cache_open(&shape, &bench->cache));
    float *rows = exits_cache_rows(bench->cache);
    for (int64_t i = 0; i < ROWS * exits_cache_row_elems(&shape); i++) {
        rows[i] = (float)rng_uniform(1, RNG_TEST, (uint64_t)i, 0) - 0.5f;
    }
    for (int i = 0; i < ROWS; i++) {
        bench->row_labels[i] = i % CLASSES;
    }
    options.cache = bench->cache;
    die_on(exits_step_open(&options, &bench->exits_step));
}

static void open_bench(struct bench *bench, int layers, int width)
{
    switch (bench->mode) {
    case TRAIN:
        open_optim(bench, model_params(bench->model)->block_elems);
        open_step(bench);
        return;
    case FWD: die_on(model_work_open(bench->model, bench->micro, false, &bench->work)); return;
    case FROZEN:
        open_exits(bench, layers, width);
        open_step(bench);
        return;
    case CACHED:
        open_exits(bench, layers, width);
        open_cache(bench, layers, width);
        return;
    case MODES: return;
    }
}

static void forward_once(struct bench *bench)
{
    const int64_t layers = model_config_of(bench->model)->num_hidden_layers;
    const void *images = NULL;

    for (int64_t at = 0; at < bench->local; at += bench->micro) {
        die_on(device_stage(bench->device, bench->staged, bench->images + at * PIXELS,
                            (size_t)(bench->micro * PIXELS) * sizeof(float), &images));
        model_embed_forward(bench->work, &(struct model_input){.images = images}, bench->micro);
        for (int64_t layer = 0; layer < layers; layer++) {
            model_block_forward(bench->work, layer);
        }
        model_pool(bench->work, bench->pooled);
        model_head_forward(bench->work, bench->logits, bench->pooled);
    }
}

static void step_once(struct bench *bench)
{
    struct optim_step groups[OPTIM_GROUPS_MAX] = {{true, 1e-3, 0}};
    struct step_result result;
    const uint64_t phase = EXITS_TRAINS_HEADS | EXITS_TRAINS_GATES;

    if (bench->mode == CACHED) {
        for (int64_t i = 0; i < bench->local; i++) {
            bench->samples[i] =
                (uint32_t)rng_u64(2, RNG_TEST, (uint64_t)i, (uint32_t)bench->steps_done) % ROWS;
        }
        die_on(exits_step_run(bench->exits_step, bench->samples, phase, DEADLINE_MS, &result));
    } else {
        for (int64_t at = 0; at < bench->local; at += bench->micro) {
            die_on(step_micro_batch(bench->step,
                                    &(struct model_input){.images = bench->images + at * PIXELS},
                                    bench->labels + at, bench->micro, phase));
        }
        die_on(step_finish(bench->step, DEADLINE_MS, &result));
    }
    bench->steps_done++;
    if (bench->mode == TRAIN) {
        die_on(optim_update(bench->optim, model_block(bench->model), result.gradients,
                            result.sample_count, groups));
        model_pack(bench->model, true);
    } else {
        die_on(optim_update(bench->optim, exits_net_block(bench->net), result.tap_gradients,
                            result.sample_count, groups));
        exits_net_pack(bench->net);
    }
}

static void close_bench(struct bench *bench)
{
    exits_step_close(bench->exits_step);
    exits_cache_close(bench->cache);
    step_close(bench->step);
    exits_trainer_close(bench->trainer);
    exits_net_close(bench->net);
    model_work_close(bench->work);
    optim_close(bench->optim);
    model_close(bench->model);
    memory_close(bench->images);
    device_memory_close(bench->device, bench->staged);
    device_memory_close(bench->device, bench->pooled);
    device_memory_close(bench->device, bench->logits);
    kern_cuda_close();
    device_use(NULL);
    device_stream_close(bench->stream);
    device_close(bench->device);
    comm_close(bench->sums);
    comm_stop(bench->world, 1);
}

/* Multiply-adds of one image forward, every token of every layer counted, as the peer computes it. */
static double macs(int layers, double width)
{
    const double T = 50;

    return 49 * 16 * width + layers * (T * 12 * width * width + 2 * T * T * width) +
           width * CLASSES;
}

static void measure(struct bench *bench, int rounds, int steps, double rates[ROUNDS_MAX])
{
    int64_t agreed = 0;

    for (int round = -1; round < rounds; round++) {
        die_on(comm_agree_max(bench->world, 0, DEADLINE_MS, &agreed));
        const int64_t start_ns = clock_now_ns();
        for (int i = 0; i < steps; i++) {
            if (bench->mode == FWD) {
                forward_once(bench);
            } else {
                step_once(bench);
            }
        }
        if (bench->stream != NULL) {
            die_on(device_wait(bench->stream, DEADLINE_MS));
        }
        die_on(comm_agree_max(bench->world, 0, DEADLINE_MS, &agreed));
        if (round >= 0) { /* the first one warms up */
            rates[round] = BATCH * steps / clock_since_s(start_ns);
        }
    }
    qsort(rates, (size_t)rounds, sizeof(rates[0]), ascending);
}

static void print_line(const struct bench *bench, const char *mode, const double rates[],
                       int rounds)
{
    const struct model_config *config = model_config_of(bench->model);
    const int layers = (int)config->num_hidden_layers, width = (int)config->hidden_size;
    const double flops = 2e-9 * macs(layers, width) * (bench->mode == TRAIN ? 3 : 1);
    const double gflops = rates[rounds / 2] * flops / comm_size(bench->world);

    printf("{\"program\": \"offramp\", \"mode\": \"%s\", \"layers\": %d, \"width\": %d, "
           "\"ranks\": %d, \"micro\": %" PRId64 ", \"last_layer\": \"%s\", \"device\": \"%s\", "
           "\"matmul\": \"%s\", "
           "\"img_s_median\": %.1f, \"img_s_min\": %.1f, \"img_s_max\": %.1f, ",
           mode, layers, width, comm_size(bench->world), bench->micro,
           config->full_last_layer ? "full" : "cls", device_name(bench->device), bench->ops.matmul,
           rates[rounds / 2], rates[0], rates[rounds - 1]);
    if (bench->stream != NULL) {
        printf("\"gflops_per_device\": %.1f, ", gflops);
    } else {
        const double peak = kern_fma_peak_gflops(100);
        printf("\"gflops_per_core\": %.1f, \"fma_peak_gflops\": %.1f, \"peak_share\": %.3f, ",
               gflops, peak, gflops / peak);
    }
    printf("\"peak_rss_mib\": %.0f}\n", (double)memory_peak_bytes() / (1 << 20));
}

int main(int argc, char **argv)
{
    static struct bench bench;
    double rates[ROUNDS_MAX];

    while (argc > 1 && bench.mode < MODES && strcmp(argv[1], mode_names[bench.mode]) != 0) {
        bench.mode++;
    }
    if (argc < 8 || bench.mode == MODES) {
        fprintf(stderr, "usage: bench_train train|fwd|frozen|cached LAYERS WIDTH HEADS MICRO "
                        "ROUNDS STEPS [auto|blas|cuda] [full|cls]\n");
        return 2;
    }
    const int layers = (int)strtol(argv[2], NULL, 10), width = (int)strtol(argv[3], NULL, 10);
    const int rounds = (int)strtol(argv[6], NULL, 10), steps = (int)strtol(argv[7], NULL, 10);
    const int heads = (int)strtol(argv[4], NULL, 10);
    const bool full = argc > 9 && strcmp(argv[9], "full") == 0;
    bench.micro = strtol(argv[5], NULL, 10);
    if (layers < 1 || layers > MODEL_LAYERS_MAX || rounds < 1 || rounds > ROUNDS_MAX || steps < 1) {
        fprintf(stderr, "bench_train: 1 to %d layers, 1 to %d rounds and at least 1 step\n",
                MODEL_LAYERS_MAX, ROUNDS_MAX);
        return 2;
    }
    die_on(comm_start(&bench.world));
    open_device(&bench, argc > 8 ? argv[8] : "auto");
    open_model(&bench, layers, width, heads, full);
    if (bench.micro < 1 || bench.micro > bench.local || bench.local % bench.micro != 0 ||
        BATCH % comm_size(bench.world) != 0) {
        fprintf(stderr,
                "bench_train: passes of %" PRId64 " do not make a rank's %" PRId64
                " of %d images\n",
                bench.micro, bench.local, BATCH);
        comm_abort(bench.world, 2);
    }
    open_bench(&bench, layers, width);
    measure(&bench, rounds, steps, rates);
    if (comm_rank(bench.world) == 0) {
        print_line(&bench, argv[1], rates, rounds);
    }
    close_bench(&bench);
    return 0;
}
