/*
 * Unit tests of data/data_pack.c, and of data/data_stream.c on texts: on a set whose tokens
 * tell their sample, with lengths that come from a seed.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/rng.h"
#include "data/data_order.h"
#include "data/data_pack.h"
#include "data/data_stream.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { SAMPLES = 200, LONGEST = 37, PAD = 99, BATCH = 48, MICRO = 4 };

static struct data_set *set;
static uint32_t all_samples[SAMPLES];

static void make_set(void)
{
    int64_t lengths[SAMPLES];
    int64_t sum = 0;

    for (uint32_t i = 0; i < SAMPLES; i++) {
        const uint64_t word = rng_u64(5, RNG_ORDER, i, 0);
        lengths[i] = 1 + (int64_t)(word % (i % 5 == 0 ? LONGEST : 9));
        sum += lengths[i];
        all_samples[i] = i;
    }
    EXPECT_OK(data_set_open_blank_text(SAMPLES, sum, 7, &set));
    for (int64_t i = 0; i < SAMPLES; i++) {
        set->offsets[i + 1] = set->offsets[i] + lengths[i];
        set->labels[i] = (int32_t)(i % 7);
        set->tokens_max = lengths[i] > set->tokens_max ? lengths[i] : set->tokens_max;
        for (int64_t j = 0; j < lengths[i]; j++) {
            set->tokens[set->offsets[i] + j] = (int32_t)(1000 * i + j);
        }
    }
    set->pad_id = PAD;
}

static void free_set(void)
{
    data_set_close(set);
}

static struct data_stream_options options_of(int rank, int rank_count)
{
    return (struct data_stream_options){.set = set,
                                        .samples = all_samples,
                                        .sample_count = SAMPLES,
                                        .seed = 8,
                                        .batch_samples = BATCH,
                                        .micro_samples = MICRO,
                                        .rank = rank,
                                        .rank_count = rank_count};
}

START_TEST(sort__is_stable_and_ascending)
{
    const uint32_t given[] = {7, 3, 190, 3, 12, 55, 54, 53, 9};
    uint32_t sorted[SAMPLES];
    int seen[SAMPLES] = {0};

    data_pack_sort(set, NULL, SAMPLES, sorted);
    for (int i = 0; i < SAMPLES; i++) {
        seen[sorted[i]]++;
        if (i > 0) {
            const int64_t before = data_set_length(set, sorted[i - 1]);
            const int64_t length = data_set_length(set, sorted[i]);
            ck_assert(before < length || (before == length && sorted[i - 1] < sorted[i]));
        }
    }
    for (int i = 0; i < SAMPLES; i++) {
        ck_assert_int_eq(seen[i], 1);
    }
    data_pack_sort(set, given, 9, sorted);
    for (int i = 0; i < 9; i++) { /* by insertion, which is stable */
        int place = 0;
        for (int j = 0; j < 9; j++) {
            const int64_t a = data_set_length(set, given[j]), b = data_set_length(set, given[i]);
            place += a < b || (a == b && j < i);
        }
        ck_assert_uint_eq(sorted[place], given[i]);
    }
}
END_TEST

START_TEST(sort__leaves_images_as_they_are)
{
    const struct data_set_shape shape = {
        .count = 5, .channels = 1, .height = 1, .width = 1, .class_count = 2};
    const uint32_t given[] = {3, 0, 4};
    uint32_t sorted[5] = {0};
    struct data_set *images = NULL;

    EXPECT_OK(data_set_open_blank(&shape, &images));
    data_pack_sort(images, given, 3, sorted);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(sorted[i], given[i]);
    }
    data_pack_sort(images, NULL, 5, sorted);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(sorted[i], i);
    }
    data_set_close(images);
}
END_TEST

START_TEST(place__is_a_permutation_that_deals_short_and_long_ones_evenly)
{
    const int64_t of_eight[] = {0, 4, 6, 2, 3, 7, 5, 1}; /* where each one stands: the header */

    for (int64_t count = 1; count <= 65; count++) {
        bool is_taken[65] = {false};
        for (int64_t i = 0; i < count; i++) {
            const int64_t place = data_pack_place(i, count);
            ck_assert(place >= 0 && place < count && !is_taken[place]);
            is_taken[place] = true;
        }
    }
    for (int64_t i = 0; i < 8; i++) {
        ck_assert_int_eq(data_pack_place(i, 8), of_eight[i]);
    }
    for (int64_t ranks = 2; ranks <= 32; ranks *= 2) { /* with lengths 0, 1, 2, ... */
        int64_t sums[32] = {0};
        for (int64_t i = 0; i < 64; i++) {
            sums[data_pack_place(i, 64) / (64 / ranks)] += i;
        }
        for (int64_t rank = 0; rank < ranks; rank++) {
            ck_assert_int_eq(sums[rank] * ranks, 64 * 63 / 2);
        }
    }
}
END_TEST

START_TEST(rows__are_filled_up_with_the_pad_id)
{
    const uint32_t samples[] = {5, 0, 17};
    int32_t tokens[3 * 40];
    int32_t lengths[3];

    data_pack_rows(set, samples, 3, 40, tokens, lengths);
    for (int64_t i = 0; i < 3; i++) {
        ck_assert_int_eq(lengths[i], data_set_length(set, samples[i]));
        for (int64_t j = 0; j < 40; j++) {
            ck_assert_int_eq(tokens[40 * i + j],
                             j < lengths[i] ? 1000 * (int32_t)samples[i] + j : PAD);
        }
    }
    ck_assert_int_eq(data_pack_longest((const int32_t[]){3, 9, 4}, 3), 9);
    ck_assert_int_eq(data_pack_longest(NULL, 0), 0);
}
END_TEST

/* The batch of a step as a set, whatever its order. */
START_TEST(part__has_the_samples_of_the_order_sorted_into_micro_batches)
{
    const struct data_stream_options options = options_of(0, 1);
    uint32_t drawn[BATCH];
    uint32_t sorted[BATCH];
    uint32_t found[BATCH];

    for (int64_t step = 0; step < 9; step++) {
        struct data_order order;
        uint64_t epoch = 0;
        data_order_init(&order, 8, (uint64_t)step / (SAMPLES / BATCH), SAMPLES);
        for (int64_t i = 0; i < BATCH; i++) {
            const int64_t at = step % (SAMPLES / BATCH) * BATCH + i;
            drawn[i] = all_samples[data_order_at(&order, (uint64_t)at)];
        }
        data_pack_sort(set, drawn, BATCH, sorted);
        data_stream_part(&options, step, found, &epoch);
        ck_assert_uint_eq(epoch, (uint64_t)step / (SAMPLES / BATCH));
        for (int64_t m = 0; m < BATCH / MICRO; m++) {
            const int64_t place = data_pack_place(m, BATCH / MICRO);
            ck_assert_mem_eq(found + place * MICRO, sorted + m * MICRO, MICRO * sizeof(*found));
        }
        for (int64_t i = 0; i < BATCH; i++) {
            ck_assert_uint_eq(data_stream_sample(&options, step, i, &epoch), found[i]);
        }
    }
}
END_TEST

START_TEST(part__makes_the_same_batch_of_1_2_3_4_6_and_12_ranks)
{
    const int rank_counts[] = {1, 2, 3, 4, 6, 12};
    uint32_t alone[BATCH];

    for (int64_t step = 0; step < 9; step++) {
        for (int k = 0; k < 6; k++) {
            uint32_t joined[BATCH];
            const int part = BATCH / rank_counts[k];
            uint64_t epoch = 0;
            for (int rank = 0; rank < rank_counts[k]; rank++) {
                const struct data_stream_options options = options_of(rank, rank_counts[k]);
                data_stream_part(&options, step, joined + rank * part, &epoch);
            }
            if (k == 0) {
                memcpy(alone, joined, sizeof(alone));
            }
            ck_assert_mem_eq(joined, alone, sizeof(alone));
        }
    }
}
END_TEST

START_TEST(next__gives_tokens_lengths_and_labels)
{
    const struct data_stream_options options = options_of(1, 3);
    struct data_stream *stream = NULL;

    EXPECT_OK(data_stream_open(&options, 5, &stream));
    for (int64_t step = 5; step < 12; step++) {
        struct data_batch batch;
        uint32_t samples[BATCH / 3];
        uint64_t epoch = 0;
        EXPECT_OK(data_stream_next(stream, &batch));
        data_stream_part(&options, step, samples, &epoch);
        ck_assert_int_eq(batch.step, step);
        ck_assert_int_eq(batch.count, BATCH / 3);
        ck_assert_int_eq(batch.token_stride, set->tokens_max);
        ck_assert_ptr_null(batch.images);
        ck_assert_mem_eq(batch.samples, samples, sizeof(samples));
        for (int64_t i = 0; i < batch.count; i++) {
            const int32_t *row = batch.tokens + i * batch.token_stride;
            ck_assert_int_eq(batch.labels[i], (int32_t)(samples[i] % 7));
            ck_assert_int_eq(batch.lengths[i], data_set_length(set, samples[i]));
            for (int64_t j = 0; j < batch.token_stride; j++) {
                ck_assert_int_eq(row[j],
                                 j < batch.lengths[i] ? 1000 * (int32_t)samples[i] + j : PAD);
            }
        }
    }
    data_stream_close(stream);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_pack");
    TCase *tests = tcase_create("all");

    tcase_add_checked_fixture(tests, make_set, free_set);
    tcase_add_test(tests, sort__is_stable_and_ascending);
    tcase_add_test(tests, sort__leaves_images_as_they_are);
    tcase_add_test(tests, place__is_a_permutation_that_deals_short_and_long_ones_evenly);
    tcase_add_test(tests, rows__are_filled_up_with_the_pad_id);
    tcase_add_test(tests, part__has_the_samples_of_the_order_sorted_into_micro_batches);
    tcase_add_test(tests, part__makes_the_same_batch_of_1_2_3_4_6_and_12_ranks);
    tcase_add_test(tests, next__gives_tokens_lengths_and_labels);
    suite_add_tcase(suite, tests);
    return suite;
}
