/*
 * Unit tests of launch/supervisor/supervisor_policy.h: every event in every phase, every code, and
 * what takes several events to show.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "launch/supervisor/supervisor_policy.h"
#include "tests/support/test_suite.h"

static const struct supervisor_limits limits = {
    .node_count = 3,
    .nodes_wanted = 2,
    .nodes_min = 1,
    .restarts_per_hour = 4,
    .stalls_max = 3,
    .backoff_ms = 1000,
    .backoff_max_ms = 1500,
    .node_wait_ms = 60000,
    .grace_ms = 10000,
};

static struct supervisor_state state;
static struct supervisor_actions actions;

static void tell(struct supervisor_event event)
{
    supervisor_decide(&state, &event, &actions);
}

static void tell_kind(enum supervisor_event_kind kind, int64_t now_ms)
{
    tell((struct supervisor_event){.kind = kind, .now_ms = now_ms});
}

static void tell_over(int code, int signal, int64_t now_ms)
{
    tell((struct supervisor_event){
        .kind = SUPERVISOR_JOB_OVER, .now_ms = now_ms, .code = code, .signal = signal});
}

static void tell_node(enum supervisor_event_kind kind, int node, int64_t now_ms)
{
    tell((struct supervisor_event){.kind = kind, .now_ms = now_ms, .node = node});
}

static void tell_kept(int64_t step)
{
    tell((struct supervisor_event){.kind = SUPERVISOR_STEP_KEPT, .now_ms = 0, .step = step});
}

static void tell_signal(int signal, int64_t now_ms)
{
    tell((struct supervisor_event){.kind = SUPERVISOR_SIGNAL, .now_ms = now_ms, .signal = signal});
}

/* The actions in words, as in "sweep finish 93 no_progress". */
static const char *in_words(void)
{
    static const char *const names[] = {"sweep", "launch", "kill", "forward", "wait", "finish"};
    static char text[200];
    size_t used = 0;

    text[0] = '\0';
    for (int i = 0; i < actions.count; i++) {
        const struct supervisor_action *action = &actions.list[i];
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? " " : "",
                                 names[action->kind]);
        if (action->kind == SUPERVISOR_WAIT) {
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used, " %d", (int)action->until_ms);
        }
        if (action->kind == SUPERVISOR_FINISH) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, " %d %s", action->code,
                                     supervisor_verdict_name(action->verdict));
        }
    }
    return text;
}

/* A state of the phase, at 0 ms: on nodes 0 and 1, in WAITING until 1000 ms. */
static void be_in(enum supervisor_phase phase)
{
    supervisor_init(&state, &limits, 7, -1);
    if (phase == SUPERVISOR_IDLE) {
        return;
    }
    tell_kind(SUPERVISOR_BEGINS, 0);
    switch (phase) {
    case SUPERVISOR_HALTING: tell_signal(SIGTERM, 0); break;
    case SUPERVISOR_KILLING: tell_kind(SUPERVISOR_HANGS, 0); break;
    case SUPERVISOR_WAITING: tell_over(0, SIGKILL, 0); break;
    case SUPERVISOR_OVER: tell_over(0, 0, 0); break;
    case SUPERVISOR_IDLE:
    case SUPERVISOR_RUNNING:
    case SUPERVISOR_PHASES: break;
    }
    ck_assert_int_eq(state.phase, phase);
}

enum {
    IDLE = SUPERVISOR_IDLE,
    RUNNING = SUPERVISOR_RUNNING,
    HALTING = SUPERVISOR_HALTING,
    KILLING = SUPERVISOR_KILLING,
    WAITING = SUPERVISOR_WAITING,
    OVER = SUPERVISOR_OVER,
};

/* What follows at 2000 ms; the event is NODE_GONE of node 0, or SIGTERM. */
static const struct {
    int phase;
    enum supervisor_event_kind event;
    int next;
    const char *actions;
} table[] = {
    {IDLE, SUPERVISOR_BEGINS, RUNNING, "sweep launch"},
    {IDLE, SUPERVISOR_REFUSED, OVER, "finish 78 refused"},
    {IDLE, SUPERVISOR_JOB_OVER, IDLE, ""},
    {IDLE, SUPERVISOR_HANGS, IDLE, ""},
    {IDLE, SUPERVISOR_NODE_GONE, IDLE, ""},
    {IDLE, SUPERVISOR_NODE_BACK, IDLE, ""},
    {IDLE, SUPERVISOR_STEP_KEPT, IDLE, ""},
    {IDLE, SUPERVISOR_TIME, IDLE, ""},
    {IDLE, SUPERVISOR_SIGNAL, OVER, "finish 75 halted"},

    {RUNNING, SUPERVISOR_BEGINS, RUNNING, ""},
    {RUNNING, SUPERVISOR_REFUSED, RUNNING, ""},
    {RUNNING, SUPERVISOR_JOB_OVER, WAITING, "sweep wait 3000"},
    {RUNNING, SUPERVISOR_HANGS, KILLING, "kill"},
    {RUNNING, SUPERVISOR_NODE_GONE, KILLING, "kill"},
    {RUNNING, SUPERVISOR_NODE_BACK, RUNNING, ""},
    {RUNNING, SUPERVISOR_STEP_KEPT, RUNNING, ""},
    {RUNNING, SUPERVISOR_TIME, RUNNING, ""},
    {RUNNING, SUPERVISOR_SIGNAL, HALTING, "forward"},

    {HALTING, SUPERVISOR_BEGINS, HALTING, ""},
    {HALTING, SUPERVISOR_REFUSED, HALTING, ""},
    {HALTING, SUPERVISOR_JOB_OVER, OVER, "sweep finish 75 halted"},
    {HALTING, SUPERVISOR_HANGS, KILLING, "kill"},
    {HALTING, SUPERVISOR_NODE_GONE, KILLING, "kill"},
    {HALTING, SUPERVISOR_NODE_BACK, HALTING, ""},
    {HALTING, SUPERVISOR_STEP_KEPT, HALTING, ""},
    {HALTING, SUPERVISOR_TIME, HALTING, ""},
    {HALTING, SUPERVISOR_SIGNAL, HALTING, ""},

    {KILLING, SUPERVISOR_BEGINS, KILLING, ""},
    {KILLING, SUPERVISOR_REFUSED, KILLING, ""},
    {KILLING, SUPERVISOR_JOB_OVER, WAITING, "sweep wait 3000"},
    {KILLING, SUPERVISOR_HANGS, KILLING, ""},
    {KILLING, SUPERVISOR_NODE_GONE, KILLING, ""},
    {KILLING, SUPERVISOR_NODE_BACK, KILLING, ""},
    {KILLING, SUPERVISOR_STEP_KEPT, KILLING, ""},
    {KILLING, SUPERVISOR_TIME, KILLING, ""},
    {KILLING, SUPERVISOR_SIGNAL, KILLING, ""},

    {WAITING, SUPERVISOR_BEGINS, WAITING, ""},
    {WAITING, SUPERVISOR_REFUSED, WAITING, ""},
    {WAITING, SUPERVISOR_JOB_OVER, WAITING, ""},
    {WAITING, SUPERVISOR_HANGS, WAITING, ""},
    {WAITING, SUPERVISOR_NODE_GONE, WAITING, ""},
    {WAITING, SUPERVISOR_NODE_BACK, WAITING, ""},
    {WAITING, SUPERVISOR_STEP_KEPT, WAITING, ""},
    {WAITING, SUPERVISOR_TIME, RUNNING, "launch"},
    {WAITING, SUPERVISOR_SIGNAL, OVER, "finish 75 halted"},

    {OVER, SUPERVISOR_BEGINS, OVER, ""},
    {OVER, SUPERVISOR_REFUSED, OVER, ""},
    {OVER, SUPERVISOR_JOB_OVER, OVER, ""},
    {OVER, SUPERVISOR_HANGS, OVER, ""},
    {OVER, SUPERVISOR_NODE_GONE, OVER, ""},
    {OVER, SUPERVISOR_NODE_BACK, OVER, ""},
    {OVER, SUPERVISOR_STEP_KEPT, OVER, ""},
    {OVER, SUPERVISOR_TIME, OVER, ""},
    {OVER, SUPERVISOR_SIGNAL, OVER, ""},
};

START_TEST(decide__does_what_the_table_says_of_every_event_in_every_phase)
{
    bool is_there[SUPERVISOR_PHASES][SUPERVISOR_EVENTS] = {{false}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        be_in((enum supervisor_phase)table[i].phase);
        tell((struct supervisor_event){
            .kind = table[i].event,
            .now_ms = 2000,
            .code = 70,
            .signal = table[i].event == SUPERVISOR_SIGNAL ? SIGTERM : 0,
            .step = 5,
        });
        ck_assert_msg(
            (int)state.phase == table[i].next && strcmp(in_words(), table[i].actions) == 0,
            "phase %d, event %d: phase %d, '%s'; expected %d, '%s'", table[i].phase,
            (int)table[i].event, (int)state.phase, in_words(), table[i].next, table[i].actions);
        ck_assert(!is_there[table[i].phase][table[i].event]);
        is_there[table[i].phase][table[i].event] = true;
    }
    ck_assert_uint_eq(sizeof(table) / sizeof(table[0]),
                      (size_t)SUPERVISOR_PHASES * SUPERVISOR_EVENTS);
}
END_TEST

static const struct {
    int code, signal;
    const char *fresh; /* of a job that kept a step */
    const char *halting;
    const char *killed; /* at a hang */
} ends[] = {
    {0, 0, "sweep finish 0 finished", "sweep finish 0 finished", "sweep finish 0 finished"},
    {1, 0, "sweep launch", "sweep finish 75 halted", "sweep launch"},
    {2, 0, "sweep finish 2 failed", "sweep finish 2 failed", "sweep launch"},
    {65, 0, "sweep finish 65 failed", "sweep finish 65 failed", "sweep launch"},
    {66, 0, "sweep finish 66 failed", "sweep finish 66 failed", "sweep launch"},
    {70, 0, "sweep launch", "sweep finish 75 halted", "sweep launch"},
    {71, 0, "sweep launch", "sweep finish 75 halted", "sweep launch"},
    {74, 0, "sweep finish 74 failed", "sweep finish 74 failed", "sweep launch"},
    {75, 0, "sweep finish 75 halted", "sweep finish 75 halted", "sweep launch"},
    {76, 0, "sweep finish 76 beyond_repair", "sweep finish 76 beyond_repair", "sweep launch"},
    {78, 0, "sweep finish 78 failed", "sweep finish 78 failed", "sweep launch"},
    {93, 0, "sweep finish 93 failed", "sweep finish 93 failed", "sweep launch"},
    {127, 0, "sweep finish 66 failed", "sweep finish 66 failed", "sweep launch"},
    {205, 0, "sweep launch", "sweep finish 75 halted", "sweep launch"},
    {0, SIGKILL, "sweep launch", "sweep finish 75 halted", "sweep launch"},
    {0, SIGSEGV, "sweep launch", "sweep finish 75 halted", "sweep launch"},
};

START_TEST(job_over__is_started_again_or_not_by_its_code)
{
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        be_in(SUPERVISOR_RUNNING);
        tell_kept(5);
        tell_over(ends[i].code, ends[i].signal, 100);
        ck_assert_str_eq(in_words(), ends[i].fresh);
        be_in(SUPERVISOR_HALTING);
        tell_over(ends[i].code, ends[i].signal, 100);
        ck_assert_str_eq(in_words(), ends[i].halting);
        be_in(SUPERVISOR_RUNNING);
        tell_kept(5);
        tell_kind(SUPERVISOR_HANGS, 50);
        tell_over(ends[i].code, ends[i].signal, 100);
        ck_assert_str_eq(in_words(), ends[i].killed);
    }
}
END_TEST

START_TEST(launch__raises_the_incarnation_and_fences_but_for_the_first)
{
    be_in(SUPERVISOR_RUNNING);
    ck_assert_uint_eq(state.incarnation, 8);
    ck_assert(!state.fences);
    for (uint64_t i = 1; i <= 3; i++) {
        tell_kept((int64_t)i);
        tell_over(0, SIGKILL, 100);
        ck_assert_uint_eq(state.incarnation, 8 + i);
        ck_assert(state.fences);
    }
}
END_TEST

START_TEST(restart__waits_longer_and_gives_up_when_no_new_step_is_kept)
{
    be_in(SUPERVISOR_RUNNING);
    tell_kept(5);
    tell_over(70, 0, 100);
    ck_assert_str_eq(in_words(), "sweep launch");
    tell_kept(5); /* not a new one */
    tell_over(70, 0, 200);
    ck_assert_str_eq(in_words(), "sweep wait 1200");
    tell_kind(SUPERVISOR_TIME, 1199);
    ck_assert_str_eq(in_words(), "");
    tell_kind(SUPERVISOR_TIME, 1200);
    ck_assert_str_eq(in_words(), "launch");
    tell_kept(4);
    tell_over(0, SIGSEGV, 2000);
    ck_assert_str_eq(in_words(), "sweep wait 3500"); /* 1500 at most */
    tell_kind(SUPERVISOR_TIME, 9000);
    tell_over(0, SIGSEGV, 9001);
    ck_assert_str_eq(in_words(), "sweep finish 93 no_progress");
}
END_TEST

START_TEST(restart__counts_again_from_a_step_that_was_kept)
{
    be_in(SUPERVISOR_RUNNING);
    for (int i = 0; i < 2; i++) {
        tell_over(70, 0, 0);
        tell_kind(SUPERVISOR_TIME, 5000);
    }
    ck_assert_int_eq(state.stalls, 2);
    tell_kept(1);
    tell_over(70, 0, 6000);
    ck_assert_str_eq(in_words(), "sweep launch");
    ck_assert_int_eq(state.stalls, 0);
}
END_TEST

START_TEST(restart__gives_up_when_the_restarts_of_an_hour_are_used_up)
{
    const int hour_ms = 3600 * 1000;

    be_in(SUPERVISOR_RUNNING);
    for (int i = 0; i < limits.restarts_per_hour; i++) {
        tell_kept(i);
        tell_over(0, SIGKILL, 1000 * i);
        ck_assert_str_eq(in_words(), "sweep launch");
    }
    struct supervisor_state full = state;
    tell_kept(100);
    tell_over(0, SIGKILL, hour_ms - 1);
    ck_assert_str_eq(in_words(), "sweep finish 93 restarts_used_up");
    state = full; /* the first of them is an hour ago */
    tell_kept(100);
    tell_over(0, SIGKILL, hour_ms);
    ck_assert_str_eq(in_words(), "sweep launch");
    tell_kept(101); /* the second is not */
    tell_over(0, SIGKILL, hour_ms + 999);
    ck_assert_str_eq(in_words(), "sweep finish 93 restarts_used_up");
}
END_TEST

START_TEST(restart__may_be_forbidden)
{
    struct supervisor_limits none = limits;

    none.restarts_per_hour = 0;
    supervisor_init(&state, &none, 0, -1);
    tell_kind(SUPERVISOR_BEGINS, 0);
    tell_kept(1);
    tell_over(0, SIGKILL, 10);
    ck_assert_str_eq(in_words(), "sweep finish 93 restarts_used_up");
}
END_TEST

START_TEST(restart__remembers_an_hour_however_many_there_were)
{
    struct supervisor_limits many = limits;
    const int limit = SUPERVISOR_RESTARTS_MAX;

    many.restarts_per_hour = limit;
    supervisor_init(&state, &many, 0, -1);
    tell_kind(SUPERVISOR_BEGINS, 0);
    for (int i = 0; i < 3 * limit; i++) { /* one every 3.6 s: the limit to the millisecond */
        tell_kept(i);
        tell_over(0, SIGKILL, 3600 * (int64_t)i);
        ck_assert_str_eq(in_words(), "sweep launch");
    }
    tell_kept(3 * limit);
    tell_over(0, SIGKILL, 3600 * (int64_t)(3 * limit) - 1);
    ck_assert_str_eq(in_words(), "sweep finish 93 restarts_used_up");
}
END_TEST

START_TEST(nodes__a_spare_takes_the_place_of_a_lost_one_then_the_job_shrinks)
{
    be_in(SUPERVISOR_RUNNING);
    ck_assert(state.is_used[0] && state.is_used[1] && !state.is_used[2]);
    tell_kept(1);
    tell_node(SUPERVISOR_NODE_GONE, 0, 10);
    tell_over(205, 0, 20);
    ck_assert_str_eq(in_words(), "sweep launch");
    ck_assert(!state.is_used[0] && state.is_used[1] && state.is_used[2]);
    tell_kept(2);
    tell_node(SUPERVISOR_NODE_GONE, 1, 30);
    tell_over(205, 0, 40);
    ck_assert_str_eq(in_words(), "sweep launch");
    ck_assert_int_eq(supervisor_nodes_used(&state), 1);
    ck_assert(state.is_used[2]);
    tell_node(SUPERVISOR_NODE_BACK, 0, 50); /* used from the next start on */
    ck_assert_str_eq(in_words(), "");
    tell_kept(3);
    tell_over(0, SIGKILL, 60);
    ck_assert(state.is_used[0] && !state.is_used[1] && state.is_used[2]);
}
END_TEST

START_TEST(nodes__a_spare_that_is_lost_does_not_disturb_the_job)
{
    be_in(SUPERVISOR_RUNNING);
    tell_node(SUPERVISOR_NODE_GONE, 2, 10);
    ck_assert_str_eq(in_words(), "");
    ck_assert_int_eq(state.phase, SUPERVISOR_RUNNING);
}
END_TEST

START_TEST(nodes__are_waited_for_where_too_few_are_left)
{
    be_in(SUPERVISOR_RUNNING);
    tell_kept(1);
    for (int n = 0; n < 3; n++) {
        tell_node(SUPERVISOR_NODE_GONE, n, 10);
    }
    tell_over(205, 0, 100);
    ck_assert_str_eq(in_words(), "sweep wait 60100");
    struct supervisor_state waits = state;
    tell_node(SUPERVISOR_NODE_BACK, 1, 200);
    ck_assert_str_eq(in_words(), "wait 1200"); /* for more */
    struct supervisor_state has_one = state;
    tell_node(SUPERVISOR_NODE_BACK, 2, 300);
    tell_kind(SUPERVISOR_TIME, 1200);
    ck_assert(!state.is_used[0] && state.is_used[1] && state.is_used[2]);
    state = has_one;
    tell_kind(SUPERVISOR_TIME, 1199);
    ck_assert_str_eq(in_words(), "");
    tell_kind(SUPERVISOR_TIME, 1200);
    ck_assert_str_eq(in_words(), "launch");
    ck_assert(!state.is_used[0] && state.is_used[1] && !state.is_used[2]);
    state = waits;
    tell_kind(SUPERVISOR_TIME, 60099);
    ck_assert_str_eq(in_words(), "");
    tell_kind(SUPERVISOR_TIME, 60100);
    ck_assert_str_eq(in_words(), "finish 75 too_few_nodes");
}
END_TEST

START_TEST(beyond_repair__waits_for_a_node_that_may_have_the_memory)
{
    be_in(SUPERVISOR_RUNNING);
    tell_kept(1); /* on nodes 0 and 1 */
    tell_node(SUPERVISOR_NODE_GONE, 0, 10);
    tell_over(205, 0, 20);
    ck_assert(!state.is_used[0] && state.is_used[1] && state.is_used[2]);
    tell_over(76, 0, 100);
    ck_assert_str_eq(in_words(), "sweep wait 60100");
    struct supervisor_state waits = state;
    tell_node(SUPERVISOR_NODE_BACK, 0, 200); /* the spare, which has nothing, gives way */
    ck_assert_str_eq(in_words(), "wait 200");
    tell_kind(SUPERVISOR_TIME, 200);
    ck_assert_str_eq(in_words(), "launch");
    ck_assert(state.is_used[0] && state.is_used[1] && !state.is_used[2]);
    tell_over(76, 0, 300); /* all nodes are there, and it is not enough */
    ck_assert_str_eq(in_words(), "sweep finish 76 beyond_repair");
    state = waits;
    tell_kind(SUPERVISOR_TIME, 60100);
    ck_assert_str_eq(in_words(), "finish 76 beyond_repair");
    state = waits;
    tell_signal(SIGTERM, 200);
    ck_assert_str_eq(in_words(), "finish 75 halted");
}
END_TEST

START_TEST(nodes__that_were_used_are_taken_before_spares)
{
    struct supervisor_limits many = limits;

    many.node_count = 5;
    many.nodes_wanted = 3;
    supervisor_init(&state, &many, 0, -1);
    for (int n = 0; n < 3; n++) {
        tell_node(SUPERVISOR_NODE_GONE, n, 0);
    }
    tell_kind(SUPERVISOR_BEGINS, 0);
    tell_kept(1); /* on nodes 3 and 4: 3 are wanted, 2 are there */
    tell_node(SUPERVISOR_NODE_GONE, 3, 10);
    tell_node(SUPERVISOR_NODE_BACK, 0, 20);
    tell_node(SUPERVISOR_NODE_BACK, 1, 20);
    tell_node(SUPERVISOR_NODE_BACK, 2, 20);
    tell_node(SUPERVISOR_NODE_BACK, 3, 30);
    tell_over(205, 0, 40);
    ck_assert(state.is_used[3] && state.is_used[4]);
    ck_assert(state.is_used[0] && !state.is_used[1] && !state.is_used[2]);
}
END_TEST

START_TEST(signal__is_forwarded_once_and_a_job_that_does_not_end_is_killed)
{
    be_in(SUPERVISOR_RUNNING);
    tell_signal(SIGUSR1, 100);
    ck_assert_str_eq(in_words(), "forward");
    tell_signal(SIGTERM, 200);
    ck_assert_str_eq(in_words(), "");
    tell_kind(SUPERVISOR_TIME, 10099);
    ck_assert_str_eq(in_words(), "");
    tell_kind(SUPERVISOR_TIME, 10100);
    ck_assert_str_eq(in_words(), "kill");
    tell_over(0, SIGKILL, 10200);
    ck_assert_str_eq(in_words(), "sweep finish 75 halted");
}
END_TEST

START_TEST(signal__a_second_interrupt_leaves_at_once)
{
    be_in(SUPERVISOR_RUNNING);
    tell_signal(SIGINT, 100);
    ck_assert_str_eq(in_words(), "forward");
    tell_signal(SIGINT, 200);
    ck_assert_str_eq(in_words(), "kill");
    tell_over(0, SIGKILL, 300);
    ck_assert_str_eq(in_words(), "sweep finish 130 left");
}
END_TEST

START_TEST(signal__while_a_hung_job_is_killed_ends_the_run)
{
    be_in(SUPERVISOR_KILLING);
    tell_signal(SIGTERM, 100);
    ck_assert_str_eq(in_words(), "");
    tell_over(0, SIGKILL, 300);
    ck_assert_str_eq(in_words(), "sweep finish 75 halted");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("supervisor_policy");
    TCase *tcase = tcase_create("supervisor_policy");

    tcase_add_test(tcase, decide__does_what_the_table_says_of_every_event_in_every_phase);
    tcase_add_test(tcase, job_over__is_started_again_or_not_by_its_code);
    tcase_add_test(tcase, launch__raises_the_incarnation_and_fences_but_for_the_first);
    tcase_add_test(tcase, restart__waits_longer_and_gives_up_when_no_new_step_is_kept);
    tcase_add_test(tcase, restart__counts_again_from_a_step_that_was_kept);
    tcase_add_test(tcase, restart__gives_up_when_the_restarts_of_an_hour_are_used_up);
    tcase_add_test(tcase, restart__may_be_forbidden);
    tcase_add_test(tcase, restart__remembers_an_hour_however_many_there_were);
    tcase_add_test(tcase, nodes__a_spare_takes_the_place_of_a_lost_one_then_the_job_shrinks);
    tcase_add_test(tcase, nodes__a_spare_that_is_lost_does_not_disturb_the_job);
    tcase_add_test(tcase, nodes__are_waited_for_where_too_few_are_left);
    tcase_add_test(tcase, nodes__that_were_used_are_taken_before_spares);
    tcase_add_test(tcase, beyond_repair__waits_for_a_node_that_may_have_the_memory);
    tcase_add_test(tcase, signal__is_forwarded_once_and_a_job_that_does_not_end_is_killed);
    tcase_add_test(tcase, signal__a_second_interrupt_leaves_at_once);
    tcase_add_test(tcase, signal__while_a_hung_job_is_killed_ends_the_run);
    suite_add_tcase(suite, tcase);
    return suite;
}
