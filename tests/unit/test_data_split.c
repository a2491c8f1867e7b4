/* Unit tests of data/data_split.c. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_split.h"
#include "tests/support/test_suite.h"

enum { COUNT = 60000, SEED = 17 };

static struct data_split *open_split(double fraction, int64_t count)
{
    struct data_split *split = NULL;

    ck_assert_int_eq(data_split_open(SEED, fraction, count, &split), ERR_OK);
    return split;
}

START_TEST(open__lists_every_sample_once_in_ascending_order)
{
    struct data_split *split = open_split(0.1, COUNT);
    int64_t train = 0;
    int64_t held_out = 0;

    ck_assert_int_eq(split->train_count + split->held_out_count, COUNT);
    for (int64_t i = 0; i < COUNT; i++) {
        if (data_split_holds_out(SEED, 0.1, (uint64_t)i)) {
            ck_assert_int_lt(held_out, split->held_out_count);
            ck_assert_int_eq(split->held_out[held_out++], i);
        } else {
            ck_assert_int_lt(train, split->train_count);
            ck_assert_int_eq(split->train[train++], i);
        }
    }
    /* Binomial: 6000, standard deviation 73. */
    ck_assert_double_lt(fabs((double)split->held_out_count - 6000), 5 * 73.5);
    data_split_close(split);
}
END_TEST

/* Computed by a second program, written from the header alone. */
START_TEST(open__matches_known_answers)
{
    static const uint32_t expected[] = {4, 25, 42, 53, 56, 77, 81, 88, 95};
    struct data_split *split = open_split(0.1, 100);

    ck_assert_int_eq(split->held_out_count, 9);
    ck_assert_mem_eq(split->held_out, expected, sizeof(expected));
    data_split_close(split);
}
END_TEST

START_TEST(open__holds_nothing_out_when_the_fraction_is_0)
{
    struct data_split *split = open_split(0, COUNT);

    ck_assert_int_eq(split->train_count, COUNT);
    ck_assert_int_eq(split->held_out_count, 0);
    data_split_close(split);
}
END_TEST

START_TEST(open__keeps_the_decisions_of_a_smaller_set)
{
    struct data_split *small = open_split(0.2, 1001);
    struct data_split *large = open_split(0.2, COUNT);

    ck_assert_mem_eq(small->train, large->train, (size_t)small->train_count * sizeof(uint32_t));
    ck_assert_mem_eq(small->held_out, large->held_out,
                     (size_t)small->held_out_count * sizeof(uint32_t));
    ck_assert_uint_gt(large->train[small->train_count], 1000);
    ck_assert_uint_gt(large->held_out[small->held_out_count], 1000);
    data_split_close(small);
    data_split_close(large);
}
END_TEST

START_TEST(holds_out__keeps_holding_out_when_the_fraction_grows)
{
    for (uint64_t i = 0; i < 5000; i++) {
        if (data_split_holds_out(SEED, 0.1, i)) {
            ck_assert(data_split_holds_out(SEED, 0.3, i));
        }
    }
}
END_TEST

START_TEST(holds_out__depends_on_the_seed)
{
    int different = 0;

    for (uint64_t i = 0; i < 10000; i++) {
        different += data_split_holds_out(1, 0.5, i) != data_split_holds_out(2, 0.5, i);
    }
    ck_assert_int_lt(abs(different - 5000), 250);
}
END_TEST

START_TEST(open__refuses_a_fraction_out_of_range)
{
    const double fractions[] = {-0.1, 1, 1.5, NAN, INFINITY, -INFINITY};
    struct data_split *split = NULL;
    char text[256];

    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(data_split_open(SEED, fractions[i], COUNT, &split), ERR_CONFIG);
        err_text(text, sizeof(text));
        ck_assert_ptr_nonnull(strstr(text, "expected 0 <= fraction < 1"));
    }
    ck_assert_ptr_null(split);
}
END_TEST

START_TEST(open__refuses_a_split_of_which_one_part_is_empty)
{
    struct data_split *split = NULL;
    char text[256];

    ck_assert_int_eq(data_split_open(SEED, 0.999999999, 10, &split), ERR_CONFIG);
    err_text(text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "leaves none of the 10 samples to train on"));
    ck_assert_int_eq(data_split_open(SEED, 1e-9, 10, &split), ERR_CONFIG);
    err_text(text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "leaves none of the 10 samples to validate on"));
    ck_assert_ptr_null(split);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_split");
    TCase *tcase = tcase_create("data_split");

    tcase_add_test(tcase, open__lists_every_sample_once_in_ascending_order);
    tcase_add_test(tcase, open__matches_known_answers);
    tcase_add_test(tcase, open__holds_nothing_out_when_the_fraction_is_0);
    tcase_add_test(tcase, open__keeps_the_decisions_of_a_smaller_set);
    tcase_add_test(tcase, holds_out__keeps_holding_out_when_the_fraction_grows);
    tcase_add_test(tcase, holds_out__depends_on_the_seed);
    tcase_add_test(tcase, open__refuses_a_fraction_out_of_range);
    tcase_add_test(tcase, open__refuses_a_split_of_which_one_part_is_empty);
    suite_add_tcase(suite, tcase);
    return suite;
}
