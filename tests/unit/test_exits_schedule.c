/* Unit tests of exits/exits_schedule.c: published numbers. */
#include <check.h>

#include "exits/exits_schedule.h"
#include "tests/support/test_suite.h"

static const double TOLERANCE = 1e-6;

static struct exits_schedule schedule_of(enum exits_weigh weigh, int layer_count)
{
    struct exits_schedule schedule = {.weigh = weigh,
                                      .G = layer_count - 1,
                                      .layer_count = layer_count,
                                      .scale_share = 1,
                                      .ramp_steps = 100,
                                      .rotation = 1};

    for (int g = 0; g < schedule.G; g++) {
        schedule.layers[g] = g;
    }
    return schedule;
}

static void check_weights(const struct exits_schedule *schedule, struct exits_moment at,
                          const double expected[])
{
    float weights[MODEL_LAYERS_MAX + 1];

    exits_schedule_weights(schedule, at, weights);
    for (int g = 0; g <= schedule->G; g++) {
        ck_assert_double_eq_tol((double)weights[g], expected[g], TOLERANCE);
    }
}

/* Of 4 layers, the first three with an exit: the paper's, and those of torchtune's recipes. */
START_TEST(scale__gives_the_published_weights)
{
    static const struct {
        enum exits_scale scale;
        double share;
        double expected[4];
    } rows[] = {
        {EXITS_SCALE_PAPER, .2, {0, .0454545455, .1363636364, .8181818182}},
        {EXITS_SCALE_UNIFORM, 1, {.25, .25, .25, .25}},
        {EXITS_SCALE_LINEAR, .5, {.0714285714, .1428571429, .2142857143, .5714285714}},
        {EXITS_SCALE_SUM, 1, {.05, .15, .3, .5}},
        {EXITS_SCALE_SQRT, 1, {.1627004534, .2300931879, .2818054518, .3254009069}},
        {EXITS_SCALE_INVERSE, 1, {.48, .24, .16, .12}},
        {EXITS_SCALE_INVERSE_SQRT, 1, {.3591364427, .2539478140, .2073475219, .1795682214}},
    };
    struct exits_schedule schedule = schedule_of(EXITS_WEIGH_SCALE, 4);

    schedule.scale = rows[_i].scale;
    schedule.scale_share = rows[_i].share;
    check_weights(&schedule, (struct exits_moment){0, 10}, rows[_i].expected);
}
END_TEST

/* An exit behind layer 2 alone: e of that layer, and of the last. */
START_TEST(scale__counts_layers_not_exits)
{
    const double expected[] = {2.0 / 6, 4.0 / 6};
    struct exits_schedule schedule = schedule_of(EXITS_WEIGH_SCALE, 4);

    schedule.G = 1;
    schedule.layers[0] = 1;
    schedule.scale = EXITS_SCALE_LINEAR;
    check_weights(&schedule, (struct exits_moment){0, 10}, expected);
}
END_TEST

START_TEST(gradual__turns_exits_on_from_the_last_to_the_first)
{
    static const int first_on[] = {50, 44, 38, 32, 25, 19, 13};
    struct exits_schedule schedule = schedule_of(EXITS_WEIGH_SCALE, 8);

    schedule.curriculum = EXITS_CURRICULUM_GRADUAL;
    for (int g = 0; g < schedule.G; g++) {
        for (int64_t step = 0; step < 100; step++) {
            ck_assert(exits_curriculum_has(&schedule, g, (struct exits_moment){step, 100}) ==
                      (step >= first_on[g]));
        }
    }
    ck_assert(exits_curriculum_has(&schedule, schedule.G, (struct exits_moment){0, 100}));
}
END_TEST

START_TEST(rotational__has_each_exit_once_in_a_round_and_the_end_always)
{
    struct exits_schedule schedule = schedule_of(EXITS_WEIGH_SCALE, 7);

    schedule.curriculum = EXITS_CURRICULUM_ROTATIONAL;
    schedule.scale = EXITS_SCALE_UNIFORM;
    schedule.rotation = 3;
    for (int64_t step = 0; step < 9; step++) {
        float weights[7];
        exits_schedule_weights(&schedule, (struct exits_moment){step, 9}, weights);
        for (int g = 0; g < 6; g++) { /* two of six, and the end */
            const double expected = g % 3 == step % 3 ? 1.0 / 3 : 0;
            ck_assert_double_eq_tol((double)weights[g], expected, TOLERANCE);
        }
        ck_assert_double_eq_tol((double)weights[6], 1.0 / 3, TOLERANCE);
    }
}
END_TEST

START_TEST(ramp__rises_to_its_peaks_and_stays)
{
    static const struct {
        enum exits_ramp ramp;
        int64_t step;
        double expected;
    } rows[] = {
        {EXITS_RAMP_LINEAR, 0, 0},      {EXITS_RAMP_LINEAR, 25, .0625},
        {EXITS_RAMP_COSINE, 0, 0},      {EXITS_RAMP_COSINE, 25, .0366116524},
        {EXITS_RAMP_COSINE, 50, .125},  {EXITS_RAMP_LINEAR, 100, .25},
        {EXITS_RAMP_COSINE, 1000, .25}, {EXITS_RAMP_CONSTANT, 0, .25},
    };
    struct exits_schedule schedule = schedule_of(EXITS_WEIGH_WARM, 3);
    const double expected[] = {rows[_i].expected, 2 * rows[_i].expected, 1};

    schedule.peaks[0] = .25f;
    schedule.peaks[1] = .5f;
    schedule.ramp = rows[_i].ramp;
    check_weights(&schedule, (struct exits_moment){rows[_i].step, 2000}, expected);
}
END_TEST

/* The step stands for the epoch: 50 of 100. */
START_TEST(shallow_deep__follows_the_part_of_the_stage)
{
    const double expected[] = {.085, .16, .235, 1};
    struct exits_schedule schedule = schedule_of(EXITS_WEIGH_RAMP, 4);

    for (int g = 0; g < 3; g++) {
        schedule.peaks[g] = .15f * (float)(g + 1);
    }
    check_weights(&schedule, (struct exits_moment){50, 100}, expected);
    check_weights(&schedule, (struct exits_moment){3000, 6000}, expected);
}
END_TEST

START_TEST(depths__are_of_all_exits_with_the_end)
{
    static const struct {
        enum exits_weigh weigh;
        double expected[4];
    } rows[] = {{EXITS_WEIGH_LINEAR, {.1, .2, .3, .4}},
                {EXITS_WEIGH_DEPTH, {.05, .1, .15, .2}},
                {EXITS_WEIGH_DESCENDING, {4, 3, 2, 1}}};
    const struct exits_schedule schedule = schedule_of(rows[_i].weigh, 4);

    check_weights(&schedule, (struct exits_moment){7, 10}, rows[_i].expected);
}
END_TEST

START_TEST(alternate__is_the_end_alone_in_even_steps_and_all_exits_in_odd_ones)
{
    const double even[] = {0, 0, 1}, odd[] = {1, 1, 1};
    const struct exits_schedule schedule = schedule_of(EXITS_WEIGH_ALTERNATE, 3);

    check_weights(&schedule, (struct exits_moment){6, 10}, even);
    check_weights(&schedule, (struct exits_moment){7, 10}, odd);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_schedule");
    TCase *tcase = tcase_create("exits_schedule");

    tcase_add_loop_test(tcase, scale__gives_the_published_weights, 0, 7);
    tcase_add_test(tcase, scale__counts_layers_not_exits);
    tcase_add_test(tcase, gradual__turns_exits_on_from_the_last_to_the_first);
    tcase_add_test(tcase, rotational__has_each_exit_once_in_a_round_and_the_end_always);
    tcase_add_loop_test(tcase, ramp__rises_to_its_peaks_and_stays, 0, 8);
    tcase_add_test(tcase, shallow_deep__follows_the_part_of_the_stage);
    tcase_add_loop_test(tcase, depths__are_of_all_exits_with_the_end, 0, 3);
    tcase_add_test(tcase, alternate__is_the_end_alone_in_even_steps_and_all_exits_in_odd_ones);
    suite_add_tcase(suite, tcase);
    return suite;
}
