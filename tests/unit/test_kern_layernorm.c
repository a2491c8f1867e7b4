/* Unit tests of trainer/kernels/kern_layernorm_*.c: the versions of a CPU. */
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_layernorm.h"

#define KERN_CASES_VERSIONS                                                                        \
    {"portable", kern_layernorm_forward_portable, kern_layernorm_backward_portable},               \
        {"avx2", kern_layernorm_forward_avx2, kern_layernorm_backward_avx2},
#define KERN_CASES_COUNT kern_version_count()
#include "tests/support/kern_layernorm_cases.h"
