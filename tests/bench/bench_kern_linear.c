/*
 * The matrix products of trainer/kernels, our own beside the BLAS library's, in GFLOP/s of
 * one core and as a share of what independent multiply-adds reach at the same time.
 *
 *      bench_kern_linear [ROWS]     default 800: 16 images of 50 tokens
 *
 * A round measures own, BLAS and multiply-adds one after the other, so that a machine
 * whose speed wanders does so under all three; a ratio is the median of the rounds'.
 * Time is this process's CPU time, so that a core shared with others counts for what it
 * gave. Operands stay in the caches that their size fits.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "comm/base/rng.h"
#include "trainer/kernels/kern_ops.h"

enum { ROUNDS = 11, PEAK_MS = 1 };
enum kind { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHT, FORWARD_GELU, BACKWARD_DATA_GELU, KINDS };

static const char *const kind_names[KINDS] = {"y", "dx", "dw", "y gelu", "dx gelu"};
static const double RUN_FLOPS = 2e8; /* at least, so that a run takes 2 ms or more */

struct shape {
    int64_t N, K;
};

static const struct shape shapes[] = {
    {384, 128}, {128, 128}, {512, 128}, {128, 512}, {576, 192}, {192, 192}, {768, 192},
    {192, 768}, {192, 64},  {64, 64},   {256, 64},  {64, 256},  {128, 16},  {10, 128},
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]), ELEMS_MAX = 768 };

struct operands {
    float *x, *y, *slope;    /* [M, ELEMS_MAX] */
    float *weight, *dweight; /* [ELEMS_MAX, 192] and the like */
    float *bias, *dbias;
    float *panels, *panels_data;
};

struct spread {
    double median, least, most;
};

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static struct spread spread_of(const double values[ROUNDS])
{
    double sorted[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        sorted[i] = values[i];
    }
    qsort(sorted, ROUNDS, sizeof(sorted[0]), compare);
    return (struct spread){sorted[ROUNDS / 2], sorted[0], sorted[ROUNDS - 1]};
}

static void run_once(const struct kern_ops *ops, enum kind kind, const struct operands *o,
                     const struct kern_linear *linear, int64_t M)
{
    const int64_t N = linear->N, K = linear->K;
    const bool has_gelu = kind == FORWARD_GELU;
    const struct kern_linear_epilogue epilogue = {.bias = o->bias,
                                                  .gelu =
                                                      has_gelu ? KERN_GELU_TANH : KERN_GELU_NONE,
                                                  .slope = has_gelu ? o->slope : NULL};

    if (kind == FORWARD || kind == FORWARD_GELU) {
        ops->linear_forward(o->y, N, o->x, K, M, linear, &epilogue);
    } else if (kind == BACKWARD_WEIGHT) {
        ops->linear_backward_weight(o->dweight, o->dbias, o->y, N, o->x, K, M, N, K, true);
    } else {
        ops->linear_backward_data(o->x, K, o->y, N, M, linear,
                                  kind == BACKWARD_DATA_GELU ? o->slope : NULL);
    }
}

static double measure(const struct kern_ops *ops, enum kind kind, const struct operands *o,
                      const struct kern_linear *linear, int64_t M)
{
    const double flops = 2.0 * (double)M * (double)linear->N * (double)linear->K;
    const int turns = (int)(RUN_FLOPS / flops) + 1;
    const double begin_s = clock_cpu_s();

    for (int i = 0; i < turns; i++) {
        run_once(ops, kind, o, linear, M);
    }
    return flops * turns / ((clock_cpu_s() - begin_s) * 1e9);
}

static void fill(float *to, int64_t count, uint32_t sub)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = 0.1f * (float)rng_normal(1, RNG_TEST, (uint64_t)i, sub);
    }
}

static void compare_shape(const struct kern_ops *own, const struct kern_ops *blas,
                          const struct operands *o, const struct shape *shape, int64_t M,
                          double ratio_sums[KINDS])
{
    const struct kern_linear linear = {.N = shape->N,
                                       .K = shape->K,
                                       .weight = o->weight,
                                       .panels = o->panels,
                                       .panels_data = o->panels_data};
    own->linear_pack(&linear);
    for (enum kind kind = FORWARD; kind < KINDS; kind++) {
        double gflops[3][ROUNDS], share[ROUNDS], ratio[ROUNDS];

        fill(o->x, M * shape->K, 1);
        fill(o->y, M * shape->N, 2);
        fill(o->slope, M * ELEMS_MAX, 3);
        for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
            const int i = round < 0 ? 0 : round;
            gflops[0][i] = measure(own, kind, o, &linear, M);
            gflops[1][i] = measure(blas, kind, o, &linear, M);
            gflops[2][i] = kern_fma_peak_gflops(PEAK_MS);
            share[i] = gflops[0][i] / gflops[2][i];
            ratio[i] = gflops[0][i] / gflops[1][i];
        }
        const struct spread a = spread_of(gflops[0]), b = spread_of(gflops[1]);
        const struct spread peak = spread_of(gflops[2]);
        printf("%-8s %4ld %4ld %4ld  %6.1f (%5.1f-%5.1f)  %6.1f (%5.1f-%5.1f)  %6.1f (%5.1f-%5.1f)"
               "  %5.1f %%  %5.2f\n",
               kind_names[kind], (long)M, (long)shape->N, (long)shape->K, a.median, a.least, a.most,
               b.median, b.least, b.most, peak.median, peak.least, peak.most,
               100.0 * spread_of(share).median, spread_of(ratio).median);
        ratio_sums[kind] += spread_of(share).median;
    }
}

static enum err run(int64_t M)
{
    struct kern_ops own, blas;
    struct operands o;
    double ratio_sums[KINDS] = {0};

    ERR_TRY(kern_ops_choose(KERN_ISA_AVX2, KERN_MATMUL_OWN, &own));
    ERR_TRY(kern_ops_choose(KERN_ISA_AVX2, KERN_MATMUL_BLAS, &blas));
    float **const arrays[] = {&o.x,    &o.y,     &o.slope,  &o.weight,     &o.dweight,
                              &o.bias, &o.dbias, &o.panels, &o.panels_data};
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        ERR_TRY(memory_open_f32((i < 3 ? M : ELEMS_MAX) * ELEMS_MAX, "operands", arrays[i]));
    }
    fill(o.weight, ELEMS_MAX * ELEMS_MAX, 4);
    printf("CPU: %s; %s beside %s\n", kern_cpu_features(), own.matmul, blas.matmul);
    printf("GFLOP/s, median (least-most) of %d alternated rounds\n", ROUNDS);
    printf("%-8s %4s %4s %4s  %-21s  %-21s  %-21s  %7s  %s\n", "product", "M", "N", "K", "own",
           "BLAS", "multiply-adds", "share", "own/BLAS");
    for (int i = 0; i < SHAPES; i++) {
        compare_shape(&own, &blas, &o, &shapes[i], M, ratio_sums);
    }
    for (enum kind kind = FORWARD; kind < KINDS; kind++) {
        printf("%s: mean share %.1f %%\n", kind_names[kind], 100.0 * ratio_sums[kind] / SHAPES);
    }
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
        memory_close(*arrays[i]);
    }
    return ERR_OK;
}

int main(int argc, char **argv)
{
    const int64_t M = argc > 1 ? strtol(argv[1], NULL, 10) : 800;
    char text[256];

    if (M < 1 || run(M) != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "bench_kern_linear: %s\n", M < 1 ? "ROWS must be at least 1" : text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
