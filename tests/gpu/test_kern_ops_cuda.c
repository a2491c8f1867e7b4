/* Tests of trainer/kernels/kern_ops_cuda.c. */
#include <string.h>

#include "tests/support/device_mirror.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_ops_cuda.h"

START_TEST(cuda__fills_the_whole_table)
{
    struct kern_ops ops;
    void *entries[sizeof(ops) / sizeof(void *)];

    device_mirror_begin();
    memset(&ops, 0, sizeof(ops));
    device_mirror_check(kern_ops_cuda(mirror_device, &ops));
    memcpy(entries, &ops, sizeof(ops));
    for (size_t i = 0; i < sizeof(ops) / sizeof(void *); i++) {
        ck_assert_msg(entries[i] != NULL, "pointer %d of the table is NULL", (int)i);
    }
    ck_assert_str_eq(ops.isa, "cuda");
    ck_assert_int_eq(strncmp(ops.matmul, "cublasLt ", 9), 0);
    ck_assert(ops.matmul[9] >= '1' && ops.matmul[9] <= '9');
    ck_assert_ptr_eq(ops.device, mirror_device);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_ops_cuda");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, cuda__fills_the_whole_table);
    suite_add_tcase(suite, tcase);
    return suite;
}
