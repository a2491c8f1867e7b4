/* Unit tests of trainer/kernels/kern_ops.c. */
#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/kernels/kern_ops_cuda.h"

static void check_complete(const struct kern_ops *ops)
{
    ck_assert(ops->linear_panel_elems != NULL);
    ck_assert(ops->linear_pack != NULL);
    ck_assert(ops->linear_forward != NULL);
    ck_assert(ops->linear_backward_data != NULL);
    ck_assert(ops->linear_backward_weight != NULL);
    ck_assert(ops->layernorm_forward != NULL);
    ck_assert(ops->layernorm_backward != NULL);
    ck_assert(ops->attention_saved_elems != NULL);
    ck_assert(ops->embed_forward != NULL);
    ck_assert(ops->embed_backward != NULL);
    ck_assert(ops->tokens_forward != NULL);
    ck_assert(ops->tokens_backward != NULL);
    ck_assert(ops->token_mean_forward != NULL);
    ck_assert(ops->token_mean_backward != NULL);
    ck_assert(ops->token_last_forward != NULL);
    ck_assert(ops->token_last_backward != NULL);
    ck_assert(ops->gate_forward != NULL);
    ck_assert(ops->gate_backward != NULL);
    ck_assert(ops->zero != NULL);
    ck_assert(ops->copy_rows != NULL);
    ck_assert(ops->add_rows != NULL);
    ck_assert(ops->gather_rows != NULL);
    ck_assert(ops->mean_forward != NULL);
    ck_assert(ops->mean_backward != NULL);
    ck_assert(ops->keep_rows != NULL);
    ck_assert(ops->count != NULL);
    ck_assert(ops->tally != NULL);
    ck_assert(ops->attention_forward != NULL);
    ck_assert(ops->attention_backward != NULL);
    ck_assert(ops->xent_forward != NULL);
    ck_assert(ops->xent_backward != NULL);
    ck_assert(ops->add != NULL);
    ck_assert(ops->sum_squares != NULL);
    ck_assert(ops->adamw != NULL);
    ck_assert(ops->sgd != NULL);
}

START_TEST(choose__fills_the_whole_table_for_every_choice_this_cpu_allows)
{
    const bool has_avx2 = kern_version_count() == KERN_VERSIONS;

    for (int isa = KERN_ISA_AUTO; isa <= KERN_ISA_AVX2; isa++) {
        for (int matmul = KERN_MATMUL_AUTO; matmul <= KERN_MATMUL_BLAS; matmul++) {
            struct kern_ops ops;
            memset(&ops, 0, sizeof(ops));
            const enum err status =
                kern_ops_choose((enum kern_isa)isa, (enum kern_matmul)matmul, &ops);
            if (!has_avx2 && (isa == KERN_ISA_AVX2 || matmul == KERN_MATMUL_OWN)) {
                ck_assert_int_eq(status, ERR_CONFIG);
                ck_assert_ptr_null(ops.isa);
                err_clear();
                continue;
            }
            ck_assert_int_eq(status, ERR_OK);
            check_complete(&ops);
        }
    }
}
END_TEST

START_TEST(choose__names_what_it_chose)
{
    const bool has_avx2 = kern_version_count() == KERN_VERSIONS;
    struct kern_ops ops;

    ck_assert_int_eq(kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_AUTO, &ops), ERR_OK);
    ck_assert_str_eq(ops.isa, has_avx2 ? "avx2" : "portable");
    if (has_avx2) {
        ck_assert_str_eq(ops.matmul, "own avx2 6x16");
    }
    ck_assert_int_eq(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_AUTO, &ops), ERR_OK);
    ck_assert_str_eq(ops.isa, "portable");
    ck_assert_int_eq(strncmp(ops.matmul, "openblas ", 9), 0);
    ck_assert_uint_gt(strlen(ops.matmul), 9);
    ck_assert_int_eq(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops), ERR_OK);
    ck_assert_str_eq(ops.matmul, "portable");
    ck_assert_ptr_nonnull(strstr(kern_cpu_features(), "avx2"));
}
END_TEST

START_TEST(cuda__is_refused_by_a_program_without_it)
{
    struct kern_ops ops;

    if (!device_has_cuda()) {
        memset(&ops, 0, sizeof(ops));
        ck_assert_int_eq(kern_ops_cuda(device_cpu(), &ops), ERR_CONFIG);
        ck_assert_ptr_null(ops.isa);
        err_clear();
        kern_cuda_close();
    }
}
END_TEST

START_TEST(fma_peak__is_that_of_a_cpu_or_zero_without_avx2)
{
    const double gflops = kern_fma_peak_gflops(5);

    if (kern_version_count() == KERN_VERSIONS) {
        ck_assert_double_gt(gflops, 1);
        ck_assert_double_lt(gflops, 1000);
    } else {
        ck_assert_double_eq(gflops, 0);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_ops");
    TCase *tcase = tcase_create("kern_ops");

    tcase_add_test(tcase, choose__fills_the_whole_table_for_every_choice_this_cpu_allows);
    tcase_add_test(tcase, choose__names_what_it_chose);
    tcase_add_test(tcase, cuda__is_refused_by_a_program_without_it);
    tcase_add_test(tcase, fma_peak__is_that_of_a_cpu_or_zero_without_avx2);
    suite_add_tcase(suite, tcase);
    return suite;
}
