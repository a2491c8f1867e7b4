/*
 * Times the kernels of a CUDA device at the shapes of one layer.
 *
 *      bench_kern_cuda [ROUNDS] [vit|small|tiny]
 *
 * vit: 32 images as ViT-B/16 has them; small: 128 images of the recipes in launch/recipes; tiny: to see
 * on a simulated device that it runs. Prints the median (min-max) of ROUNDS samples, each of calls worth
 * SAMPLE_MS on the device, and what that is in multiply-adds or in bytes that have to be moved. Launches
 * follow each other on one stream, so what a single launch costs the host shows where a kernel is shorter.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/rng.h"
#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_ops_cuda.h"

enum { ROUNDS = 15, ROUNDS_MAX = 1000, SAMPLE_MS = 10, CALLS_MAX = 10000, WAIT_MS = 120000 };

/* n images of T tokens, width D, H heads, MLP F. */
static const struct shape {
    const char *name;
    int64_t n, T, D, H, F;
} shapes[] = {
    {"vit", 32, 197, 768, 12, 3072},
    {"small", 128, 50, 128, 4, 512},
    {"tiny", 2, 5, 16, 2, 32},
};

static struct shape s;
static int64_t M; /* n T */
static struct device *device;
static struct device_stream *stream;
static struct kern_ops ops;
static float *x, *y, *gradient, *spare, *rows; /* [M, F or 3 D] each; rows [4 M] */
static float *weight, *moments[3];             /* [F, D or 3 D, D]; [update_elems] */
static float *saved;
static int64_t update_elems;

static void die_on(enum err status)
{
    char text[512];

    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "bench_kern_cuda: %s\n", text);
        exit(EXIT_FAILURE);
    }
}

static struct kern_attention_shape heads(void)
{
    return (struct kern_attention_shape){s.n, s.T, s.H, s.D / s.H};
}

static void product(void)
{
    const struct kern_linear up = {.N = s.F, .K = s.D, .weight = weight};
    const struct kern_linear_epilogue also = {.bias = rows, .gelu = KERN_GELU_TANH, .slope = spare};

    ops.linear_forward(y, s.F, x, s.D, M, &up, &also);
}

static void product_data(void)
{
    const struct kern_linear up = {.N = s.F, .K = s.D, .weight = weight};

    ops.linear_backward_data(y, s.D, x, s.F, M, &up, NULL);
}

static void product_weight(void)
{
    ops.linear_backward_weight(weight, rows, x, s.F, gradient, s.D, M, s.F, s.D, false);
}

static void product_bf16(void)
{
    const struct kern_linear_bf16 up = {s.F, s.D, (const uint16_t *)weight};

    kern_linear_forward_bf16_cuda((uint16_t *)y, s.F, (const uint16_t *)x, s.D, M, &up, NULL);
}

static void attention(void)
{
    const struct kern_attention_shape shape = heads();

    ops.attention_forward(y, saved, x, &shape, s.T, NULL);
}

static void attention_backward(void)
{
    const struct kern_attention_shape shape = heads();

    ops.attention_backward(y, gradient, x, saved, &shape, s.T, NULL);
}

static void attention_bf16(void)
{
    const struct kern_attention_shape shape = heads();

    kern_attention_forward_bf16_cuda((uint16_t *)y, saved, (const uint16_t *)x, &shape, s.T);
}

static void layernorm(void)
{
    ops.layernorm_forward(y, rows, rows + M, x, s.D, weight, weight, M, s.D, 1e-6f);
}

static void layernorm_backward(void)
{
    ops.layernorm_backward(y, NULL, spare, spare + s.D, gradient, x, s.D, rows, rows + M, weight, M,
                           s.D, false);
}

static void adamw(void)
{
    const struct kern_adamw_args args = {1, 1e-3f, 0, 0.9f, 0.999f, 1e-8f, 1, 1};

    ops.adamw(weight, moments[0], moments[1], moments[2], update_elems, &args);
}

static void add(void)
{
    ops.add(moments[0], moments[2], update_elems);
}

/* flops: two a multiply-add; or the bytes of all that is read once and written once. */
struct row {
    const char *name;
    void (*call)(void);
    double flops, bytes;
};

static int ascending(const void *a, const void *b)
{
    const double p = *(const double *)a, q = *(const double *)b;

    return (p > q) - (p < q);
}

static double seconds_of(void (*call)(void), int64_t calls)
{
    const int64_t begin_ns = clock_now_ns();

    for (int64_t i = 0; i < calls; i++) {
        call();
    }
    die_on(device_wait(stream, WAIT_MS));
    return clock_since_s(begin_ns);
}

static void measure(const struct row *row, int rounds)
{
    double us[ROUNDS_MAX];

    seconds_of(row->call, 1); /* chooses algorithms, and warms up */
    const double once = seconds_of(row->call, 1);
    const double wanted = 1e-3 * SAMPLE_MS / once;
    const int64_t calls = wanted < 1 ? 1 : wanted > CALLS_MAX ? CALLS_MAX : (int64_t)wanted;
    for (int round = 0; round < rounds; round++) {
        us[round] = 1e6 * seconds_of(row->call, calls) / (double)calls;
    }
    qsort(us, (size_t)rounds, sizeof(us[0]), ascending);
    const double median = us[rounds / 2];
    printf("%-34s %10.1f (%.1f-%.1f)", row->name, median, us[0], us[rounds - 1]);
    if (row->flops > 0) {
        printf("  %10.1f GFLOP/s\n", 1e-3 * row->flops / median);
    } else {
        printf("  %10.1f GB/s\n", 1e-3 * row->bytes / median);
    }
    fflush(stdout);
}

/* Numbers of order 1: of zeros a device may make more, for less power. */
static void fill(float *block, int64_t elems)
{
    struct device_view view;

    die_on(device_view_open(device, block, (size_t)elems * sizeof(float), &view));
    for (int64_t i = 0; i < elems; i++) {
        ((float *)view.host)[i] = (float)rng_uniform(1, RNG_TEST, (uint64_t)i, 0) - 0.5f;
    }
    die_on(device_view_close(&view, true));
}

static void open_all(void)
{
    const struct kern_attention_shape shape = heads();
    const int64_t wide = M * (s.F > 3 * s.D ? s.F : 3 * s.D);
    float **const blocks[] = {&x, &y, &gradient, &spare};

    die_on(device_open(DEVICE_CUDA, 0, 1, &device));
    die_on(device_stream_open(device, DEVICE_PRIORITY_NORMAL, &stream));
    device_use(stream);
    die_on(kern_ops_cuda(device, &ops));
    for (int i = 0; i < 4; i++) {
        die_on(device_memory_open_f32(device, wide, "rows", blocks[i]));
        fill(*blocks[i], wide);
    }
    die_on(device_memory_open_f32(device, 4 * M + s.F, "rows", &rows));
    update_elems = s.D * (s.F > 3 * s.D ? s.F : 3 * s.D);
    die_on(device_memory_open_f32(device, update_elems, "weights", &weight));
    fill(weight, update_elems);
    for (int i = 0; i < 3; i++) {
        die_on(device_memory_open_f32(device, update_elems, "moments", &moments[i]));
    }
    die_on(device_memory_open_f32(device, ops.attention_saved_elems(&shape), "saved", &saved));
}

static void close_all(void)
{
    float *const blocks[] = {x,     y,      gradient,   spare,      rows,
                             saved, weight, moments[0], moments[1], moments[2]};

    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        device_memory_close(device, blocks[i]);
    }
    kern_cuda_close();
    device_use(NULL);
    device_stream_close(stream);
    device_close(device);
}

static void measure_all(int rounds)
{
    const double m = (double)M, d = (double)s.D, f = (double)s.F, t = (double)s.T;
    const double update = (double)update_elems;
    const struct row table[] = {
        {"product + bias + GELU, float", product, 2 * m * d * f, 0},
        {"product, gradient of data, float", product_data, 2 * m * d * f, 0},
        {"product, gradient of weights, float", product_weight, 2 * m * d * f, 0},
        {"product, bfloat16", product_bf16, 2 * m * d * f, 0},
        {"attention, float", attention, 4 * m * t * d, 0},
        {"attention, backward, float", attention_backward, 10 * m * t * d, 0},
        {"attention, bfloat16", attention_bf16, 4 * m * t * d, 0},
        {"layer norm", layernorm, 0, 8 * m * d},
        {"layer norm, backward", layernorm_backward, 0, 12 * m * d},
        {"AdamW", adamw, 0, 28 * update},
        {"add", add, 0, 12 * update},
    };

    printf("%s: %" PRId64 " images, %" PRId64 " tokens, width %" PRId64 ", %" PRId64
           " heads, MLP %" PRId64 "; %s; %s\n",
           s.name, s.n, s.T, s.D, s.H, s.F, device_name(device), ops.matmul);
    printf("%-34s %10s\n", "", "us a call, median (min-max)");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        measure(&table[i], rounds);
    }
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : ROUNDS;
    const char *name = argc > 2 ? argv[2] : "vit";

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            s = shapes[i];
        }
    }
    if (s.name == NULL || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_kern_cuda [1..%d] [vit|small|tiny]\n", ROUNDS_MAX);
        return 2;
    }
    M = s.n * s.T;
    open_all();
    measure_all(rounds);
    close_all();
    return 0;
}
