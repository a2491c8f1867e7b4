/*
 * trainer/kernels/kern_fn.h - KERN_FN, in front of functions that host and device share.
 *
 * Arithmetic of one sample or one element is written once, as `KERN_FN float f(float x)` in a
 * header that C and CUDA sources include.
 */
#ifndef TRAINER_KERNELS_KERN_FN_H
#define TRAINER_KERNELS_KERN_FN_H

#ifdef __CUDACC__
#define KERN_FN __host__ __device__ static inline
#else
#define KERN_FN static inline
#endif

#endif
