/* Unit tests of launch/snapshot_interval.h: formulas, and the pace over simulated steps. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "launch/snapshot_interval.h"
#include "tests/support/test_suite.h"

START_TEST(steps__are_the_fewest_within_the_budget)
{
    struct snapshot_costs costs = {
        .step_s = 0.5, .excess_s = 0.2, .stall_s = 0.01, .busy_steps = 2};

    ck_assert_int_eq(snapshot_interval_steps(&costs, 4), 10); /* 0.2 of 10 x 0.5 */
    ck_assert_int_eq(snapshot_interval_steps(&costs, 3.9), 11);
    ck_assert_int_eq(snapshot_interval_steps(&costs, 100), 3); /* one step more than it takes */
    costs.busy_steps = 20;
    ck_assert_int_eq(snapshot_interval_steps(&costs, 4), 21);
    costs = (struct snapshot_costs){.step_s = 0.5, .busy_steps = 1};
    ck_assert_int_eq(snapshot_interval_steps(&costs, 4), 2);
    costs.excess_s = 1e30;
    ck_assert_int_eq(snapshot_interval_steps(&costs, 0.01), 1000000000);
}
END_TEST

START_TEST(cost__is_not_less_than_the_stall)
{
    const struct snapshot_costs noisy = {1, -0.3, 0.05, 1};
    const struct snapshot_costs slow = {1, 0.3, 0.05, 1};

    ck_assert_double_eq(snapshot_cost_s(&noisy), 0.05);
    ck_assert_double_eq(snapshot_cost_s(&slow), 0.3);
}
END_TEST

/* The share of time that is lost at an interval: snapshots, and on average half of one at a failure. */
static double loss(double interval_s, double cost_s, double mtbf_s)
{
    /* Daly's model without the time of a restart: M e^0 (e^((t + C) / M) - 1) / t. */
    return mtbf_s / interval_s * expm1((interval_s + cost_s) / mtbf_s);
}

START_TEST(daly__loses_the_least)
{
    static const struct {
        double cost_s, mtbf_s;
    } cases[] = {{1, 86400}, {60, 86400}, {300, 3600}, {20, 600}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const double cost = cases[i].cost_s, mtbf = cases[i].mtbf_s;
        const double daly = snapshot_daly_s(cost, mtbf), young = snapshot_young_s(cost, mtbf);
        ck_assert_double_eq_tol(young * young, 2 * cost * mtbf, 1e-6 * cost * mtbf);
        ck_assert_double_lt(loss(daly, cost, mtbf), loss(0.95 * daly, cost, mtbf));
        ck_assert_double_lt(loss(daly, cost, mtbf), loss(1.05 * daly, cost, mtbf));
        ck_assert_double_le(loss(daly, cost, mtbf), loss(young, cost, mtbf) + 1e-12);
    }
    ck_assert_double_eq(snapshot_daly_s(500, 250), 250);
    ck_assert_double_eq(snapshot_daly_s(900, 250), 250);
}
END_TEST

/* A machine whose snapshots take `busy` steps and make them longer by excess_s in all. */
struct machine {
    double step_s, excess_s, stall_s;
    int busy;
    /* the state */
    int left; /* steps until the snapshot is through */
    double stalled_s;
    unsigned noise; /* 0: none */
};

static double run_step(struct machine *machine)
{
    double step_s = machine->step_s;

    if (machine->left > 0) {
        step_s += machine->excess_s / machine->busy;
        machine->stalled_s += machine->left == machine->busy ? machine->stall_s : 0;
        machine->left--;
    }
    if (machine->noise != 0) { /* up to 5 % to either side, and now and then a hiccup */
        machine->noise = machine->noise * 1664525u + 1013904223u;
        step_s *= 0.95 + 0.1 * (double)(machine->noise >> 16) / 65535;
        step_s *= (machine->noise >> 16) % 50 == 0 ? 5 : 1;
    }
    return step_s;
}

/* So many steps of a stage at that budget. Returns how many snapshots were due. */
static int run_steps(struct snapshot_pace *pace, struct machine *machine, int64_t stage, int steps,
                     double percent)
{
    int due = 0;

    for (int i = 0; i < steps; i++) {
        const double step_s = run_step(machine);
        snapshot_pace_step(pace, stage, step_s, machine->stalled_s, machine->left > 0);
        if (snapshot_pace_reviews(pace)) {
            snapshot_pace_set(pace, snapshot_pace_wish(pace, percent));
        }
        if (snapshot_pace_is_due(pace, machine->stalled_s)) {
            due++;
            machine->left = machine->left > 0 ? machine->left : machine->busy;
        }
    }
    return due;
}

START_TEST(pace__finds_the_interval_that_the_budget_allows)
{
    static const struct {
        struct machine machine;
        double percent;
        int64_t expected;
    } cases[] = {
        {{.step_s = 0.5, .excess_s = 0.2, .busy = 2}, 4, 10},
        {{.step_s = 0.5, .excess_s = 0.5, .busy = 3}, 1, 100},
        {{.step_s = 0.5, .excess_s = 0.001, .busy = 1}, 3.5, 2},
        {{.step_s = 0.5, .excess_s = 0, .stall_s = 0.04, .busy = 1}, 2, 4},
        {{.step_s = 0.001, .excess_s = 0.0001, .busy = 12}, 3.5, 13}, /* longer than the probe */
        {{.step_s = 0.5, .excess_s = 0.25, .busy = 70}, 3.5, 71},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct snapshot_pace pace;
        struct machine machine = cases[i].machine;
        snapshot_pace_init(&pace, 0);
        run_steps(&pace, &machine, 0, 1500, cases[i].percent);
        ck_assert_msg(pace.interval >= cases[i].expected &&
                          2 * pace.interval <= 3 * cases[i].expected,
                      "case %zu: %d, expected %d", i, (int)pace.interval, (int)cases[i].expected);
        const int due = run_steps(&pace, &machine, 0, 2000, cases[i].percent);
        const double overhead = 100 * due * cases[i].machine.excess_s / (2000 * machine.step_s);
        ck_assert_double_le(overhead, cases[i].percent);
    }
}
END_TEST

/* Steps vary by a tenth, and one in fifty takes five times as long. */
START_TEST(pace__stays_near_the_budget_on_a_noisy_machine)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct snapshot_pace pace;
        struct machine machine = {.step_s = 1, .excess_s = 0.5, .busy = 1, .noise = seed};
        snapshot_pace_init(&pace, 0);
        run_steps(&pace, &machine, 0, 500, 5);
        const int due = run_steps(&pace, &machine, 0, 2000, 5);
        ck_assert_int_ge(due, 2000 / 16);
        ck_assert_int_le(due, 2000 / 9);
    }
}
END_TEST

START_TEST(pace__begins_anew_in_another_stage)
{
    struct snapshot_pace pace;
    struct machine slow = {.step_s = 1, .excess_s = 1, .busy = 1};
    struct machine fast = {.step_s = 1, .excess_s = 0, .busy = 1};

    snapshot_pace_init(&pace, 0);
    run_steps(&pace, &slow, 0, 500, 1);
    ck_assert_int_eq(pace.interval, 100);
    run_steps(&pace, &fast, 1, 1, 1);
    ck_assert_int_eq(pace.interval, SNAPSHOT_PROBE_STEPS);
    run_steps(&pace, &fast, 1, 500, 1);
    ck_assert_int_eq(pace.interval, 2);
}
END_TEST

/* Ranks measure different things, and review and take snapshots at the same steps. */
START_TEST(pace__is_the_same_on_ranks_that_set_the_same)
{
    struct snapshot_pace paces[2];
    struct machine machines[2] = {{.step_s = 1, .excess_s = 0.3, .busy = 2, .noise = 1},
                                  {.step_s = 2, .excess_s = 5, .busy = 5, .noise = 2}};
    int reviews = 0, due_count = 0;

    for (int r = 0; r < 2; r++) {
        snapshot_pace_init(&paces[r], 0);
    }
    for (int i = 0; i < 3000; i++) {
        const int64_t stage = i / 1000;
        bool due[2];
        for (int r = 0; r < 2; r++) {
            const double step_s = run_step(&machines[r]);
            snapshot_pace_step(&paces[r], stage, step_s, 0, machines[r].left > 0);
        }
        ck_assert_int_eq(snapshot_pace_reviews(&paces[0]), snapshot_pace_reviews(&paces[1]));
        if (snapshot_pace_reviews(&paces[0])) {
            const int64_t interval = snapshot_pace_wish(&paces[0], 3.5);
            snapshot_pace_set(&paces[0], interval);
            snapshot_pace_set(&paces[1], interval);
            reviews++;
        }
        for (int r = 0; r < 2; r++) {
            due[r] = snapshot_pace_is_due(&paces[r], 0);
            machines[r].left =
                due[r] && machines[r].left == 0 ? machines[r].busy : machines[r].left;
        }
        ck_assert_int_eq(due[0], due[1]);
        due_count += due[0];
    }
    ck_assert_int_gt(reviews, 10);
    ck_assert_int_gt(due_count, 3000 / 20);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snapshot_interval");
    TCase *tcase = tcase_create("snapshot_interval");

    tcase_add_test(tcase, steps__are_the_fewest_within_the_budget);
    tcase_add_test(tcase, cost__is_not_less_than_the_stall);
    tcase_add_test(tcase, daly__loses_the_least);
    tcase_add_test(tcase, pace__finds_the_interval_that_the_budget_allows);
    tcase_add_test(tcase, pace__stays_near_the_budget_on_a_noisy_machine);
    tcase_add_test(tcase, pace__begins_anew_in_another_stage);
    tcase_add_test(tcase, pace__is_the_same_on_ranks_that_set_the_same);
    suite_add_tcase(suite, tcase);
    return suite;
}
