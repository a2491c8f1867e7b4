#include <immintrin.h>
#include <stdint.h>

#include "comm/base/clock.h"
#include "trainer/kernels/kern_avx2_priv.h"
#include "trainer/kernels/kern_cpu_priv.h"

enum {
    SUMS = 12, /* two FMA units of up to five cycles' latency want ten */
    TURNS = 20000,
    RUNS_MIN = 3,
};

/* TURNS multiply-adds on each of the sums; the return value keeps them from being left out. */
static float fma_loop(float start)
{
    const __m256 factor = _mm256_set1_ps(0.999f);
    const __m256 term = _mm256_set1_ps(start);
    __m256 sums[SUMS];
    __m256 total = _mm256_setzero_ps();

    for (int i = 0; i < SUMS; i++) {
        sums[i] = _mm256_set1_ps(start + (float)i);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        sums[0] = _mm256_fmadd_ps(sums[0], factor, term);
        sums[1] = _mm256_fmadd_ps(sums[1], factor, term);
        sums[2] = _mm256_fmadd_ps(sums[2], factor, term);
        sums[3] = _mm256_fmadd_ps(sums[3], factor, term);
        sums[4] = _mm256_fmadd_ps(sums[4], factor, term);
        sums[5] = _mm256_fmadd_ps(sums[5], factor, term);
        sums[6] = _mm256_fmadd_ps(sums[6], factor, term);
        sums[7] = _mm256_fmadd_ps(sums[7], factor, term);
        sums[8] = _mm256_fmadd_ps(sums[8], factor, term);
        sums[9] = _mm256_fmadd_ps(sums[9], factor, term);
        sums[10] = _mm256_fmadd_ps(sums[10], factor, term);
        sums[11] = _mm256_fmadd_ps(sums[11], factor, term);
    }
    for (int i = 0; i < SUMS; i++) {
        total = _mm256_add_ps(total, sums[i]);
    }
    return vec_sum(total);
}

double kern_fma_peak_gflops_avx2(int duration_ms)
{
    const double flops = 2.0 * LANES * SUMS * TURNS;
    const int64_t begin_ns = clock_now_ns();
    volatile float start = 0.25f;
    double best = 0.0;

    for (int run = 0; run < RUNS_MIN || clock_since_s(begin_ns) * 1e3 < duration_ms; run++) {
        const int64_t run_ns = clock_now_ns();
        start = fma_loop(start) * 1e-6f;
        const double gflops = flops / (double)(clock_now_ns() - run_ns);
        best = gflops > best ? gflops : best;
    }
    return best;
}
