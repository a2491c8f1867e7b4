/*
 * launch/snapshot_interval.h - how many steps from one snapshot to the next, by what they cost:
 * pure functions, no clock and no messages.
 *
 * A snapshot makes the steps longer that it is under way in: it is copied, hashed and coded beside
 * them, and the update may have to wait for the copy. That excess is its cost C. The interval is the
 * shortest whose cost stays within the budget that is given, as CheckFreq chooses it (Mohan et
 * al., "CheckFreq: Frequent, Fine-Grained DNN Checkpointing", FAST 2021):
 *
 *      interval >= C / (step_s x budget)       and one step more than a snapshot is under way for,
 *                                              so that none is skipped and there is always a step to
 *                                              compare with
 *
 * What failures would ask for is shown beside it: the interval that loses the least time at a mean
 * time between failures M, by Young (CACM 17(9), 1974) and, to a higher order, by Daly (Future
 * Generation Computer Systems 22(3), 2006).
 *
 * Results never depend on any of this; only the work that is lost does.
 *
 * Threads: any; a struct snapshot_pace belongs to one.
 */
#ifndef LAUNCH_SNAPSHOT_INTERVAL_H
#define LAUNCH_SNAPSHOT_INTERVAL_H

#include <stdbool.h>
#include <stdint.h>

struct snapshot_costs {
    double step_s;     /* > 0; of a step in which none is under way */
    double excess_s;   /* of the steps in which one is, in all; may come out below 0 */
    double stall_s;    /* that training waited for it: part of the excess, measured by itself */
    double busy_steps; /* that one is under way for */
};

/* C: the excess, and not less than the stall. */
double snapshot_cost_s(const struct snapshot_costs *costs);

/* The interval in steps, >= 2. overhead_percent > 0. */
int64_t snapshot_interval_steps(const struct snapshot_costs *costs, double overhead_percent);

/* The best interval in seconds for cost_s >= 0 and mtbf_s > 0. */
double snapshot_young_s(double cost_s, double mtbf_s);
double snapshot_daly_s(double cost_s, double mtbf_s);

enum {
    SNAPSHOT_PROBE_STEPS = 8,   /* the interval until something is measured */
    SNAPSHOT_REVIEW_STEPS = 32, /* between reviews, at least */
    SNAPSHOT_SAMPLES_MAX = 32,
};

/* The last of some measurements. */
struct snapshot_samples {
    double values[SNAPSHOT_SAMPLES_MAX];
    int count, next;
};

/*
 * Measures steps and says when the next snapshot is due. Ranks that set the same intervals find
 * the same steps due and the same reviews; what they measure is their own, so a review takes the
 * interval of one of them.
 */
struct snapshot_pace {
    int64_t interval;
    int64_t since_snapshot, since_review; /* steps */
    int64_t stage;
    bool is_busy;                            /* a snapshot is under way */
    double busy_steps, busy_s, stall_from_s; /* of that one, so far */
    struct snapshot_samples free;            /* steps without one, seconds */
    struct snapshot_samples steps, spans,
        stalls; /* of a snapshot: busy steps, their seconds, stall */
};

void snapshot_pace_init(struct snapshot_pace *pace, int64_t stage);

/*
 * After a step of `stage` that took step_s. `stall_s` is what all snapshots have stalled so far,
 * `is_under_way` whether one still is. Another stage has other steps: it begins anew.
 */
void snapshot_pace_step(struct snapshot_pace *pace, int64_t stage, double step_s, double stall_s,
                        bool is_under_way);

/* Whether a snapshot is due after this step; if so one is begun, and its steps are counted. */
bool snapshot_pace_is_due(struct snapshot_pace *pace, double stall_s);

/* Whether the interval is to be reviewed after this step. */
bool snapshot_pace_reviews(const struct snapshot_pace *pace);

/* What this rank measured; false if that is not enough yet. */
bool snapshot_pace_costs(const struct snapshot_pace *pace, struct snapshot_costs *costs_out);

/*
 * The interval that this rank would go on with. It is left as it is where it is within the
 * budget and not half as long again as need be: noise is no reason to change it.
 */
int64_t snapshot_pace_wish(const struct snapshot_pace *pace, double overhead_percent);

/* The review is over, with this interval. */
void snapshot_pace_set(struct snapshot_pace *pace, int64_t interval);

#endif
