/*
 * tests/cudasim/include/cudasim_kernel.h - the language of kernels, for a C++17 compiler.
 *
 * A kernel runs block by block; the threads of a block are fibers, which change places at
 * barriers and warp operations only. Sources that hold kernels are compiled with
 * -fsanitize=thread, but not linked with its library: the calls that the compiler puts in front
 * of every load and store end in sim_watch.c, which knows what a thread may touch.
 *
 * Kernels, and functions with __shared__ variables, are `static`; there are no __device__
 * variables. Launches are written
 * KERN_LAUNCH, dynamic shared memory KERN_SHARED (trainer/kernels/kern_cuda_priv.h).
 */
#ifndef CUDASIM_KERNEL_H
#define CUDASIM_KERNEL_H

#ifndef __cplusplus
#error "kernels are C++"
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <cuda_runtime_api.h>

#define __global__ __attribute__((unused))
#define __device__ __attribute__((unused))
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("cudasim_shared")))
#define __restrict__ __restrict

enum cudasim_warp_op {
    CUDASIM_WARP_SYNC,
    CUDASIM_WARP_SHUFFLE,
    CUDASIM_WARP_BALLOT,
    CUDASIM_WARP_MATCH,
    CUDASIM_WARP_ADD,
    CUDASIM_WARP_MIN,
    CUDASIM_WARP_MAX
};

extern "C" {
uint3 cudasim_thread_idx(void) __attribute__((const));
uint3 cudasim_block_idx(void) __attribute__((const));
uint3 cudasim_block_dim(void) __attribute__((const));
uint3 cudasim_grid_dim(void) __attribute__((const));
unsigned cudasim_lane(void) __attribute__((const));
unsigned cudasim_active_mask(void);
void *cudasim_dynamic_shared(void) __attribute__((const));
int cudasim_block_barrier(int vote, int value, const char *file, int line);
uint64_t cudasim_warp(enum cudasim_warp_op op, unsigned mask, uint64_t value, unsigned source,
                      const char *file, int line);
void cudasim_atomic_read(void *old, const void *address, size_t bytes);
void cudasim_atomic_write(void *address, const void *value, size_t bytes);
void cudasim_trap(const char *what, const char *file, int line) __attribute__((noreturn));
void cudasim_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                    const char *name, const void *kernel, void (*call)(const void *arguments),
                    const void *arguments, size_t arguments_bytes);
}

#define threadIdx (cudasim_thread_idx())
#define blockIdx (cudasim_block_idx())
#define blockDim (cudasim_block_dim())
#define gridDim (cudasim_grid_dim())
#define warpSize 32

/* A launch. As with <<<>>>, arguments are converted to the kernel's parameters and copied now. */
template <class... P>
static inline void cudasim_launch_kernel(void (*kernel)(P...), dim3 grid, dim3 block,
                                         size_t shared_bytes, cudaStream_t stream, const char *name,
                                         std::common_type_t<P>... arguments)
{
    const auto call = [kernel, arguments...] { kernel(arguments...); };
    static_assert(std::is_trivially_copyable<decltype(call)>::value, "parameters are plain data");
    cudasim_launch(
        grid, block, shared_bytes, stream, name, reinterpret_cast<const void *>(kernel),
        [](const void *copy) { (*static_cast<decltype(&call)>(copy))(); }, &call, sizeof call);
}
#define CUDASIM_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                             \
    cudasim_launch_kernel(kernel, grid, block, shared_bytes, stream, #kernel, ##__VA_ARGS__)

/* Barriers */
#define __syncthreads() ((void)cudasim_block_barrier(0, 0, __FILE__, __LINE__))
#define __syncthreads_count(predicate) cudasim_block_barrier(1, !!(predicate), __FILE__, __LINE__)
#define __syncthreads_or(predicate)                                                                \
    (cudasim_block_barrier(1, !!(predicate), __FILE__, __LINE__) != 0)
#define __syncthreads_and(predicate)                                                               \
    (cudasim_block_barrier(1, !(predicate), __FILE__, __LINE__) == 0)
#define __syncwarp(...)                                                                            \
    ((void)cudasim_warp(CUDASIM_WARP_SYNC, cudasim_mask(__VA_ARGS__), 0, 0, __FILE__, __LINE__))
#define __threadfence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define __threadfence_block() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define __threadfence_system() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define __trap() cudasim_trap("__trap()", __FILE__, __LINE__)
#define __activemask() cudasim_active_mask()

static inline unsigned cudasim_mask(unsigned mask = 0xffffffffu)
{
    return mask;
}

/* Warp operations; the lane that a lane reads from is computed here. */
template <class T>
static inline T cudasim_shuffle(unsigned mask, T value, unsigned source, const char *file, int line)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves 8 bytes at most");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = cudasim_warp(CUDASIM_WARP_SHUFFLE, mask, bits, source, file, line);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
static inline unsigned cudasim_source(int index, int width = 32)
{
    const unsigned first = cudasim_lane() & ~((unsigned)width - 1);
    return first | ((unsigned)index & ((unsigned)width - 1));
}
static inline unsigned cudasim_source_up(unsigned delta, int width = 32)
{
    const unsigned lane = cudasim_lane();
    return (lane & ((unsigned)width - 1)) >= delta ? lane - delta : lane;
}
static inline unsigned cudasim_source_down(unsigned delta, int width = 32)
{
    const unsigned lane = cudasim_lane();
    return (lane & ((unsigned)width - 1)) + delta < (unsigned)width ? lane + delta : lane;
}
static inline unsigned cudasim_source_xor(int bits, int width = 32)
{
    const unsigned lane = cudasim_lane();
    const unsigned other = lane ^ (unsigned)bits;
    return (other & ~((unsigned)width - 1)) <= (lane & ~((unsigned)width - 1)) ? other : lane;
}
#define __shfl_sync(mask, value, ...)                                                              \
    cudasim_shuffle(mask, value, cudasim_source(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, ...)                                                           \
    cudasim_shuffle(mask, value, cudasim_source_up(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, ...)                                                         \
    cudasim_shuffle(mask, value, cudasim_source_down(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, ...)                                                          \
    cudasim_shuffle(mask, value, cudasim_source_xor(__VA_ARGS__), __FILE__, __LINE__)
#define CUDASIM_BALLOT(mask, predicate)                                                            \
    ((unsigned)cudasim_warp(CUDASIM_WARP_BALLOT, mask, (predicate) ? 1 : 0, 0, __FILE__, __LINE__))
#define __ballot_sync(mask, predicate) CUDASIM_BALLOT(mask, predicate)
#define __any_sync(mask, predicate) (CUDASIM_BALLOT(mask, predicate) != 0)
#define __all_sync(mask, predicate) (CUDASIM_BALLOT(mask, !(predicate)) == 0)
#define __match_any_sync(mask, value)                                                              \
    ((unsigned)cudasim_warp(CUDASIM_WARP_MATCH, mask, (uint64_t)(value), 0, __FILE__, __LINE__))
#define __reduce_add_sync(mask, value)                                                             \
    cudasim_reduce(CUDASIM_WARP_ADD, mask, value, __FILE__, __LINE__)
#define __reduce_min_sync(mask, value)                                                             \
    cudasim_reduce(CUDASIM_WARP_MIN, mask, value, __FILE__, __LINE__)
#define __reduce_max_sync(mask, value)                                                             \
    cudasim_reduce(CUDASIM_WARP_MAX, mask, value, __FILE__, __LINE__)
template <class T>
static inline T cudasim_reduce(enum cudasim_warp_op op, unsigned mask, T value, const char *file,
                               int line)
{
    static_assert(std::is_integral<T>::value && sizeof(T) == 4,
                  "reductions are of 32-bit integers");
    /* Min and max compare as signed 64-bit numbers, which hold both kinds of 32-bit ones. */
    return (T)cudasim_warp(op, mask, (uint64_t)(int64_t)value, 0, file, line);
}

/*
 * Atomics: fibers change places nowhere in between, so that plain code is atomic. On integers
 * only: a sum of floats would depend on the order of threads.
 */
template <class T, class F> static inline T cudasim_update(T *address, F next)
{
    static_assert(std::is_integral<T>::value, "atomics are on integers");
    T old;
    cudasim_atomic_read(&old, address, sizeof(T));
    const T value = next(old);
    cudasim_atomic_write(address, &value, sizeof(T));
    return old;
}
template <class T> static inline T atomicAdd(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return (T)(old + value); });
}
template <class T> static inline T atomicSub(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return (T)(old - value); });
}
template <class T> static inline T atomicMax(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return old > value ? old : value; });
}
template <class T> static inline T atomicMin(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return old < value ? old : value; });
}
template <class T> static inline T atomicAnd(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return (T)(old & value); });
}
template <class T> static inline T atomicOr(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return (T)(old | value); });
}
template <class T> static inline T atomicXor(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T old) { return (T)(old ^ value); });
}
template <class T> static inline T atomicExch(T *address, std::common_type_t<T> value)
{
    return cudasim_update(address, [value](T) { return value; });
}
template <class T>
static inline T atomicCAS(T *address, std::common_type_t<T> expected, std::common_type_t<T> value)
{
    return cudasim_update(address, [=](T old) { return old == expected ? value : old; });
}
static inline unsigned atomicInc(unsigned *address, unsigned limit)
{
    return cudasim_update(address, [limit](unsigned old) { return old >= limit ? 0 : old + 1; });
}

/* Loads and stores with a hint for a cache */
template <class T> static inline T __ldg(const T *address)
{
    return *address;
}
template <class T> static inline T __ldcg(const T *address)
{
    return *address;
}
template <class T> static inline T __ldcs(const T *address)
{
    return *address;
}
template <class T> static inline void __stcg(T *address, T value)
{
    *address = value;
}
template <class T> static inline void __stcs(T *address, T value)
{
    *address = value;
}

/* Vectors */
static inline float2 make_float2(float x, float y)
{
    return {x, y};
}
static inline float3 make_float3(float x, float y, float z)
{
    return {x, y, z};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
static inline double2 make_double2(double x, double y)
{
    return {x, y};
}
static inline int2 make_int2(int x, int y)
{
    return {x, y};
}
static inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}
static inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w)
{
    return {x, y, z, w};
}

#include <cudasim_math.h>

#endif
