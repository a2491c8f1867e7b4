/*
 * trainer/kernels/kern_cpu_priv.h - what this CPU can do, and the function that measures it.
 *
 * Threads: any.
 */
#ifndef TRAINER_KERNELS_KERN_CPU_PRIV_H
#define TRAINER_KERNELS_KERN_CPU_PRIV_H

#include <stdbool.h>

/* Whether the *_avx2 functions may be called. */
static inline bool kern_cpu_has_avx2_fma(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* kern_fma_peak_gflops() on a CPU that has AVX2 and FMA. */
double kern_fma_peak_gflops_avx2(int duration_ms);

#endif
