/* Unit tests of comm/base/memory.c. */
#include <check.h>
#include <stdint.h>

#include "comm/base/memory.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

START_TEST(open__gives_a_zeroed_and_aligned_block_of_any_size)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, (2u << 20) - 1, 2u << 20, (2u << 20) + 1};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *block = NULL;
        EXPECT_OK(memory_open(sizes[i], "block", &block));
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % (sizes[i] < (2u << 20) ? 64 : 2u << 20), 0);
        uint8_t all = 0;
        for (size_t b = 0; b < sizes[i]; b++) {
            all |= ((const uint8_t *)block)[b];
        }
        ck_assert_uint_eq(all, 0);
        memory_close(block);
    }
    memory_close(NULL);
}
END_TEST

START_TEST(open__refuses_a_size_that_overflows_and_names_the_block)
{
    void *block = NULL;
    float *floats = NULL;

    EXPECT_ERR(memory_open(SIZE_MAX, "moments", &block), ERR_NO_MEMORY, "moments");
    EXPECT_ERR(memory_open_f32(INT64_MAX, "moments", &floats), ERR_NO_MEMORY, "moments");
    EXPECT_ERR(memory_open_f32(INT64_MAX / 2 + 1, "moments", &floats), ERR_NO_MEMORY, "moments");
    ck_assert_ptr_null(block);
    ck_assert_ptr_null(floats);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("memory");
    TCase *tcase = tcase_create("memory");

    tcase_add_test(tcase, open__gives_a_zeroed_and_aligned_block_of_any_size);
    tcase_add_test(tcase, open__refuses_a_size_that_overflows_and_names_the_block);
    suite_add_tcase(suite, tcase);
    return suite;
}
