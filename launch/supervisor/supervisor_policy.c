#include "launch/supervisor/supervisor_policy.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "launch/exit_code.h"

enum {
    HOUR_MS = 3600 * 1000,
    MORE_NODES_MS = 1000,   /* where one comes back others may follow */
    CODE_NO_PROGRAM = 127,  /* a shell's, and our child's, for a program that is not there */
    CODE_INTERRUPTED = 130, /* a shell's, after SIGINT */
};

static void add(struct supervisor_actions *actions, struct supervisor_action action)
{
    assert(actions->count < SUPERVISOR_ACTIONS_MAX);
    actions->list[actions->count++] = action;
}

static void finish(struct supervisor_state *state, struct supervisor_actions *actions, int code,
                   enum supervisor_verdict verdict)
{
    state->phase = SUPERVISOR_OVER;
    add(actions,
        (struct supervisor_action){.kind = SUPERVISOR_FINISH, .code = code, .verdict = verdict});
}

static int count_usable(const struct supervisor_state *state)
{
    int count = 0;

    for (int n = 0; n < state->limits.node_count; n++) {
        count += state->is_gone[n] ? 0 : 1;
    }
    return count;
}

/*
 * Nodes that were used keep their place, since their memory holds snapshots; then those that were
 * used before, then spares, in their order. Where memory was beyond repair whoever has none of it
 * gives way. False if fewer than nodes_min are left.
 */
static bool choose_nodes(struct supervisor_state *state)
{
    int count = 0;

    if (count_usable(state) < state->limits.nodes_min) {
        return false;
    }
    for (int n = 0; n < state->limits.node_count; n++) {
        state->is_used[n] = state->is_used[n] && !state->is_gone[n] &&
                            (!state->is_beyond_repair || state->has_kept_on[n]);
        count += state->is_used[n] ? 1 : 0;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int n = 0; n < state->limits.node_count && count < state->limits.nodes_wanted; n++) {
            if (!state->is_used[n] && !state->is_gone[n] && (pass == 1 || state->has_kept_on[n])) {
                state->is_used[n] = true;
                count++;
            }
        }
    }
    state->is_beyond_repair = false;
    return true;
}

static void wait_until(struct supervisor_state *state, struct supervisor_actions *actions,
                       int64_t until_ms, bool for_node)
{
    state->phase = SUPERVISOR_WAITING;
    state->waits_for_node = for_node;
    state->until_ms = until_ms;
    add(actions, (struct supervisor_action){.kind = SUPERVISOR_WAIT, .until_ms = until_ms});
}

static void launch(struct supervisor_state *state, struct supervisor_actions *actions,
                   int64_t now_ms)
{
    if (!choose_nodes(state)) {
        wait_until(state, actions, now_ms + state->limits.node_wait_ms, true);
        return;
    }
    state->phase = SUPERVISOR_RUNNING;
    state->incarnation++;
    state->has_kept = false;
    state->was_killed = false;
    add(actions, (struct supervisor_action){.kind = SUPERVISOR_LAUNCH});
}

static void kill_job(struct supervisor_state *state, struct supervisor_actions *actions)
{
    state->phase = SUPERVISOR_KILLING;
    state->was_killed = true;
    add(actions, (struct supervisor_action){.kind = SUPERVISOR_KILL});
}

static bool has_budget(const struct supervisor_state *state, int64_t now_ms)
{
    const int limit = state->limits.restarts_per_hour;

    if (state->restart_count < limit) {
        return true;
    }
    if (limit == 0) {
        return false;
    }
    const int oldest = (state->restart_count - limit) % SUPERVISOR_RESTARTS_MAX;
    return now_ms - state->restarts_ms[oldest] >= HOUR_MS;
}

static bool some_node_is_gone(const struct supervisor_state *state)
{
    return count_usable(state) < state->limits.node_count;
}

static int64_t backoff_ms(const struct supervisor_state *state)
{
    int64_t wait_ms = state->stalls == 0 ? 0 : state->limits.backoff_ms;

    for (int i = 1; i < state->stalls && wait_ms < state->limits.backoff_max_ms; i++) {
        wait_ms *= 2;
    }
    return wait_ms < state->limits.backoff_max_ms ? wait_ms : state->limits.backoff_max_ms;
}

/* The job is over, and is started again if anything speaks for it. */
static void restart(struct supervisor_state *state, struct supervisor_actions *actions,
                    int64_t now_ms)
{
    state->stalls = state->has_kept ? 0 : state->stalls + 1;
    if (state->stalls >= state->limits.stalls_max) {
        finish(state, actions, EXIT_DO_NOT_RESTART, SUPERVISOR_NO_PROGRESS);
        return;
    }
    if (!has_budget(state, now_ms)) {
        finish(state, actions, EXIT_DO_NOT_RESTART, SUPERVISOR_RESTARTS_USED_UP);
        return;
    }
    state->restarts_ms[state->restart_count % SUPERVISOR_RESTARTS_MAX] = now_ms;
    state->restart_count++;
    state->fences = true;
    const int64_t wait_ms = backoff_ms(state);
    if (wait_ms > 0) {
        wait_until(state, actions, now_ms + wait_ms, false);
    } else {
        launch(state, actions, now_ms);
    }
}

bool supervisor_is_final(int code)
{
    switch (code) {
    case EXIT_USAGE:
    case EXIT_DATA:
    case EXIT_NO_INPUT:
    case EXIT_IO:
    case EXIT_BEYOND_REPAIR:
    case EXIT_BAD_CONFIG:
    case EXIT_DO_NOT_RESTART:
    case CODE_NO_PROGRAM: return true;
    default: return false;
    }
}

static void job_over(struct supervisor_state *state, const struct supervisor_event *event,
                     struct supervisor_actions *actions)
{
    const bool by_itself = event->signal == 0 && !state->was_killed;

    add(actions, (struct supervisor_action){.kind = SUPERVISOR_SWEEP});
    if (event->signal == 0 &&
        event->code == EXIT_DONE) { /* killed or not, all ranks had finished */
        finish(state, actions, EXIT_DONE, SUPERVISOR_DONE);
    } else if (state->interrupts >= 2) {
        finish(state, actions, CODE_INTERRUPTED, SUPERVISOR_LEFT);
    } else if (by_itself && event->code == EXIT_BEYOND_REPAIR && some_node_is_gone(state) &&
               !state->is_asked) {
        state->is_beyond_repair = true;
        state->fences = true;
        wait_until(state, actions, event->now_ms + state->limits.node_wait_ms, true);
    } else if (by_itself && event->code == EXIT_BEYOND_REPAIR) {
        finish(state, actions, event->code, SUPERVISOR_BEYOND_REPAIR);
    } else if (by_itself && event->code == CODE_NO_PROGRAM) {
        finish(state, actions, EXIT_NO_INPUT, SUPERVISOR_FAILED);
    } else if (by_itself && supervisor_is_final(event->code)) {
        finish(state, actions, event->code, SUPERVISOR_FAILED);
    } else if (state->is_asked || (by_itself && event->code == EXIT_REQUEUE)) {
        finish(state, actions, EXIT_REQUEUE, SUPERVISOR_HALTED);
    } else {
        restart(state, actions, event->now_ms);
    }
}

static void take_signal(struct supervisor_state *state, const struct supervisor_event *event,
                        struct supervisor_actions *actions)
{
    const bool was_asked = state->is_asked;

    state->is_asked = true;
    state->interrupts += event->signal == SIGINT ? 1 : 0;
    if (state->phase == SUPERVISOR_IDLE || state->phase == SUPERVISOR_WAITING) {
        finish(state, actions, EXIT_REQUEUE, SUPERVISOR_HALTED);
    } else if (state->phase == SUPERVISOR_KILLING) {
        return; /* it leaves when the job is over */
    } else if (state->interrupts >= 2) {
        kill_job(state, actions);
    } else if (!was_asked) {
        state->phase = SUPERVISOR_HALTING;
        state->until_ms = event->now_ms + state->limits.grace_ms;
        add(actions, (struct supervisor_action){.kind = SUPERVISOR_FORWARD});
    }
}

static void take_time(struct supervisor_state *state, int64_t now_ms,
                      struct supervisor_actions *actions)
{
    if (now_ms < state->until_ms) {
        return;
    }
    if (state->phase == SUPERVISOR_HALTING) {
        kill_job(state, actions);
    } else if (state->phase == SUPERVISOR_WAITING && state->waits_for_node &&
               state->is_beyond_repair) {
        finish(state, actions, EXIT_BEYOND_REPAIR, SUPERVISOR_BEYOND_REPAIR);
    } else if (state->phase == SUPERVISOR_WAITING && state->waits_for_node) {
        finish(state, actions, EXIT_REQUEUE, SUPERVISOR_TOO_FEW_NODES);
    } else if (state->phase == SUPERVISOR_WAITING) {
        launch(state, actions, now_ms);
    }
}

/* Only of a job that runs, or of nodes that the next one may want. */
static void node_changed(struct supervisor_state *state, const struct supervisor_event *event,
                         struct supervisor_actions *actions)
{
    const bool runs = state->phase == SUPERVISOR_RUNNING || state->phase == SUPERVISOR_HALTING;

    assert(event->node >= 0 && event->node < state->limits.node_count);
    state->is_gone[event->node] = event->kind == SUPERVISOR_NODE_GONE;
    if (event->kind == SUPERVISOR_NODE_GONE && runs && state->is_used[event->node]) {
        kill_job(state, actions);
    } else if (event->kind == SUPERVISOR_NODE_BACK && state->phase == SUPERVISOR_WAITING &&
               state->waits_for_node && count_usable(state) >= state->limits.nodes_min) {
        const bool is_full = count_usable(state) >= state->limits.nodes_wanted;
        wait_until(state, actions, event->now_ms + (is_full ? 0 : MORE_NODES_MS), false);
    }
}

void supervisor_decide(struct supervisor_state *state, const struct supervisor_event *event,
                       struct supervisor_actions *actions_out)
{
    const enum supervisor_phase phase = state->phase;
    const bool has_job =
        phase == SUPERVISOR_RUNNING || phase == SUPERVISOR_HALTING || phase == SUPERVISOR_KILLING;

    *actions_out = (struct supervisor_actions){.count = 0};
    if (phase == SUPERVISOR_OVER) {
        return;
    }
    switch (event->kind) {
    case SUPERVISOR_BEGINS:
        if (phase == SUPERVISOR_IDLE) {
            add(actions_out, (struct supervisor_action){.kind = SUPERVISOR_SWEEP});
            launch(state, actions_out, event->now_ms);
        }
        return;
    case SUPERVISOR_REFUSED:
        if (phase == SUPERVISOR_IDLE) {
            finish(state, actions_out, EXIT_BAD_CONFIG, SUPERVISOR_IS_REFUSED);
        }
        return;
    case SUPERVISOR_JOB_OVER:
        if (has_job) {
            job_over(state, event, actions_out);
        }
        return;
    case SUPERVISOR_HANGS:
        if (has_job && phase != SUPERVISOR_KILLING) {
            kill_job(state, actions_out);
        }
        return;
    case SUPERVISOR_NODE_GONE:
    case SUPERVISOR_NODE_BACK: node_changed(state, event, actions_out); return;
    case SUPERVISOR_STEP_KEPT:
        if (has_job && event->step > state->kept) {
            state->kept = event->step;
            state->has_kept = true;
            memcpy(state->has_kept_on, state->is_used, sizeof(state->has_kept_on));
        }
        return;
    case SUPERVISOR_TIME: take_time(state, event->now_ms, actions_out); return;
    case SUPERVISOR_SIGNAL: take_signal(state, event, actions_out); return;
    case SUPERVISOR_EVENTS: break;
    }
    assert(!"an event of no kind");
}

void supervisor_init(struct supervisor_state *state, const struct supervisor_limits *limits,
                     uint64_t incarnation, int64_t kept)
{
    assert(limits->node_count >= 1 && limits->node_count <= SUPERVISOR_NODES_MAX);
    assert(limits->nodes_min >= 1 && limits->nodes_min <= limits->nodes_wanted);
    assert(limits->nodes_wanted <= limits->node_count);
    assert(limits->restarts_per_hour >= 0);
    assert(limits->restarts_per_hour <= SUPERVISOR_RESTARTS_MAX);
    assert(limits->stalls_max >= 1);
    memset(state, 0, sizeof(*state));
    state->limits = *limits;
    state->incarnation = incarnation;
    state->kept = kept;
}

int supervisor_nodes_used(const struct supervisor_state *state)
{
    int count = 0;

    for (int n = 0; n < state->limits.node_count; n++) {
        count += state->is_used[n] ? 1 : 0;
    }
    return count;
}

const char *supervisor_verdict_name(enum supervisor_verdict verdict)
{
    switch (verdict) {
    case SUPERVISOR_DONE: return "finished";
    case SUPERVISOR_HALTED: return "halted";
    case SUPERVISOR_LEFT: return "left";
    case SUPERVISOR_IS_REFUSED: return "refused";
    case SUPERVISOR_FAILED: return "failed";
    case SUPERVISOR_BEYOND_REPAIR: return "beyond_repair";
    case SUPERVISOR_NO_PROGRESS: return "no_progress";
    case SUPERVISOR_RESTARTS_USED_UP: return "restarts_used_up";
    case SUPERVISOR_TOO_FEW_NODES: return "too_few_nodes";
    }
    return "";
}
