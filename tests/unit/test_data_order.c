/* Unit tests of data/data_order.c. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_order.h"
#include "tests/support/test_suite.h"

enum { SET_COUNT = 60000 };

static void is_bijection(uint64_t seed, uint64_t epoch, uint64_t count)
{
    struct data_order order;
    uint8_t *is_seen = calloc(count, 1);

    data_order_init(&order, seed, epoch, count);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t number = data_order_at(&order, i);
        ck_assert_uint_lt(number, count);
        ck_assert_msg(is_seen[number] == 0, "count %d: %d comes twice", (int)count, (int)number);
        is_seen[number] = 1;
    }
    free(is_seen);
}

START_TEST(at__is_one_to_one_for_every_count)
{
    for (uint64_t count = 1; count <= 300; count++) {
        is_bijection(1, 0, count);
        is_bijection(2, 7, count);
    }
    is_bijection(1, 0, SET_COUNT);
    is_bijection(1, 1, 65536);
    is_bijection(1, 1, 65537);
}
END_TEST

/* Computed by a second program, written from the header alone. */
START_TEST(at__matches_known_answers)
{
    static const uint64_t expected[] = {7, 4, 9, 5, 0, 1, 2, 8, 6, 3};
    static const uint64_t expected_of_set[] = {59794, 43691, 58485, 44253, 35645, 697};
    struct data_order order;

    data_order_init(&order, 42, 3, 10);
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(data_order_at(&order, i), expected[i]);
    }
    data_order_init(&order, UINT64_MAX, UINT64_MAX, SET_COUNT);
    for (uint64_t i = 0; i < 6; i++) {
        ck_assert_uint_eq(data_order_at(&order, 10000 * i), expected_of_set[i]);
    }
    data_order_init(&order, 42, 3, UINT64_C(1) << 62);
    ck_assert_uint_eq(data_order_at(&order, (UINT64_C(1) << 62) - 1),
                      UINT64_C(1195022401134204130));
}
END_TEST

/* The places where two orders agree; 1 on average if they have nothing to do with each other. */
static int agreements(const struct data_order *a, const struct data_order *b)
{
    int count = 0;

    for (uint64_t i = 0; i < a->count; i++) {
        count += data_order_at(a, i) == data_order_at(b, i);
    }
    return count;
}

START_TEST(at__differs_between_epochs_and_seeds)
{
    struct data_order orders[4];

    data_order_init(&orders[0], 1, 0, SET_COUNT);
    data_order_init(&orders[1], 1, 1, SET_COUNT);
    data_order_init(&orders[2], 2, 0, SET_COUNT);
    data_order_init(&orders[3], 0, 1, SET_COUNT);
    for (int a = 0; a < 4; a++) {
        for (int b = 0; b < a; b++) {
            ck_assert_int_le(agreements(&orders[a], &orders[b]), 8);
        }
    }
}
END_TEST

START_TEST(at__moves_a_sample_by_a_third_of_the_set_on_average)
{
    for (uint64_t epoch = 0; epoch < 10; epoch++) {
        struct data_order order;
        double moved = 0;
        data_order_init(&order, 9, epoch, SET_COUNT);
        for (uint64_t i = 0; i < SET_COUNT; i++) {
            moved += fabs((double)data_order_at(&order, i) - (double)i);
        }
        /* Standard error sqrt(2 / 45 * n) = 51, of 20000. */
        ck_assert_double_lt(fabs(moved / SET_COUNT - SET_COUNT / 3.0), 5 * 51.7);
    }
}
END_TEST

START_TEST(at__has_as_many_fixed_points_and_neighbours_as_chance)
{
    int fixed = 0;
    int neighbours = 0;

    for (uint64_t epoch = 0; epoch < 1000; epoch++) {
        struct data_order order;
        data_order_init(&order, 5, epoch, 100);
        uint64_t before = data_order_at(&order, 0);
        fixed += before == 0;
        for (uint64_t i = 1; i < 100; i++) {
            const uint64_t number = data_order_at(&order, i);
            fixed += number == i;
            neighbours += number == before + 1;
            before = number;
        }
    }
    /* Both are Poisson with mean 1 an epoch (0.99 for the neighbours): 1000 +- 5 * 32. */
    ck_assert_int_lt(abs(fixed - 1000), 160);
    ck_assert_int_lt(abs(neighbours - 990), 160);
}
END_TEST

START_TEST(at__gives_every_order_of_five_equally_often)
{
    enum { EPOCHS = 24000, ORDERS = 120, CODES = 5 * 5 * 5 * 5 };
    static int counts[CODES];
    double chi_square = 0;
    int different = 0;

    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        struct data_order order;
        uint64_t code = 0;
        data_order_init(&order, 11, epoch, 5);
        for (uint64_t i = 0; i < 4; i++) { /* the fifth follows from these */
            code = 5 * code + data_order_at(&order, i);
        }
        counts[code]++;
    }
    for (int i = 0; i < CODES; i++) {
        const double excess = counts[i] - (double)EPOCHS / ORDERS;
        different += counts[i] > 0;
        chi_square += counts[i] > 0 ? excess * excess / ((double)EPOCHS / ORDERS) : 0;
    }
    ck_assert_int_eq(different, ORDERS);
    ck_assert_double_lt(chi_square, 119 + 5 * sqrt(2 * 119)); /* 119 degrees of freedom */
}
END_TEST

START_TEST(at__gives_every_sample_every_place_equally_often)
{
    enum { EPOCHS = 20000, COUNT = 20 };
    static int counts[COUNT][COUNT];
    double chi_square = 0;

    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        struct data_order order;
        data_order_init(&order, 13, epoch, COUNT);
        for (uint64_t i = 0; i < COUNT; i++) {
            counts[i][data_order_at(&order, i)]++;
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            const double excess = counts[i][j] - (double)EPOCHS / COUNT;
            chi_square += excess * excess / ((double)EPOCHS / COUNT);
        }
    }
    /* 19^2 degrees of freedom; the terms are 20 / 19 too large by the two fixed margins. */
    ck_assert_double_lt(chi_square, 380 + 5 * sqrt(2 * 380.0));
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_order");
    TCase *tcase = tcase_create("data_order");

    tcase_add_test(tcase, at__is_one_to_one_for_every_count);
    tcase_add_test(tcase, at__matches_known_answers);
    tcase_add_test(tcase, at__differs_between_epochs_and_seeds);
    tcase_add_test(tcase, at__moves_a_sample_by_a_third_of_the_set_on_average);
    tcase_add_test(tcase, at__has_as_many_fixed_points_and_neighbours_as_chance);
    tcase_add_test(tcase, at__gives_every_order_of_five_equally_often);
    tcase_add_test(tcase, at__gives_every_sample_every_place_equally_often);
    suite_add_tcase(suite, tcase);
    return suite;
}
