/*
 * tests/cudasim/include/cuda_runtime.h - stands in for the toolkit's header of this name: the
 * API for C, and the language of kernels where a .cu file is compiled as C++.
 */
#ifndef CUDASIM_CUDA_RUNTIME_H
#define CUDASIM_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
#include <cudasim_kernel.h>
#endif

#endif
