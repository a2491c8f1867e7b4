/* tests/support/kern_versions.h - which versions of a kernel this CPU can run, and closeness. */
#ifndef TESTS_SUPPORT_KERN_VERSIONS_H
#define TESTS_SUPPORT_KERN_VERSIONS_H

#include <check.h>
#include <math.h>

enum { KERN_VERSION_PORTABLE, KERN_VERSION_AVX2, KERN_VERSIONS };

/* 1, or 2 where AVX2 and FMA are there; 0 .. that - 1 index a test's table of versions. */
static inline int kern_version_count(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? KERN_VERSIONS : 1;
}

/* |found - expected| <= tolerance * max(1, |expected|); false if either is NaN. */
static inline int kern_is_close(double found, double expected, double tolerance)
{
    return fabs(found - expected) <= tolerance * fmax(1, fabs(expected));
}

#endif
