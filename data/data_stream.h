/*
 * data/data_stream.h - the batches of a stage of training, as one rank sees them.
 *
 * With n samples to train on and batches of B, an epoch is floor(n / B) batches; the
 * n mod B samples at the end of its order are left out of it (another epoch, another
 * order, other samples). Step s, counted from 0 over the stage, is
 *
 *      epoch = s / floor(n / B)        batch of the epoch = s mod floor(n / B)
 *      sample at position p of the batch = samples[order of the epoch at batch * B + p]
 *
 * so every step can be asked for at once, with nothing to save and nothing to skip. Of texts
 * these are the samples of the batch, but not their positions: those are by length, as
 * data_pack.h says, so that the texts of a micro-batch have like lengths. The pure functions
 * do the same if they are given the set.
 *
 * A batch is B / micro_samples micro-batches, and rank r of N has q = B / micro_samples / N
 * of them in a row. The batch as a whole and its micro-batches do not depend on N:
 *
 *      position   0        micro     2 micro    3 micro            B = 4 micro
 *                 | micro 0 | micro 1 | micro 2  | micro 3  |
 *      N = 2      |      rank 0       |       rank 1        |
 *
 * Batches are rendered ahead by one thread into a ring of two: the one the caller reads
 * and the next. The thread blocks all signals and exits in data_stream_close().
 *
 * Memory: two batches of this rank's part; nothing is allocated after data_stream_open().
 * Threads: a stream belongs to one thread. The pure functions: any.
 */
#ifndef DATA_DATA_STREAM_H
#define DATA_DATA_STREAM_H

#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_augment.h"
#include "data/data_set.h"

enum { DATA_STREAM_TIMEOUT_MS = 60000 };

/* What is pointed to is lent, read-only, until the stream is closed. */
struct data_stream_options {
    const struct data_set *set;         /* for the pure functions may be NULL, if of images */
    const struct data_augment *augment; /* of images; for the pure functions may be NULL */
    const uint32_t *samples;            /* [sample_count] sample numbers to train on */
    int64_t sample_count;               /* n */
    uint64_t seed;                      /* of the order */
    int64_t batch_samples;              /* B, over all ranks: train_batch_size */
    int64_t micro_samples;              /* per_device_train_batch_size */
    int rank;                           /* r, 0..rank_count - 1 */
    int rank_count;                     /* N */
    int64_t timeout_ms;                 /* of data_stream_next(); 0: DATA_STREAM_TIMEOUT_MS */
};

/* This rank's part of a batch. Valid until the next call on the stream. */
struct data_batch {
    int64_t step;
    uint64_t epoch;
    int64_t count;           /* samples: B / N; micro-batch m has [m * micro, (m + 1) * micro) */
    const float *images;     /* [count, channels, height, width]; NULL: texts */
    const int32_t *tokens;   /* [count, token_stride], filled up with the pad id; NULL: images */
    const int32_t *lengths;  /* [count] tokens of each text; NULL: images */
    int64_t token_stride;    /* tokens_max of the set */
    const int32_t *labels;   /* [count, labels_per_sample of the set] */
    const uint32_t *samples; /* [count] sample numbers */
};

struct data_stream;

/*
 * Checks that the sizes go together. Errors: ERR_CONFIG, which names the settings and
 * numbers that would do: B is a multiple of micro, B / micro one of N, B <= n;
 * ERR_INVALID if rank is not below rank_count.
 */
ERR_MUST_CHECK enum err data_stream_check(const struct data_stream_options *options);

/* Batches in an epoch: floor(n / B). The options have passed data_stream_check(). */
int64_t data_stream_epoch_batches(const struct data_stream_options *options);

/*
 * The sample at `position` in 0..B - 1 of the batch of `step` >= 0, and the step's epoch.
 * Cannot fail. The options have passed data_stream_check(). Cost: of texts linear in B.
 */
uint32_t data_stream_sample(const struct data_stream_options *options, int64_t step,
                            int64_t position, uint64_t *epoch_out);

/*
 * The samples of this rank's part of the batch of `step`, [B / N], and the step's epoch:
 * the same as data_stream_sample() for each of them, but the order is set up once.
 * Cannot fail. Cost: of texts linear in B.
 */
void data_stream_part(const struct data_stream_options *options, int64_t step,
                      uint32_t *samples_out, uint64_t *epoch_out);

/*
 * Starts rendering at `first_step` >= 0. The caller owns *stream_out and ends it with
 * data_stream_close(). Errors: as data_stream_check(), ERR_CONFIG also for a sample number
 * that is not in the set; ERR_INVALID if first_step is below 0 or beyond 2^32 epochs;
 * ERR_NO_MEMORY, also if no thread can start.
 */
ERR_MUST_CHECK enum err data_stream_open(const struct data_stream_options *options,
                                         int64_t first_step, struct data_stream **stream_out);

/*
 * The next batch: first_step, then the one after it, without end. Gives the batch of the
 * call before back, also when it fails.
 *
 * Errors: ERR_TIMEOUT if it was not rendered within timeout_ms; the call may be repeated.
 */
ERR_MUST_CHECK enum err data_stream_next(struct data_stream *stream, struct data_batch *batch_out);

/* Stops the thread, at the latest after the image or batch of texts it is at, and frees all. NULL is allowed. */
void data_stream_close(struct data_stream *stream);

#endif
