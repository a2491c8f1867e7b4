/*
 * Unit tests of data/data_stream.c, on a set whose images and labels tell their number.
 *
 * 103 samples in batches of 24 make epochs of 4 batches and leave 7 samples out of each.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "data/data_order.h"
#include "data/data_stream.h"
#include "tests/support/test_suite.h"

enum { SET_SAMPLES = 206, SAMPLES = 103, SIDE = 4, PIXELS = SIDE * SIDE };
enum { BATCH = 24, MICRO = 3, EPOCH_BATCHES = SAMPLES / BATCH };

static struct data_set *set;
static struct data_augment augment;
static uint32_t odd_samples[SAMPLES];

static void make_set(void)
{
    const struct data_set_shape shape = {
        .count = SET_SAMPLES, .channels = 1, .height = SIDE, .width = SIDE, .class_count = 7};
    const struct data_augment_options options = {.seed = 3, .pad_pixels = 1, .flips = true};
    const struct data_normal normal = {.mean = {0.4}, .deviation = {0.3}};

    ck_assert_int_eq(data_set_open_blank(&shape, &set), ERR_OK);
    for (int i = 0; i < SET_SAMPLES; i++) {
        set->labels[i] = i % 7;
        for (int j = 0; j < PIXELS; j++) {
            set->images[i * PIXELS + j] = (uint8_t)(i + j);
        }
    }
    for (uint32_t i = 0; i < SAMPLES; i++) {
        odd_samples[i] = 2 * i + 1;
    }
    ck_assert_int_eq(data_augment_init(&augment, &options, &normal, 1), ERR_OK);
}

static void free_set(void)
{
    data_set_close(set);
}

static struct data_stream_options options_of(int rank, int rank_count)
{
    return (struct data_stream_options){.set = set,
                                        .augment = &augment,
                                        .samples = odd_samples,
                                        .sample_count = SAMPLES,
                                        .seed = 8,
                                        .batch_samples = BATCH,
                                        .micro_samples = MICRO,
                                        .rank = rank,
                                        .rank_count = rank_count};
}

static struct data_stream *open_stream(const struct data_stream_options *options, int64_t step)
{
    struct data_stream *stream = NULL;

    ck_assert_int_eq(data_stream_open(options, step, &stream), ERR_OK);
    return stream;
}

START_TEST(sample__follows_the_order_of_the_epoch)
{
    const struct data_stream_options options = options_of(0, 1);
    struct data_order order;

    ck_assert_int_eq(data_stream_epoch_batches(&options), EPOCH_BATCHES);
    data_order_init(&order, 8, 2, SAMPLES);
    for (int64_t batch = 0; batch < EPOCH_BATCHES; batch++) {
        for (int64_t i = 0; i < BATCH; i++) {
            uint64_t epoch = 99;
            const uint32_t sample =
                data_stream_sample(&options, 2 * EPOCH_BATCHES + batch, i, &epoch);
            ck_assert_uint_eq(epoch, 2);
            ck_assert_uint_eq(sample,
                              odd_samples[data_order_at(&order, (uint64_t)(batch * BATCH + i))]);
        }
    }
}
END_TEST

START_TEST(sample__visits_every_kept_sample_once_an_epoch_and_all_in_the_end)
{
    const struct data_stream_options options = options_of(0, 1);
    int visits_ever[SET_SAMPLES] = {0};

    for (int64_t e = 0; e < 12; e++) {
        int visits[SET_SAMPLES] = {0};
        for (int64_t i = 0; i < EPOCH_BATCHES * BATCH; i++) {
            uint64_t epoch = 0;
            const uint32_t sample =
                data_stream_sample(&options, e * EPOCH_BATCHES + i / BATCH, i % BATCH, &epoch);
            ck_assert_uint_eq(epoch, (uint64_t)e);
            visits[sample]++;
            visits_ever[sample]++;
        }
        int visited = 0;
        for (int i = 0; i < SET_SAMPLES; i++) {
            ck_assert_int_le(visits[i], i % 2);
            visited += visits[i];
        }
        ck_assert_int_eq(visited, EPOCH_BATCHES * BATCH);
    }
    for (int i = 1; i < SET_SAMPLES; i += 2) {
        ck_assert_int_gt(visits_ever[i], 0);
    }
}
END_TEST

START_TEST(part__makes_the_same_batch_of_1_2_4_and_8_ranks)
{
    const int rank_counts[] = {1, 2, 4, 8};

    for (int64_t step = 0; step < 3 * EPOCH_BATCHES; step++) {
        for (int k = 0; k < 4; k++) {
            uint32_t joined[BATCH];
            const int part = BATCH / rank_counts[k];
            for (int rank = 0; rank < rank_counts[k]; rank++) {
                const struct data_stream_options options = options_of(rank, rank_counts[k]);
                uint64_t epoch = 99;
                data_stream_part(&options, step, joined + rank * part, &epoch);
                ck_assert_uint_eq(epoch, (uint64_t)(step / EPOCH_BATCHES));
            }
            const struct data_stream_options alone = options_of(0, 1);
            for (int i = 0; i < BATCH; i++) {
                uint64_t epoch = 99;
                ck_assert_uint_eq(joined[i], data_stream_sample(&alone, step, i, &epoch));
            }
        }
    }
}
END_TEST

START_TEST(next__gives_every_rank_its_samples_rendered)
{
    for (int rank = 0; rank < 4; rank++) {
        const struct data_stream_options options = options_of(rank, 4);
        struct data_stream *stream = open_stream(&options, 0);
        for (int64_t step = 0; step < 2 * EPOCH_BATCHES + 1; step++) {
            struct data_batch batch;
            uint32_t samples[BATCH / 4];
            uint64_t epoch = 0;
            ck_assert_int_eq(data_stream_next(stream, &batch), ERR_OK);
            data_stream_part(&options, step, samples, &epoch);
            ck_assert_int_eq(batch.step, step);
            ck_assert_uint_eq(batch.epoch, epoch);
            ck_assert_int_eq(batch.count, BATCH / 4);
            ck_assert_mem_eq(batch.samples, samples, sizeof(samples));
            for (int i = 0; i < BATCH / 4; i++) {
                float image[PIXELS];
                ck_assert_int_eq(batch.labels[i], (int32_t)samples[i] % 7);
                data_render(&augment, set, samples[i], epoch, image);
                ck_assert_mem_eq(batch.images + i * PIXELS, image, sizeof(image));
            }
        }
        data_stream_close(stream);
    }
}
END_TEST

START_TEST(next__gives_the_same_batches_when_it_starts_at_any_step)
{
    enum { STEPS = 3 * EPOCH_BATCHES };
    static float images[STEPS][BATCH * PIXELS];
    const struct data_stream_options options = options_of(0, 1);
    struct data_stream *stream = open_stream(&options, 0);
    struct data_batch batch;

    for (int step = 0; step < STEPS; step++) {
        ck_assert_int_eq(data_stream_next(stream, &batch), ERR_OK);
        memcpy(images[step], batch.images, sizeof(images[step]));
    }
    data_stream_close(stream);
    for (int first = 0; first < STEPS; first++) {
        stream = open_stream(&options, first);
        for (int step = first; step < STEPS; step++) {
            ck_assert_int_eq(data_stream_next(stream, &batch), ERR_OK);
            ck_assert_int_eq(batch.step, step);
            ck_assert_mem_eq(batch.images, images[step], sizeof(images[step]));
        }
        data_stream_close(stream);
    }
}
END_TEST

START_TEST(next__leaves_a_batch_alone_until_the_next_call)
{
    const struct data_stream_options options = options_of(0, 1);
    struct data_stream *stream = open_stream(&options, 0);
    struct data_batch batch;
    float before[BATCH * PIXELS];

    for (int step = 0; step < 5; step++) {
        ck_assert_int_eq(data_stream_next(stream, &batch), ERR_OK);
        memcpy(before, batch.images, sizeof(before));
        clock_nap_us(20000); /* the thread has long filled what it may fill */
        ck_assert_mem_eq(batch.images, before, sizeof(before));
    }
    data_stream_close(stream);
}
END_TEST

START_TEST(next__says_so_when_a_batch_is_late_and_gives_it_later)
{
    enum { LARGE_SIDE = 2048, LARGE_BATCH = 4, STEPS_MAX = 100 };
    const struct data_set_shape shape = {
        .count = 1, .channels = 1, .height = LARGE_SIDE, .width = LARGE_SIDE, .class_count = 1};
    const uint32_t one_sample[LARGE_BATCH] = {0};
    struct data_set *large = NULL;
    struct data_batch batch;
    char text[256];
    char expected[64];
    int64_t step = 0;

    /* 2^24 pixels take longer than the millisecond a call may take. */
    ck_assert_int_eq(data_set_open_blank(&shape, &large), ERR_OK);
    struct data_stream_options options = options_of(0, 1);
    options.set = large;
    options.samples = one_sample;
    options.sample_count = options.batch_samples = LARGE_BATCH;
    options.micro_samples = 1;
    options.timeout_ms = 1;
    struct data_stream *stream = open_stream(&options, 0);
    enum err status = data_stream_next(stream, &batch);
    /* This thread may have been asleep while a batch was rendered: it cannot be every time. */
    while (status == ERR_OK && step < STEPS_MAX) {
        step++;
        status = data_stream_next(stream, &batch);
    }
    ck_assert_int_eq(status, ERR_TIMEOUT);
    err_text(text, sizeof(text));
    snprintf(expected, sizeof(expected), "the batch of step %d was not ready in 1 ms", (int)step);
    ck_assert_str_eq(text, expected);
    while (status == ERR_TIMEOUT) {
        status = data_stream_next(stream, &batch);
    }
    ck_assert_int_eq(status, ERR_OK);
    ck_assert_int_eq(batch.step, step);
    data_stream_close(stream);
    data_set_close(large);
}
END_TEST

START_TEST(close__works_at_any_moment)
{
    const struct data_stream_options options = options_of(0, 1);
    struct data_batch batch;

    data_stream_close(NULL);
    for (int taken = 0; taken < 50; taken++) {
        struct data_stream *stream = open_stream(&options, 0);
        for (int i = 0; i < taken % 4; i++) {
            ck_assert_int_eq(data_stream_next(stream, &batch), ERR_OK);
        }
        data_stream_close(stream);
    }
}
END_TEST

static void refuses(const struct data_stream_options *options, int64_t first_step,
                    enum err expected, const char *part)
{
    struct data_stream *stream = NULL;
    char text[512];

    ck_assert_int_eq(data_stream_open(options, first_step, &stream), expected);
    ck_assert_ptr_null(stream);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" lacks \"%s\"", text, part);
}

/* The message about a batch of `batch` in micro-batches of `micro` on `rank_count` ranks. */
static void refuses_sizes(int64_t batch, int64_t micro, int rank_count, const char *part)
{
    struct data_stream_options options = options_of(0, rank_count);

    options.batch_samples = batch;
    options.micro_samples = micro;
    refuses(&options, 0, ERR_CONFIG, part);
}

START_TEST(check__names_numbers_that_would_do_when_the_sizes_do_not_go_together)
{
    refuses_sizes(8, 2, 3,
                  "3 ranks cannot share a train_batch_size of 8 in micro-batches of 2 "
                  "(per_device_train_batch_size): use 1, 2 or 4 ranks, or a batch of 6 or 12");
    refuses_sizes(4, 2, 8, "use 1 or 2 ranks, or a batch of 16");
    refuses_sizes(5, 5, 2, "use 1 ranks, or a batch of 10");
    refuses_sizes(48, 1, 5, "use 3, 4, 6 or 8 ranks, or a batch of 45 or 50");
    refuses_sizes(10, 4, 1,
                  "a train_batch_size of 10 is no multiple of the per_device_train_batch_size of "
                  "4: use a train_batch_size of 8 or 12");
    refuses_sizes(3, 4, 1, "use a train_batch_size of 4");
    refuses_sizes(0, 1, 1, "train_batch_size is 0");
    refuses_sizes(8, 0, 1, "per_device_train_batch_size 0");
    refuses_sizes(-8, -2, 1, "train_batch_size is -8");
    refuses_sizes(104, 1, 1, "a train_batch_size of 104 from 103 training samples");
}
END_TEST

START_TEST(open__refuses_ranks_steps_and_samples_out_of_range)
{
    struct data_stream_options options = options_of(0, 1);

    refuses(&options, -1, ERR_INVALID, "first step -1");
    refuses(&options, INT64_MAX, ERR_INVALID, "expected 0 to 2^32 epochs");
    options.rank = 1;
    refuses(&options, 0, ERR_INVALID, "rank 1 of 1 ranks");
    options.rank = 0;
    options.rank_count = 0;
    refuses(&options, 0, ERR_INVALID, "rank 0 of 0 ranks");
    options.rank_count = 1;
    odd_samples[50] = SET_SAMPLES;
    refuses(&options, 0, ERR_CONFIG, "sample 206 is to be trained on, expected 0 to 205");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_stream");
    TCase *tcase = tcase_create("data_stream");

    tcase_add_checked_fixture(tcase, make_set, free_set);
    tcase_add_test(tcase, sample__follows_the_order_of_the_epoch);
    tcase_add_test(tcase, sample__visits_every_kept_sample_once_an_epoch_and_all_in_the_end);
    tcase_add_test(tcase, part__makes_the_same_batch_of_1_2_4_and_8_ranks);
    tcase_add_test(tcase, next__gives_every_rank_its_samples_rendered);
    tcase_add_test(tcase, next__gives_the_same_batches_when_it_starts_at_any_step);
    tcase_add_test(tcase, next__leaves_a_batch_alone_until_the_next_call);
    tcase_add_test(tcase, next__says_so_when_a_batch_is_late_and_gives_it_later);
    tcase_add_test(tcase, close__works_at_any_moment);
    tcase_add_test(tcase, check__names_numbers_that_would_do_when_the_sizes_do_not_go_together);
    tcase_add_test(tcase, open__refuses_ranks_steps_and_samples_out_of_range);
    suite_add_tcase(suite, tcase);
    return suite;
}
