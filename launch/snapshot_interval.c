#include "launch/snapshot_interval.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double INTERVAL_MAX = 1e9; /* as in options.def */

double snapshot_cost_s(const struct snapshot_costs *costs)
{
    return fmax(costs->excess_s, costs->stall_s);
}

int64_t snapshot_interval_steps(const struct snapshot_costs *costs, double overhead_percent)
{
    assert(costs->step_s > 0);
    assert(overhead_percent > 0);
    const double budget_s = costs->step_s * overhead_percent / 100; /* a step's share */
    const double least = fmax(ceil(costs->busy_steps), 1) + 1;

    return (int64_t)fmin(fmax(ceil(snapshot_cost_s(costs) / budget_s), least), INTERVAL_MAX);
}

double snapshot_young_s(double cost_s, double mtbf_s)
{
    return sqrt(2 * cost_s * mtbf_s);
}

double snapshot_daly_s(double cost_s, double mtbf_s)
{
    const double ratio = cost_s / (2 * mtbf_s);

    if (ratio >= 1) {
        return mtbf_s;
    }
    return snapshot_young_s(cost_s, mtbf_s) * (1 + sqrt(ratio) / 3 + ratio / 9) - cost_s;
}

static void add_sample(struct snapshot_samples *samples, double value)
{
    samples->values[samples->next] = value;
    samples->next = (samples->next + 1) % SNAPSHOT_SAMPLES_MAX;
    samples->count += samples->count < SNAPSHOT_SAMPLES_MAX;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One slow step, such as the first, or one with a checkpoint beside it, says nothing of the others. */
static double median_of(const struct snapshot_samples *samples)
{
    double sorted[SNAPSHOT_SAMPLES_MAX];

    assert(samples->count > 0);
    memcpy(sorted, samples->values, sizeof(sorted));
    qsort(sorted, (size_t)samples->count, sizeof(sorted[0]), ascending);
    return sorted[samples->count / 2];
}

void snapshot_pace_init(struct snapshot_pace *pace, int64_t stage)
{
    *pace = (struct snapshot_pace){.interval = SNAPSHOT_PROBE_STEPS, .stage = stage};
}

void snapshot_pace_step(struct snapshot_pace *pace, int64_t stage, double step_s, double stall_s,
                        bool is_under_way)
{
    if (stage != pace->stage) { /* and what is under way is the last stage's */
        snapshot_pace_init(pace, stage);
    }
    pace->since_snapshot++;
    pace->since_review++;
    if (!pace->is_busy) {
        if (!is_under_way) {
            add_sample(&pace->free, step_s);
        }
        return;
    }
    pace->busy_steps++;
    pace->busy_s += step_s;
    if (!is_under_way) {
        add_sample(&pace->steps, pace->busy_steps);
        add_sample(&pace->spans, pace->busy_s);
        add_sample(&pace->stalls, stall_s - pace->stall_from_s);
        pace->is_busy = false;
    }
}

bool snapshot_pace_is_due(struct snapshot_pace *pace, double stall_s)
{
    if (pace->since_snapshot < pace->interval) {
        return false;
    }
    pace->since_snapshot = 0;
    if (!pace->is_busy) { /* else this one is skipped, and the one before goes on */
        pace->is_busy = true;
        pace->busy_steps = 0;
        pace->busy_s = 0;
        pace->stall_from_s = stall_s;
    }
    return true;
}

bool snapshot_pace_reviews(const struct snapshot_pace *pace)
{
    return pace->since_review >= SNAPSHOT_REVIEW_STEPS && pace->since_snapshot >= pace->interval;
}

bool snapshot_pace_costs(const struct snapshot_pace *pace, struct snapshot_costs *costs_out)
{
    if (pace->free.count == 0 || pace->spans.count == 0) {
        return false;
    }
    const double step_s = median_of(&pace->free);
    if (step_s <= 0) {
        return false;
    }
    struct snapshot_samples excesses = pace->spans;
    for (int i = 0; i < excesses.count; i++) {
        excesses.values[i] -= pace->steps.values[i] * step_s;
    }
    *costs_out = (struct snapshot_costs){.step_s = step_s,
                                         .excess_s = median_of(&excesses),
                                         .stall_s = median_of(&pace->stalls),
                                         .busy_steps = median_of(&pace->steps)};
    return true;
}

int64_t snapshot_pace_wish(const struct snapshot_pace *pace, double overhead_percent)
{
    struct snapshot_costs costs;

    if (!snapshot_pace_costs(pace, &costs)) { /* one is under way all the time */
        return 2 * pace->interval;
    }
    const int64_t wish = snapshot_interval_steps(&costs, overhead_percent);
    const bool is_fine = pace->interval >= wish && 2 * pace->interval <= 3 * wish;
    return is_fine ? pace->interval : wish;
}

void snapshot_pace_set(struct snapshot_pace *pace, int64_t interval)
{
    assert(interval >= 1);
    pace->interval = interval;
    pace->since_review = 0;
}
