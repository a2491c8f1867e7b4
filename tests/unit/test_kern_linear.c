/* Unit tests of trainer/kernels/kern_linear_*.c: the versions of a CPU. */
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_linear.h"

/* The BLAS library is one of them, whose bits of a row are its own affair, even without AVX2. */
#define KERN_CASES_VERSIONS                                                                        \
    {"portable",                                                                                   \
     kern_linear_panel_elems_portable,                                                             \
     kern_linear_pack_portable,                                                                    \
     kern_linear_forward_portable,                                                                 \
     kern_linear_backward_data_portable,                                                           \
     kern_linear_backward_weight_portable},                                                        \
        {"blas",                                                                                   \
         kern_linear_panel_elems_blas,                                                             \
         kern_linear_pack_blas,                                                                    \
         kern_linear_forward_blas,                                                                 \
         kern_linear_backward_data_blas,                                                           \
         kern_linear_backward_weight_blas},                                                        \
    {                                                                                              \
        "avx2", kern_linear_panel_elems_avx2, kern_linear_pack_avx2, kern_linear_forward_avx2,     \
            kern_linear_backward_data_avx2, kern_linear_backward_weight_avx2                       \
    }
#define KERN_CASES_COUNT (kern_version_count() + 1)
#define KERN_CASES_START() kern_linear_blas_start()
#define KERN_CASES_ROW_BITS 0, 2
#define KERN_CASES_ROW_BITS_COUNT kern_version_count()
#include "tests/support/kern_linear_cases.h"
