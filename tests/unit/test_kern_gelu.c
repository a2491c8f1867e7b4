/* Unit tests of trainer/kernels/kern_gelu_*.c: the versions of a CPU. */
#include "tests/support/kern_versions.h"
#include "trainer/kernels/kern_gelu.h"

#define KERN_CASES_VERSIONS kern_gelu_portable, kern_gelu_avx2
#define KERN_CASES_COUNT kern_version_count()
#include "tests/support/kern_gelu_cases.h"
