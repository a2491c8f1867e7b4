/*
 * launch/supervisor/supervisor_detector.h - whether a job hangs, by how long it has been silent and
 * how long it used to be: a pure function of what was observed and when.
 *
 * A sign of progress is whatever a rank tells (progress.h); all signs of all ranks are counted.
 * Silence is measured from the last one, and allowed for
 *
 *      max(floor, 3 x what was seen)      in that kind of phase
 *
 * and for `first` where that is not known; and in any case for as long as a rank said that it may be
 * silent. Of steps what was seen is the 99th percentile of the silences so far, known after 20 of them.
 * Of any other kind it is the longest silence, known when a job has got through such a phase. Kinds
 * learn apart: a start-up or a save is silent for longer than any step, a stage may compute for
 * minutes before its first one, and another stage for longer.
 *
 * A job that hung in a phase is allowed four times as much the next time that it is silent there, and
 * so on up to `most`, until it has got through: who was wronged is not wronged for ever.
 *
 * Silences of steps go into a histogram whose buckets are 1/8 apart, so a percentile is right to that,
 * from above; half of what is known is forgotten every 4096 observations, so that it follows a run
 * whose steps change. Where all ranks gave several signs between two looks, so many silences were no
 * longer than that.
 *
 * Threads: any; a detector belongs to one.
 */
#ifndef LAUNCH_SUPERVISOR_DETECTOR_H
#define LAUNCH_SUPERVISOR_DETECTOR_H

#include <stdbool.h>
#include <stdint.h>

enum detector_kind {
    DETECTOR_LAUNCH, /* from the start of a job to the first sign of a rank */
    DETECTOR_START,  /* from there until it knows what it goes on from */
    DETECTOR_STEP,
    DETECTOR_SAVE,
    DETECTOR_EVALUATE,
    DETECTOR_STAGE, /* + stage: from its opening to the first step in it */
};

enum {
    DETECTOR_STAGES_MAX = 16, /* all later ones count as the last */
    DETECTOR_KINDS = DETECTOR_STAGE + DETECTOR_STAGES_MAX,
    DETECTOR_BUCKETS = 256,
    DETECTOR_SAMPLES_MIN = 20, /* steps, before they are believed */
    DETECTOR_FORGETS_AT = 4096,
};

struct detector_limits {
    int64_t floor_ms[DETECTOR_KINDS]; /* >= 1 */
    int64_t first_ms[DETECTOR_KINDS]; /* >= floor_ms */
    int64_t most_ms;                  /* >= any of these */
};

/* What is seen of a job. */
struct detector_look {
    int kind;         /* of the phase that it is in */
    uint64_t signs;   /* since its start */
    int64_t quiet_ms; /* a rank said that it may be silent for so long; 0: none did */
};

struct detector_histogram {
    uint32_t counts[DETECTOR_BUCKETS];
    int total;
};

struct detector {
    struct detector_limits limits;
    struct detector_histogram steps;
    int64_t longest_ms[DETECTOR_KINDS]; /* -1: not known */
    int64_t patience[DETECTOR_KINDS];   /* times what is allowed: 1, 4, 16 ... */
    int64_t passing_ms;                 /* the longest in it so far */
    struct detector_look last;
    bool hangs; /* it was found to */
    int rank_count;
    int64_t since_ms; /* of the last sign */
};

void detector_init(struct detector *detector, const struct detector_limits *limits);

/* A job of so many ranks (>= 1) is started at now_ms; what was learned of others stays. */
void detector_start(struct detector *detector, int rank_count, int64_t now_ms);

/* The job is looked at. True if it hangs. */
bool detector_observe(struct detector *detector, const struct detector_look *look, int64_t now_ms);

/* The longest silence that is allowed in that kind of phase now. */
int64_t detector_deadline_ms(const struct detector *detector, int kind);

#endif
