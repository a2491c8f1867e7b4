/* Unit tests of trainer/kernels/kern_xent_*.c: the versions of a CPU. */
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_xent.h"

#define KERN_CASES_VERSIONS                                                                        \
    {"portable", kern_xent_forward_portable, kern_xent_backward_portable},                         \
        {"avx2", kern_xent_forward_avx2, kern_xent_backward_avx2},
#define KERN_CASES_COUNT kern_version_count()
#include "tests/support/kern_xent_cases.h"
