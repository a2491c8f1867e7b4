/* Unit tests of trainer/kernels/kern_update_*.c: the versions of a CPU. */
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_update.h"

#define KERN_CASES_VERSIONS                                                                        \
    {kern_add_portable, kern_sum_squares_portable, kern_adamw_portable, kern_sgd_portable, 0},     \
        {kern_add_avx2, kern_sum_squares_avx2, kern_adamw_avx2, kern_sgd_avx2, 0},
#define KERN_CASES_COUNT kern_version_count()
#include "tests/support/kern_update_cases.h"
