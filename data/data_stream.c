#define _POSIX_C_SOURCE 200809L
#include "data/data_stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "data/data_order.h"
#include "data/data_pack.h"

/* One is read while the other is rendered. */
enum { RING_BATCHES = 2 };

/* The thread waits this long for a free slot, then waits again; it is woken before that. */
enum { FREE_SLOT_WAIT_MS = 1000 };

struct slot {
    uint64_t epoch;
    float *images;
    int32_t *tokens;
    int32_t *lengths;
    int32_t *labels;
    uint32_t *samples;
};

struct data_stream {
    struct data_stream_options options;
    int64_t part_samples; /* B / N */
    int64_t first_step;
    struct slot slots[RING_BATCHES]; /* step s is in slot (s - first_step) % RING_BATCHES */
    pthread_t thread;

    /* Set by data_stream_close(), read by the thread between images. */
    atomic_bool must_stop;

    /*
     * Guards the two counters, which only grow. The slots of the batches in
     * [freed, rendered) belong to the caller's thread, the others to the stream's.
     */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t rendered_count;
    int64_t freed_count;

    int64_t taken_count; /* caller's thread only: freed_count, or one more with a batch out */
};

int64_t data_stream_epoch_batches(const struct data_stream_options *options)
{
    return options->sample_count / options->batch_samples;
}

static uint32_t sample_at(const struct data_stream_options *options, const struct data_order *order,
                          int64_t batch, int64_t position)
{
    const int64_t place = batch * options->batch_samples + position;

    return options->samples[data_order_at(order, (uint64_t)place)];
}

/* The order of the epoch that `step` is in, and which batch of the epoch it is. */
static uint64_t find_step(const struct data_stream_options *options, int64_t step,
                          struct data_order *order_out, int64_t *batch_out)
{
    const int64_t epoch_batches = data_stream_epoch_batches(options);
    const uint64_t epoch = (uint64_t)(step / epoch_batches);

    assert(step >= 0);
    *batch_out = step % epoch_batches;
    data_order_init(order_out, options->seed, epoch, (uint64_t)options->sample_count);
    return epoch;
}

static bool is_of_texts(const struct data_stream_options *options)
{
    return options->set != NULL && options->set->kind == DATA_TEXTS;
}

/*
 * Texts: the samples at positions first .. first + count - 1 of a batch that is sorted by
 * length, stably, and whose micro-batches are then put in the order of data_pack_place(). By
 * counting, twice over the batch, as there is no memory for a list of it.
 */
static void find_texts(const struct data_stream_options *options, const struct data_order *order,
                       int64_t batch, int64_t first, int64_t count, uint32_t *samples_out)
{
    const struct data_set *set = options->set;
    const int64_t micro = options->micro_samples;
    const int64_t micro_count = options->batch_samples / micro;
    uint32_t starts[DATA_TOKENS_MAX + 2] = {0}; /* of a length among the sorted samples */

    assert(set->tokens_max <= DATA_TOKENS_MAX);
    for (int64_t i = 0; i < options->batch_samples; i++) {
        starts[data_set_length(set, sample_at(options, order, batch, i)) + 1]++;
    }
    for (int64_t length = 0; length < set->tokens_max; length++) {
        starts[length + 1] += starts[length];
    }
    for (int64_t i = 0; i < options->batch_samples; i++) {
        const uint32_t sample = sample_at(options, order, batch, i);
        const int64_t sorted = starts[data_set_length(set, sample)]++;
        const int64_t position =
            data_pack_place(sorted / micro, micro_count) * micro + sorted % micro;
        if (position >= first && position < first + count) {
            samples_out[position - first] = sample;
        }
    }
}

uint32_t data_stream_sample(const struct data_stream_options *options, int64_t step,
                            int64_t position, uint64_t *epoch_out)
{
    struct data_order order;
    int64_t batch = 0;

    assert(position >= 0 && position < options->batch_samples);
    *epoch_out = find_step(options, step, &order, &batch);
    if (is_of_texts(options)) {
        uint32_t sample = 0;
        find_texts(options, &order, batch, position, 1, &sample);
        return sample;
    }
    return sample_at(options, &order, batch, position);
}

void data_stream_part(const struct data_stream_options *options, int64_t step,
                      uint32_t *samples_out, uint64_t *epoch_out)
{
    const int64_t part_samples = options->batch_samples / options->rank_count;
    struct data_order order;
    int64_t batch = 0;

    *epoch_out = find_step(options, step, &order, &batch);
    if (is_of_texts(options)) {
        find_texts(options, &order, batch, options->rank * part_samples, part_samples, samples_out);
        return;
    }
    for (int64_t i = 0; i < part_samples; i++) {
        samples_out[i] = sample_at(options, &order, batch, options->rank * part_samples + i);
    }
}

/* "6 or 12" of the multiples of `unit` around `number`, which is none; only "8" if 0 is below. */
static void nearest_multiples(int64_t number, int64_t unit, char *text, size_t text_bytes)
{
    const int64_t below = number / unit * unit;

    if (below == 0) {
        snprintf(text, text_bytes, "%" PRId64, unit);
    } else {
        snprintf(text, text_bytes, "%" PRId64 " or %" PRId64, below, below + unit);
    }
}

/* "1, 2 or 4": the two divisors of `number` on each side of `near`, which is none. */
static void nearest_divisors(int64_t number, int64_t near, char *text, size_t text_bytes)
{
    int64_t found[4];
    int found_count = 0;
    size_t at = 0;

    for (int64_t i = near < number ? near : number; i >= 1 && found_count < 2; i--) {
        if (number % i == 0) {
            found[found_count++] = i;
        }
    }
    if (found_count == 2) {
        const int64_t larger = found[0];
        found[0] = found[1];
        found[1] = larger;
    }
    const int below_count = found_count;
    for (int64_t i = near + 1; i <= number && found_count < below_count + 2; i++) {
        if (number % i == 0) {
            found[found_count++] = i;
        }
    }
    for (int i = 0; i < found_count && at < text_bytes; i++) {
        const char *joint = i == 0 ? "" : i == found_count - 1 ? " or " : ", ";
        at += (size_t)snprintf(text + at, text_bytes - at, "%s%" PRId64, joint, found[i]);
    }
}

enum err data_stream_check(const struct data_stream_options *options)
{
    const int64_t batch = options->batch_samples;
    const int64_t micro = options->micro_samples;
    const int64_t ranks = options->rank_count;
    char counts[96];
    char batches[64];

    if (ranks < 1 || options->rank < 0 || options->rank >= ranks) {
        return ERR_FAIL(ERR_INVALID, "rank %d of %d ranks", options->rank, options->rank_count);
    }
    if (batch < 1 || batch > UINT32_MAX || micro < 1 || micro > UINT32_MAX) {
        return ERR_FAIL(ERR_CONFIG,
                        "train_batch_size is %" PRId64 " and per_device_train_batch_size %" PRId64
                        ", expected 1 to %" PRIu32,
                        batch, micro, UINT32_MAX);
    }
    if (batch % micro != 0) {
        nearest_multiples(batch, micro, batches, sizeof(batches));
        return ERR_FAIL(ERR_CONFIG,
                        "a train_batch_size of %" PRId64
                        " is no multiple of the per_device_train_batch_size of %" PRId64
                        ": use a train_batch_size of %s",
                        batch, micro, batches);
    }
    if (batch / micro % ranks != 0) {
        nearest_divisors(batch / micro, ranks, counts, sizeof(counts));
        nearest_multiples(batch, micro * ranks, batches, sizeof(batches));
        return ERR_FAIL(ERR_CONFIG,
                        "%" PRId64 " ranks cannot share a train_batch_size of %" PRId64
                        " in micro-batches of %" PRId64
                        " (per_device_train_batch_size): use %s ranks, or a batch of %s",
                        ranks, batch, micro, counts, batches);
    }
    if (options->sample_count < batch || options->sample_count > UINT32_MAX) {
        return ERR_FAIL(ERR_CONFIG,
                        "a train_batch_size of %" PRId64 " from %" PRId64
                        " training samples: use at most that many",
                        batch, options->sample_count);
    }
    return ERR_OK;
}

/* Renders the batch of `step`; false if it was told to stop. */
static bool render_batch(struct data_stream *stream, int64_t step, struct slot *slot)
{
    const struct data_stream_options *options = &stream->options;
    const int64_t each = options->set->labels_per_sample;

    data_stream_part(options, step, slot->samples, &slot->epoch);
    for (int64_t i = 0; i < stream->part_samples; i++) {
        memcpy(slot->labels + i * each, options->set->labels + slot->samples[i] * each,
               (size_t)each * sizeof(*slot->labels));
    }
    if (is_of_texts(options)) {
        data_pack_rows(options->set, slot->samples, stream->part_samples, options->set->tokens_max,
                       slot->tokens, slot->lengths);
        return true;
    }
    for (int64_t i = 0; i < stream->part_samples; i++) {
        if (atomic_load(&stream->must_stop)) {
            return false;
        }
        const int64_t sample = slot->samples[i];
        data_render(options->augment, options->set, sample, slot->epoch,
                    slot->images + i * options->set->image_pixels);
    }
    return true;
}

static struct timespec deadline_after(int64_t wait_ms)
{
    const int64_t at_ns = clock_now_ns() + wait_ms * 1000000;

    return (struct timespec){at_ns / 1000000000, at_ns % 1000000000};
}

/* Waits until a slot is free; false if it was told to stop. */
static bool wait_for_free_slot(struct data_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (!atomic_load(&stream->must_stop) &&
           stream->rendered_count - stream->freed_count == RING_BATCHES) {
        const struct timespec deadline = deadline_after(FREE_SLOT_WAIT_MS);
        pthread_cond_timedwait(&stream->changed, &stream->lock, &deadline);
    }
    pthread_mutex_unlock(&stream->lock);
    return !atomic_load(&stream->must_stop);
}

static void *render_ahead(void *argument)
{
    struct data_stream *stream = argument;

    for (int64_t i = 0; wait_for_free_slot(stream); i++) {
        if (!render_batch(stream, stream->first_step + i, &stream->slots[i % RING_BATCHES])) {
            break;
        }
        pthread_mutex_lock(&stream->lock);
        stream->rendered_count++;
        pthread_cond_broadcast(&stream->changed);
        pthread_mutex_unlock(&stream->lock);
    }
    return NULL;
}

/* What a batch of texts has, or one of images. */
static enum err open_inputs(const struct data_stream *stream, struct slot *slot)
{
    const struct data_set *set = stream->options.set;
    int64_t floats = 0;
    void *tokens = NULL;
    void *lengths = NULL;

    if (!is_of_texts(&stream->options)) {
        if (__builtin_mul_overflow(stream->part_samples, set->image_pixels, &floats)) {
            floats = INT64_MAX;
        }
        return memory_open_f32(floats, "images of a batch", &slot->images);
    }
    static_assert(UINT32_MAX * (DATA_TOKENS_MAX * sizeof(int32_t)) < INT64_MAX, "bytes of a batch");
    const size_t count = (size_t)stream->part_samples;
    ERR_TRY(memory_open(count * (size_t)set->tokens_max * sizeof(int32_t), "tokens of a batch",
                        &tokens));
    slot->tokens = tokens;
    ERR_TRY(memory_open(count * sizeof(int32_t), "lengths of a batch", &lengths));
    slot->lengths = lengths;
    return ERR_OK;
}

static enum err open_slots(struct data_stream *stream)
{
    const size_t count = (size_t)stream->part_samples;
    const size_t each = (size_t)stream->options.set->labels_per_sample;

    for (int i = 0; i < RING_BATCHES; i++) {
        void *labels = NULL;
        void *samples = NULL;
        ERR_TRY(open_inputs(stream, &stream->slots[i]));
        ERR_TRY(memory_open(count * each * sizeof(int32_t), "labels of a batch", &labels));
        stream->slots[i].labels = labels;
        ERR_TRY(memory_open(count * sizeof(uint32_t), "samples of a batch", &samples));
        stream->slots[i].samples = samples;
    }
    return ERR_OK;
}

static void close_slots(struct data_stream *stream)
{
    for (int i = 0; i < RING_BATCHES; i++) {
        memory_close(stream->slots[i].images);
        memory_close(stream->slots[i].tokens);
        memory_close(stream->slots[i].lengths);
        memory_close(stream->slots[i].labels);
        memory_close(stream->slots[i].samples);
    }
    free(stream);
}

/* With all signals blocked in the thread: they are for the thread that trains. */
static enum err start_thread(struct data_stream *stream)
{
    pthread_condattr_t attributes;
    sigset_t all;
    sigset_t before;

    pthread_mutex_init(&stream->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&stream->changed, &attributes);
    pthread_condattr_destroy(&attributes);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&stream->thread, NULL, render_ahead, stream);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        pthread_cond_destroy(&stream->changed);
        pthread_mutex_destroy(&stream->lock);
        return ERR_FAIL(ERR_NO_MEMORY, "start the thread that renders batches: %s", strerror(code));
    }
    return ERR_OK;
}

static enum err check_samples(const struct data_stream_options *options)
{
    for (int64_t i = 0; i < options->sample_count; i++) {
        if (options->samples[i] >= options->set->shape.count) {
            return ERR_FAIL(ERR_CONFIG,
                            "sample %" PRIu32 " is to be trained on, expected 0 to %" PRId64,
                            options->samples[i], options->set->shape.count - 1);
        }
    }
    return ERR_OK;
}

enum err data_stream_open(const struct data_stream_options *options, int64_t first_step,
                          struct data_stream **stream_out)
{
    enum err status = ERR_OK;

    assert(options != NULL && stream_out != NULL);
    assert(options->set != NULL && options->samples != NULL);
    assert(options->augment != NULL || is_of_texts(options));
    assert(options->timeout_ms >= 0);
    ERR_TRY(data_stream_check(options));
    ERR_TRY(check_samples(options));
    if (first_step < 0 || first_step / data_stream_epoch_batches(options) >= UINT32_MAX) {
        return ERR_FAIL(ERR_INVALID, "first step %" PRId64 ", expected 0 to 2^32 epochs",
                        first_step);
    }
    struct data_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a stream of batches");
    }
    stream->options = *options;
    if (stream->options.timeout_ms == 0) {
        stream->options.timeout_ms = DATA_STREAM_TIMEOUT_MS;
    }
    stream->part_samples = options->batch_samples / options->rank_count;
    stream->first_step = first_step;
    atomic_init(&stream->must_stop, false);
    ERR_GOTO(free_slots, status, open_slots(stream));
    ERR_GOTO(free_slots, status, start_thread(stream));
    *stream_out = stream;
    return ERR_OK;

free_slots:
    close_slots(stream);
    return status;
}

enum err data_stream_next(struct data_stream *stream, struct data_batch *batch_out)
{
    assert(stream != NULL && batch_out != NULL);
    const struct timespec deadline = deadline_after(stream->options.timeout_ms);
    int code = 0;

    pthread_mutex_lock(&stream->lock);
    if (stream->freed_count < stream->taken_count) {
        stream->freed_count = stream->taken_count;
        pthread_cond_broadcast(&stream->changed);
    }
    while (stream->rendered_count == stream->taken_count && code != ETIMEDOUT) {
        code = pthread_cond_timedwait(&stream->changed, &stream->lock, &deadline);
    }
    const bool is_there = stream->rendered_count > stream->taken_count;
    pthread_mutex_unlock(&stream->lock);

    const int64_t step = stream->first_step + stream->taken_count;
    if (!is_there) {
        return ERR_FAIL(ERR_TIMEOUT,
                        "the batch of step %" PRId64 " was not ready in %" PRId64 " ms", step,
                        stream->options.timeout_ms);
    }
    const struct slot *slot = &stream->slots[stream->taken_count % RING_BATCHES];
    stream->taken_count++;
    *batch_out = (struct data_batch){.step = step,
                                     .epoch = slot->epoch,
                                     .count = stream->part_samples,
                                     .images = slot->images,
                                     .tokens = slot->tokens,
                                     .lengths = slot->lengths,
                                     .token_stride = stream->options.set->tokens_max,
                                     .labels = slot->labels,
                                     .samples = slot->samples};
    return ERR_OK;
}

void data_stream_close(struct data_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    pthread_mutex_lock(&stream->lock);
    atomic_store(&stream->must_stop, true);
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    close_slots(stream);
}
