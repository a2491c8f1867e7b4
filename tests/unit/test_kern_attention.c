/* Unit tests of trainer/kernels/kern_attention_*.c: the versions of a CPU. */
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_attention.h"

#define KERN_CASES_VERSIONS                                                                        \
    {"portable", kern_attention_saved_elems_portable, kern_attention_forward_portable,             \
     kern_attention_backward_portable},                                                            \
        {"avx2", kern_attention_saved_elems_avx2, kern_attention_forward_avx2,                     \
         kern_attention_backward_avx2},
#define KERN_CASES_COUNT kern_version_count()
#include "tests/support/kern_attention_cases.h"
