/*
 * tests/cudasim/include/cudasim_math.h - CUDA's arithmetic, by the functions of the host. The
 * fast variants (__expf and others) are the exact ones here: a GPU's differ in the last digits.
 */
#ifndef CUDASIM_MATH_H
#define CUDASIM_MATH_H

#include <cmath>
#include <cstdint>

static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
static inline double rsqrt(double x)
{
    return 1.0 / sqrt(x);
}
/* Macros, since the names below belong to the C library. */
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanhf(x) tanhf(x)
static inline float __fdividef(float x, float y)
{
    return x / y;
}
static inline float __frcp_rn(float x)
{
    return 1.0f / x;
}
static inline float __frsqrt_rn(float x)
{
    return 1.0f / sqrtf(x);
}
static inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
static inline float __fadd_rn(float x, float y)
{
    return x + y;
}
static inline float __fsub_rn(float x, float y)
{
    return x - y;
}
static inline float __fmul_rn(float x, float y)
{
    return x * y;
}
static inline float __fdiv_rn(float x, float y)
{
    return x / y;
}
static inline float __fmaf_rn(float x, float y, float z)
{
    return fmaf(x, y, z);
}
static inline double __dadd_rn(double x, double y)
{
    return x + y;
}
static inline double __dmul_rn(double x, double y)
{
    return x * y;
}
static inline float __saturatef(float x)
{
    return fminf(fmaxf(x, 0.0f), 1.0f);
}

template <class To, class From> static inline To cudasim_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "bits are kept");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
static inline int __float_as_int(float x)
{
    return cudasim_bits<int>(x);
}
static inline float __int_as_float(int x)
{
    return cudasim_bits<float>(x);
}
static inline unsigned __float_as_uint(float x)
{
    return cudasim_bits<unsigned>(x);
}
static inline float __uint_as_float(unsigned x)
{
    return cudasim_bits<float>(x);
}
static inline long long __double_as_longlong(double x)
{
    return cudasim_bits<long long>(x);
}
static inline double __longlong_as_double(long long x)
{
    return cudasim_bits<double>(x);
}
static inline float __int2float_rn(int x)
{
    return (float)x;
}
static inline float __uint2float_rn(unsigned x)
{
    return (float)x;
}
static inline int __float2int_rn(float x)
{
    return (int)lrintf(x);
}
static inline int __float2int_rz(float x)
{
    return (int)x;
}
static inline float __double2float_rn(double x)
{
    return (float)x;
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline int __clz(int x)
{
    return x != 0 ? __builtin_clz((unsigned)x) : 32;
}
static inline int __clzll(long long x)
{
    return x != 0 ? __builtin_clzll((unsigned long long)x) : 64;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline unsigned __brev(unsigned x)
{
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; bit++) {
        reversed |= (x >> bit & 1u) << (31 - bit);
    }
    return reversed;
}
static inline unsigned __umulhi(unsigned x, unsigned y)
{
    return (unsigned)((uint64_t)x * y >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y)
{
    return (unsigned long long)((unsigned __int128)x * y >> 64);
}

/* CUDA's max and min take two of a kind, or numbers that C would convert to one. */
template <class A, class B> static inline constexpr std::common_type_t<A, B> max(A x, B y)
{
    using C = std::common_type_t<A, B>;
    return (C)x > (C)y ? (C)x : (C)y;
}
template <class A, class B> static inline constexpr std::common_type_t<A, B> min(A x, B y)
{
    using C = std::common_type_t<A, B>;
    return (C)x < (C)y ? (C)x : (C)y;
}

#endif
