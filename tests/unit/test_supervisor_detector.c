/* Unit tests of launch/supervisor/supervisor_detector.h: silences of whole runs, as they may be seen. */
#include <check.h>

#include "launch/supervisor/supervisor_detector.h"
#include "tests/support/test_suite.h"

enum { STAGE_0 = DETECTOR_STAGE, STAGE_1 = DETECTOR_STAGE + 1 };

static struct detector_limits limits = {
    .floor_ms = {1000, 1500, 500, 2000, 2500},
    .first_ms = {60000, 70000, 10000, 30000, 40000},
    .most_ms = 500000,
};

static struct detector detector;
static int64_t now_ms;
static uint64_t mark; /* signs so far */

static bool look(int kind, uint64_t signs, int64_t at_ms)
{
    return detector_observe(&detector, &(struct detector_look){.kind = kind, .signs = signs},
                            at_ms);
}

/* `count` signs of progress in phases of that kind, so far apart; whether it was thought to hang. */
static bool signs(int kind, int count, int64_t apart_ms)
{
    bool hangs = false;

    for (int i = 0; i < count; i++) {
        for (int64_t ms = 0; ms < apart_ms; ms += 20) { /* looked at meanwhile */
            hangs = look(detector.last.kind, mark, now_ms + ms) || hangs;
        }
        now_ms += apart_ms;
        hangs = look(kind, ++mark, now_ms) || hangs;
    }
    return hangs;
}

/* How long a silence from now on is let pass. */
static int64_t patience_ms(void)
{
    const bool hangs = detector.hangs;
    int64_t ms = 0;

    while (!look(detector.last.kind, mark, now_ms + ms)) {
        ms++;
    }
    detector.hangs = hangs; /* it was only asked */
    return ms;
}

static void start(void)
{
    mark = 0;
    detector_start(&detector, 1, now_ms);
}

static void begin(void)
{
    for (int kind = DETECTOR_STAGE; kind < DETECTOR_KINDS; kind++) {
        limits.floor_ms[kind] = 3000;
        limits.first_ms[kind] = 50000;
    }
    detector_init(&detector, &limits);
    now_ms = 1000000;
    start();
}

START_TEST(observe__allows_the_first_of_a_kind_what_is_set)
{
    begin();
    ck_assert_int_eq(patience_ms(), 60001);
    signs(DETECTOR_START, 1, 700);
    ck_assert_int_eq(patience_ms(), 70001);
    signs(STAGE_0, 1, 700);
    ck_assert_int_eq(patience_ms(), 50001);
    signs(DETECTOR_STEP, 1, 700);
    ck_assert_int_eq(patience_ms(), 10001);
    signs(DETECTOR_SAVE, 1, 10);
    ck_assert_int_eq(patience_ms(), 30001);
    signs(DETECTOR_EVALUATE, 1, 10);
    ck_assert_int_eq(patience_ms(), 40001);
}
END_TEST

/* Ranks give many signs while they join; then one of them reads data for long, as it has not before. */
START_TEST(observe__knows_a_kind_only_when_a_job_has_got_through_it)
{
    begin();
    signs(DETECTOR_START, 100, 10);
    ck_assert_int_eq(patience_ms(), 70001);
    ck_assert(!signs(DETECTOR_START, 1, 20000));
    ck_assert(!signs(STAGE_0, 1, 10));
    start(); /* lost in the stage's opening: that is not known */
    signs(DETECTOR_START, 1, 10);
    ck_assert_int_eq(patience_ms(), 60001); /* the longest, however many shorter ones there were */
    signs(STAGE_0, 1, 10);
    ck_assert_int_eq(patience_ms(), 50001);
}
END_TEST

/* The next stage computes features for a minute; started again in it, the job does so again. */
START_TEST(observe__learns_each_stage_apart)
{
    begin();
    signs(DETECTOR_START, 1, 100);
    signs(STAGE_0, 1, 100);
    ck_assert(!signs(DETECTOR_STEP, 100, 100));
    ck_assert(!signs(STAGE_1, 1, 100));
    ck_assert(!signs(DETECTOR_STEP, 1, 45000));
    signs(STAGE_0, 1, 100);
    ck_assert_int_eq(patience_ms(), 3001);
    signs(STAGE_1, 1, 100);
    ck_assert_int_eq(patience_ms(), 135001);
    signs(STAGE_1 + 1, 1, 100);
    ck_assert_int_eq(patience_ms(), 50001);
}
END_TEST

START_TEST(observe__allows_three_times_the_p99_of_what_it_saw)
{
    begin();
    signs(DETECTOR_STEP, 1, 2000);
    ck_assert(!signs(DETECTOR_STEP, 200, 400));
    ck_assert_int_ge(patience_ms(), 1200);
    ck_assert_int_le(patience_ms(), 1200 * 9 / 8);
}
END_TEST

START_TEST(observe__allows_the_floor_where_steps_are_short)
{
    begin();
    signs(DETECTOR_STEP, 1, 2000);
    ck_assert(!signs(DETECTOR_STEP, 100, 5));
    ck_assert_int_eq(patience_ms(), 501);
}
END_TEST

/* One in two hundred is not what the others are measured by; one in fifty is. */
START_TEST(observe__looks_at_the_p99_and_not_at_the_longest)
{
    for (int every = 50; every <= 200; every += 150) {
        begin();
        signs(DETECTOR_STEP, 1, 2000);
        for (int i = 0; i < 8; i++) {
            signs(DETECTOR_STEP, every - 1, 200);
            ck_assert(!signs(DETECTOR_STEP, 1, 490));
        }
        if (every == 50) {
            ck_assert_int_ge(patience_ms(), 3 * 490);
        } else {
            ck_assert_int_le(patience_ms(), 3 * 200 * 9 / 8);
        }
    }
}
END_TEST

/* A start-up of 20 s, steps of 50 ms, a save of 6 s every 100 steps. */
START_TEST(observe__learns_each_kind_apart)
{
    begin();
    for (int job = 0; job < 4; job++) {
        start();
        ck_assert(!signs(DETECTOR_STEP, 1, 20000));
        for (int save = 0; save < 4; save++) {
            ck_assert(!signs(DETECTOR_STEP, 100, 50));
            ck_assert(!signs(DETECTOR_SAVE, 1, 50));
            ck_assert(!signs(DETECTOR_STEP, 1, 6000));
        }
    }
    ck_assert_int_eq(detector_deadline_ms(&detector, DETECTOR_STEP), 500);
    ck_assert_int_eq(detector_deadline_ms(&detector, DETECTOR_SAVE), 18000);
    ck_assert_int_eq(detector_deadline_ms(&detector, DETECTOR_LAUNCH), 60000);
}
END_TEST

START_TEST(observe__follows_a_stage_whose_steps_are_longer)
{
    begin();
    signs(DETECTOR_STEP, 1, 2000);
    signs(DETECTOR_STEP, 20000, 100);
    for (int64_t ms = 110; ms <= 1000; ms += ms / 10) { /* as a machine slows down */
        ck_assert(!signs(DETECTOR_STEP, 200, ms));
    }
    ck_assert_int_ge(patience_ms(), 2700);
}
END_TEST

START_TEST(observe__forgets_steps_that_were_longer)
{
    begin();
    signs(DETECTOR_STEP, 1, 2000);
    signs(DETECTOR_STEP, 1000, 400);
    signs(DETECTOR_STEP, 60000, 10);
    ck_assert_int_eq(patience_ms(), 501);
}
END_TEST

/* Two looks at 4 ranks that made 30 steps between them: enough to know steps, and none took longer. */
START_TEST(observe__counts_what_happened_between_two_looks)
{
    begin();
    detector_start(&detector, 4, now_ms);
    ck_assert(!look(DETECTOR_STEP, 4, now_ms + 100));
    ck_assert_int_eq(detector_deadline_ms(&detector, DETECTOR_STEP), 10000);
    ck_assert(!look(DETECTOR_STEP, 4 + 4 * 30, now_ms + 400));
    ck_assert_int_ge(detector_deadline_ms(&detector, DETECTOR_STEP), 900);
    ck_assert_int_le(detector_deadline_ms(&detector, DETECTOR_STEP), 900 * 9 / 8);
}
END_TEST

/* A checkpoint that a rank says will take 100 s; the next sign ends that. */
START_TEST(observe__lets_a_rank_be_silent_for_as_long_as_it_said)
{
    const struct detector_look saves = {.kind = DETECTOR_SAVE, .signs = 101, .quiet_ms = 100000};

    begin();
    signs(DETECTOR_STEP, 100, 100);
    ck_assert(!detector_observe(&detector, &saves, now_ms));
    mark = saves.signs;
    ck_assert_int_eq(patience_ms(), 100001);
    signs(DETECTOR_SAVE, 1, 10);
    ck_assert_int_eq(patience_ms(), 30001);
}
END_TEST

/* What takes 130 s without a sign is ended twice, and got through the third time: 30, 120, 480 s. */
START_TEST(start__is_more_patient_where_the_last_job_was_ended)
{
    bool hangs = true;
    int starts = 0;

    begin();
    while (hangs && starts < 10) {
        start();
        signs(DETECTOR_SAVE, 1, 10);
        hangs = signs(DETECTOR_SAVE, 1, 130000);
        starts++;
    }
    ck_assert_int_eq(starts, 3);
    signs(DETECTOR_STEP, 1, 10);
    signs(DETECTOR_SAVE, 1, 10);
    ck_assert_int_eq(patience_ms(), 390001); /* known now, and no more than that */
}
END_TEST

START_TEST(start__is_never_more_patient_than_is_set)
{
    begin();
    for (int i = 0; i < 40; i++) {
        ck_assert(look(DETECTOR_LAUNCH, 0, now_ms + 10000000));
        start();
    }
    ck_assert_int_eq(patience_ms(), 500001);
}
END_TEST

START_TEST(start__begins_the_silence_anew)
{
    begin();
    signs(DETECTOR_STEP, 50, 100);
    now_ms += 5000;
    start();
    ck_assert(!look(DETECTOR_START, 0, now_ms + 10));
    ck_assert_int_eq(patience_ms(), 1001);
}
END_TEST

START_TEST(observe__bears_a_clock_that_stands_and_silences_of_years)
{
    begin();
    ck_assert(!look(DETECTOR_STEP, 1, now_ms));
    ck_assert(!look(DETECTOR_STEP, 2, now_ms - 5));
    ck_assert(!look(DETECTOR_STEP, 3, INT64_MAX / 2));
    for (uint64_t i = 0; i < DETECTOR_SAMPLES_MIN; i++) {
        now_ms = INT64_MAX / 2;
        look(DETECTOR_STEP, 4 + i, now_ms);
    }
    ck_assert_int_gt(detector_deadline_ms(&detector, DETECTOR_STEP), 10000);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("supervisor_detector");
    TCase *tcase = tcase_create("supervisor_detector");

    tcase_add_test(tcase, observe__allows_the_first_of_a_kind_what_is_set);
    tcase_add_test(tcase, observe__knows_a_kind_only_when_a_job_has_got_through_it);
    tcase_add_test(tcase, observe__learns_each_stage_apart);
    tcase_add_test(tcase, observe__allows_three_times_the_p99_of_what_it_saw);
    tcase_add_test(tcase, observe__allows_the_floor_where_steps_are_short);
    tcase_add_test(tcase, observe__looks_at_the_p99_and_not_at_the_longest);
    tcase_add_test(tcase, observe__learns_each_kind_apart);
    tcase_add_test(tcase, observe__follows_a_stage_whose_steps_are_longer);
    tcase_add_test(tcase, observe__forgets_steps_that_were_longer);
    tcase_add_test(tcase, observe__counts_what_happened_between_two_looks);
    tcase_add_test(tcase, observe__lets_a_rank_be_silent_for_as_long_as_it_said);
    tcase_add_test(tcase, start__is_more_patient_where_the_last_job_was_ended);
    tcase_add_test(tcase, start__is_never_more_patient_than_is_set);
    tcase_add_test(tcase, start__begins_the_silence_anew);
    tcase_add_test(tcase, observe__bears_a_clock_that_stands_and_silences_of_years);
    suite_add_tcase(suite, tcase);
    return suite;
}
