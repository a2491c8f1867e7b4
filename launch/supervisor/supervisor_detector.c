#include "launch/supervisor/supervisor_detector.h"

#include <assert.h>
#include <string.h>

enum { FACTOR = 3, AGAIN = 4, PER_OCTAVE = 8, SILENCES_MAX = 1024 };

/* The bucket of a silence: exact below 8 ms, then 8 to an octave. */
static int bucket_of(int64_t ms)
{
    int shift = 0;

    assert(ms >= 0);
    while (ms >> shift >= 2 * PER_OCTAVE) {
        shift++;
    }
    const int bucket = shift * PER_OCTAVE + (int)(ms >> shift);
    return bucket < DETECTOR_BUCKETS ? bucket : DETECTOR_BUCKETS - 1;
}

/* The longest silence of a bucket. */
static int64_t longest_of(int bucket)
{
    if (bucket < 2 * PER_OCTAVE) {
        return bucket;
    }
    const int shift = bucket / PER_OCTAVE - 1;
    return ((int64_t)(bucket % PER_OCTAVE + PER_OCTAVE + 1) << shift) - 1;
}

/* `count` silences of `ms` each. */
static void learn(struct detector_histogram *seen, int64_t ms, int count)
{
    if (seen->total >= DETECTOR_FORGETS_AT) {
        seen->total = 0;
        for (int b = 0; b < DETECTOR_BUCKETS; b++) {
            seen->counts[b] /= 2;
            seen->total += (int)seen->counts[b];
        }
    }
    seen->counts[bucket_of(ms)] += (uint32_t)count;
    seen->total += count;
}

static int64_t p99_ms(const struct detector_histogram *seen)
{
    const int beyond_max = seen->total / 100; /* so many may be longer */
    int beyond = 0;
    int bucket = DETECTOR_BUCKETS - 1;

    while (bucket > 0 && beyond + (int)seen->counts[bucket] <= beyond_max) {
        beyond += (int)seen->counts[bucket];
        bucket--;
    }
    return longest_of(bucket);
}

void detector_init(struct detector *detector, const struct detector_limits *limits)
{
    for (int kind = 0; kind < DETECTOR_KINDS; kind++) {
        assert(limits->floor_ms[kind] >= 1);
        assert(limits->first_ms[kind] >= limits->floor_ms[kind]);
        assert(limits->most_ms >= limits->first_ms[kind]);
    }
    memset(detector, 0, sizeof(*detector));
    detector->limits = *limits;
    for (int kind = 0; kind < DETECTOR_KINDS; kind++) {
        detector->longest_ms[kind] = -1;
        detector->patience[kind] = 1;
    }
}

void detector_start(struct detector *detector, int rank_count, int64_t now_ms)
{
    int64_t *patience = &detector->patience[detector->last.kind];

    assert(rank_count >= 1);
    if (detector->hangs && *patience <= detector->limits.most_ms / AGAIN) {
        *patience *= AGAIN;
    }
    detector->hangs = false;
    detector->rank_count = rank_count;
    detector->last = (struct detector_look){.kind = DETECTOR_LAUNCH};
    detector->passing_ms = 0;
    detector->since_ms = now_ms;
}

int64_t detector_deadline_ms(const struct detector *detector, int kind)
{
    const int64_t floor_ms = detector->limits.floor_ms[kind], most_ms = detector->limits.most_ms;
    int64_t seen_ms = detector->longest_ms[kind];
    int64_t allowed_ms = detector->limits.first_ms[kind];

    if (kind == DETECTOR_STEP) {
        seen_ms = detector->steps.total < DETECTOR_SAMPLES_MIN ? -1 : p99_ms(&detector->steps);
    }
    if (seen_ms >= 0) {
        allowed_ms = FACTOR * seen_ms > floor_ms ? FACTOR * seen_ms : floor_ms;
    }
    if (detector->patience[kind] > 1) { /* never less than it would be with a patience of 1 */
        const int64_t more_ms = allowed_ms < most_ms / detector->patience[kind]
                                    ? allowed_ms * detector->patience[kind]
                                    : most_ms;
        return more_ms > allowed_ms ? more_ms : allowed_ms;
    }
    return allowed_ms;
}

/* The job has given signs since the last look. */
static void hear(struct detector *detector, const struct detector_look *look, int64_t silent_ms)
{
    const int kind = detector->last.kind; /* it was silent in that */
    int64_t *longest_ms = &detector->longest_ms[kind];

    if (kind == DETECTOR_STEP) {
        const uint64_t rounds =
            (look->signs - detector->last.signs) / (uint64_t)detector->rank_count;
        const int count = rounds < 1 ? 1 : rounds > SILENCES_MAX ? SILENCES_MAX : (int)rounds;
        learn(&detector->steps, silent_ms, count);
    }
    detector->passing_ms = silent_ms > detector->passing_ms ? silent_ms : detector->passing_ms;
    if (kind != look->kind) {
        *longest_ms = detector->passing_ms > *longest_ms ? detector->passing_ms : *longest_ms;
        detector->passing_ms = 0;
    }
    if (kind != look->kind || kind == DETECTOR_STEP) {
        detector->patience[kind] = 1;
    }
}

bool detector_observe(struct detector *detector, const struct detector_look *look, int64_t now_ms)
{
    const int64_t silent_ms = now_ms > detector->since_ms ? now_ms - detector->since_ms : 0;

    assert(look->kind >= 0 && look->kind < DETECTOR_KINDS);
    if (look->signs == detector->last.signs) {
        detector->hangs = silent_ms > detector_deadline_ms(detector, detector->last.kind) &&
                          silent_ms > detector->last.quiet_ms;
        return detector->hangs;
    }
    hear(detector, look, silent_ms);
    detector->last = *look;
    detector->since_ms = now_ms;
    return false;
}
