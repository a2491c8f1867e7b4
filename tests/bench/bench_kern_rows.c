/*
 * Times attention and the row operations, portable against AVX2, a sample of one after a
 * sample of the other: on a machine with neighbours only such ratios mean something.
 *
 *      build/release/tests/bench/bench_kern_rows [ROUNDS]
 *
 * Prints the median (min-max) of ROUNDS samples, each of calls worth about 1 ms, and for
 * attention what one core could do at that moment in multiply-adds alone.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "comm/base/rng.h"
#include "trainer/kernels/kern_ops.h"

enum {
    ROUNDS = 15,
    ROUNDS_MAX = 1000,
    VERSIONS = 2,
    ELEMS = 1 << 22,
    SAMPLE_NS = 1000000,
    PEAK_MS = 2
};

static const struct version {
    kern_attention_saved_elems_fn *saved_elems;
    kern_attention_forward_fn *attention_forward;
    kern_attention_backward_fn *attention_backward;
    kern_layernorm_forward_fn *layernorm_forward;
    kern_layernorm_backward_fn *layernorm_backward;
    kern_xent_forward_fn *xent_forward;
    kern_xent_backward_fn *xent_backward;
    kern_add_fn *add;
    kern_sum_squares_fn *sum_squares;
    kern_adamw_fn *adamw;
    kern_sgd_fn *sgd;
} versions[VERSIONS] = {
    {kern_attention_saved_elems_portable, kern_attention_forward_portable,
     kern_attention_backward_portable, kern_layernorm_forward_portable,
     kern_layernorm_backward_portable, kern_xent_forward_portable, kern_xent_backward_portable,
     kern_add_portable, kern_sum_squares_portable, kern_adamw_portable, kern_sgd_portable},
    {kern_attention_saved_elems_avx2, kern_attention_forward_avx2, kern_attention_backward_avx2,
     kern_layernorm_forward_avx2, kern_layernorm_backward_avx2, kern_xent_forward_avx2,
     kern_xent_backward_avx2, kern_add_avx2, kern_sum_squares_avx2, kern_adamw_avx2, kern_sgd_avx2},
};

/* ELEMS floats each, at first all in [0, 1). Which numbers an operation reads does not matter. */
static float *in, *out, *grad, *spare, *saved;
static int32_t labels[ELEMS / 2];
static double sink;

/* The shape of a measurement: attention, or N rows of C. */
struct shape {
    struct kern_attention_shape attention;
    int64_t query_count;
    int64_t N, C;
};

static void attention_forward(const struct version *version, const struct shape *shape)
{
    version->attention_forward(out, saved, in, &shape->attention, shape->query_count, NULL);
}

static void attention_backward(const struct version *version, const struct shape *shape)
{
    version->attention_backward(out, grad, in, saved, &shape->attention, shape->query_count, NULL);
}

static void layernorm_forward(const struct version *version, const struct shape *shape)
{
    version->layernorm_forward(out, saved, saved + shape->N, in, shape->C, spare, spare, shape->N,
                               shape->C, 1e-6f);
}

static void layernorm_backward(const struct version *version, const struct shape *shape)
{
    version->layernorm_backward(out, grad, spare, spare + shape->C, grad, in, shape->C, saved,
                                saved + shape->N, spare + 2 * shape->C, shape->N, shape->C, false);
}

static void xent_forward(const struct version *version, const struct shape *shape)
{
    const struct kern_xent_out all = {
        .loss = out, .lse = saved, .features = out + shape->N, .predicted = labels + ELEMS / 4};

    version->xent_forward(&all, in, labels, shape->N, shape->C);
}

static void xent_backward(const struct version *version, const struct shape *shape)
{
    version->xent_backward(out, in, saved, labels, grad, shape->N, shape->C);
}

static void add(const struct version *version, const struct shape *shape)
{
    version->add(out, in, shape->N);
}

static void sum_squares(const struct version *version, const struct shape *shape)
{
    version->sum_squares(&sink, in, shape->N);
}

static void adamw(const struct version *version, const struct shape *shape)
{
    const struct kern_adamw_args args = {1, 1e-3f, 0.05f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.001f};

    version->adamw(out, grad, saved, in, shape->N, &args);
}

static void sgd(const struct version *version, const struct shape *shape)
{
    const struct kern_sgd_args args = {1, 1e-3f, 0.05f, 0.9f};

    version->sgd(out, grad, in, shape->N, &args);
}

/* An operation at a shape. */
struct measurement {
    const char *name;
    void (*run)(const struct version *version, const struct shape *shape);
    struct shape shape;
};

/* Each is measured forward and backward. */
static const struct shape attention_shapes[] = {
    {.attention = {64, 50, 4, 32}, .query_count = 50},
    {.attention = {16, 50, 4, 32}, .query_count = 50},
    {.attention = {16, 50, 4, 32}, .query_count = 1},
    {.attention = {16, 17, 4, 32}, .query_count = 17},
    {.attention = {16, 50, 6, 32}, .query_count = 50},
    {.attention = {16, 50, 8, 16}, .query_count = 50},
    {.attention = {16, 65, 4, 32}, .query_count = 65},
    {.attention = {16, 50, 12, 64}, .query_count = 50},
    {.attention = {2, 197, 12, 64}, .query_count = 197},
};
enum { ATTENTION_SHAPES = sizeof(attention_shapes) / sizeof(attention_shapes[0]) };

static const struct measurement row_measurements[] = {
    {"layernorm forward", layernorm_forward, {.N = 800, .C = 128}},
    {"layernorm backward", layernorm_backward, {.N = 800, .C = 128}},
    {"layernorm forward", layernorm_forward, {.N = 800, .C = 192}},
    {"layernorm backward", layernorm_backward, {.N = 800, .C = 192}},
    {"layernorm forward", layernorm_forward, {.N = 800, .C = 768}},
    {"layernorm backward", layernorm_backward, {.N = 800, .C = 768}},
    {"xent forward", xent_forward, {.N = 1024, .C = 10}},
    {"xent backward", xent_backward, {.N = 1024, .C = 10}},
    {"xent forward", xent_forward, {.N = 1024, .C = 100}},
    {"xent backward", xent_backward, {.N = 1024, .C = 100}},
    {"xent forward", xent_forward, {.N = 256, .C = 1000}},
    {"xent backward", xent_backward, {.N = 256, .C = 1000}},
    {"add", add, {.N = 1200000, .C = 1}},
    {"sum of squares", sum_squares, {.N = 1200000, .C = 1}},
    {"adamw", adamw, {.N = 1200000, .C = 1}},
    {"sgd", sgd, {.N = 1200000, .C = 1}},
};
enum { ROW_MEASUREMENTS = sizeof(row_measurements) / sizeof(row_measurements[0]) };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Nanoseconds of one of `calls` calls. */
static double sample(const struct measurement *what, const struct version *version, int64_t calls)
{
    const int64_t start = clock_now_ns();

    for (int64_t i = 0; i < calls; i++) {
        what->run(version, &what->shape);
    }
    return (double)(clock_now_ns() - start) / (double)calls;
}

static void print_shape(const struct measurement *what)
{
    const struct kern_attention_shape *a = &what->shape.attention;
    char text[64];

    if (a->B > 0) {
        snprintf(text, sizeof(text),
                 "B%" PRId64 " T%" PRId64 " H%" PRId64 " D%" PRId64 " q%" PRId64, a->B, a->T, a->H,
                 a->D, what->shape.query_count);
    } else {
        snprintf(text, sizeof(text), "[%" PRId64 ", %" PRId64 "]", what->shape.N, what->shape.C);
    }
    printf("%-19s %-21s", what->name, text);
}

/* Multiply-adds count two; forward 2, backward 4 products of query_count x T x D a head. */
static double attention_flop(const struct measurement *what)
{
    const struct kern_attention_shape *a = &what->shape.attention;
    const double products = what->run == attention_forward ? 2 : 4;

    return 2 * products * (double)(a->B * a->H * what->shape.query_count * a->T * a->D);
}

static void measure(const struct measurement *what, int rounds)
{
    static double ns[VERSIONS][ROUNDS_MAX], peaks[ROUNDS_MAX];
    const bool is_attention = what->shape.attention.B > 0;
    int64_t calls[VERSIONS];

    for (int v = 0; v < VERSIONS; v++) {
        sample(what, &versions[v], 1); /* the first call meets cold caches */
        calls[v] = 1 + (int64_t)(SAMPLE_NS / sample(what, &versions[v], 1));
    }
    for (int round = 0; round < rounds; round++) {
        for (int v = 0; v < VERSIONS; v++) {
            /* P or log-sum-exps: each backward pass needs what its own forward pass saved. */
            if (is_attention) {
                attention_forward(&versions[v], &what->shape);
            }
            ns[v][round] = sample(what, &versions[v], calls[v]);
        }
        peaks[round] = kern_fma_peak_gflops(PEAK_MS);
    }
    print_shape(what);
    for (int v = 0; v < VERSIONS; v++) {
        qsort(ns[v], (size_t)rounds, sizeof(double), compare);
        printf(" %10.1f (%.1f-%.1f)", ns[v][rounds / 2] * 1e-3, ns[v][0] * 1e-3,
               ns[v][rounds - 1] * 1e-3);
    }
    const double median = ns[1][rounds / 2];
    qsort(peaks, (size_t)rounds, sizeof(double), compare);
    if (is_attention) {
        printf(" us  %6.1f of %.1f GFLOP/s", attention_flop(what) / median, peaks[rounds / 2]);
    } else {
        printf(" us  %6.3f ns/element", median / (double)(what->shape.N * what->shape.C));
    }
    printf("  %.1fx\n", ns[0][rounds / 2] / median);
    fflush(stdout);
}

static bool open_arrays(void)
{
    float **const arrays[] = {&in, &out, &grad, &spare, &saved};

    for (uint32_t a = 0; a < 5; a++) {
        if (memory_open_f32(ELEMS, "bench", arrays[a]) != ERR_OK) {
            return false;
        }
        for (int64_t i = 0; i < ELEMS; i++) {
            (*arrays[a])[i] = (float)rng_uniform(1, RNG_TEST, (uint64_t)i, a);
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    const long asked = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS;
    const int rounds = asked < 1 ? 1 : asked > ROUNDS_MAX ? ROUNDS_MAX : (int)asked;

    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        printf("this CPU has no AVX2 and FMA\n");
        return EXIT_SUCCESS;
    }
    if (!open_arrays()) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    printf("%-19s %-21s %s\n", "operation", "shape",
           "portable us median (min-max), avx2 us median (min-max), avx2 rate, ratio");
    for (int i = 0; i < ATTENTION_SHAPES; i++) {
        const struct shape *shape = &attention_shapes[i];
        measure(&(struct measurement){"attention forward", attention_forward, *shape}, rounds);
        measure(&(struct measurement){"attention backward", attention_backward, *shape}, rounds);
    }
    for (int i = 0; i < ROW_MEASUREMENTS; i++) {
        measure(&row_measurements[i], rounds);
    }
    return sink < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
