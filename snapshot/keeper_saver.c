#define _POSIX_C_SOURCE 200809L
#include "snapshot/keeper_saver.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "snapshot/snap_disk.h"

enum { ENDED_MAX = 4, POLL_US = 20000 };

struct keeper_saver {
    int news;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    bool ends;

    struct snap_plan plan;
    struct snap_part parts[KEEPER_RANKS_MAX]; /* [part_count] to be written */
    int part_count;
    bool is_writing;
    uint64_t version; /* of the save under way; 0: none */
    struct snap_part
        leader;      /* member 0's, without its data, if it is here; rank_count 0: it is not */
    bool has_failed; /* a part of this node */
    char failure[512];
    uint64_t bytes;
    int64_t start_ns;

    struct keeper_saved ended[ENDED_MAX]; /* [ended_count] */
    int ended_count;
};

/* The save under way is over; with the mutex. */
static void end_save(struct keeper_saver *saver, enum err status, const char *text)
{
    const uint64_t one = 1;

    if (saver->leader.rank_count > 0 && saver->ended_count < ENDED_MAX) {
        struct keeper_saved *saved = &saver->ended[saver->ended_count++];
        *saved = (struct keeper_saved){.version = saver->version,
                                       .bytes = saver->bytes,
                                       .status = status,
                                       .seconds = clock_since_s(saver->start_ns)};
        snprintf(saved->text, sizeof(saved->text), "%s", text);
    }
    if (status != ERR_OK) {
        fprintf(stderr, "offramp keeper: step %" PRIu64 ": %s\n", saver->version, text);
    }
    saver->version = 0;
    saver->leader = (struct snap_part){0};
    saver->has_failed = false;
    saver->bytes = 0;
    (void)!write(saver->news, &one, sizeof(one));
}

static void write_next(struct keeper_saver *saver)
{
    struct snap_part part = saver->parts[0];
    const struct snap_plan plan = saver->plan;
    char text[512] = "";

    saver->part_count--;
    memmove(saver->parts, saver->parts + 1, (size_t)saver->part_count * sizeof(part));
    saver->is_writing = true;
    pthread_mutex_unlock(&saver->mutex);
    const enum err status = snap_part_write(&part, &plan);
    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        err_clear();
    }
    snap_part_close(&part);
    pthread_mutex_lock(&saver->mutex);
    saver->is_writing = false;
    if (status != ERR_OK && !saver->has_failed) {
        saver->has_failed = true;
        memcpy(saver->failure, text, sizeof(text));
    }
    if (saver->part_count == 0 && saver->leader.rank_count == 0) {
        end_save(saver, saver->has_failed ? ERR_IO : ERR_OK, saver->failure);
    }
}

static enum err place(const struct snap_part *leader, const struct snap_plan *plan)
{
    FAULT_POINT_FAIL(FAULT_KEEPER_PLACE, ERR_IO);
    ERR_TRY(snap_plan_check_start(plan));
    ERR_TRY(snap_part_clear(leader, plan));
    return snap_disk_place(plan->output_dir, (int64_t)leader->version, plan->keep_count);
}

/*
 * Until all members are done, one failed, or nothing has moved for too long; or until there is more
 * of this node to write first.
 */
static enum err wait_for_members(struct keeper_saver *saver, const struct snap_part *leader,
                                 const struct snap_plan *plan, bool *more_out)
{
    struct snap_progress progress, before = {0};
    int64_t moved_ms = clock_now_ms();

    for (;;) {
        pthread_mutex_lock(&saver->mutex);
        const bool is_over = saver->version != leader->version || saver->ends;
        *more_out = saver->part_count > 0;
        pthread_mutex_unlock(&saver->mutex);
        if (*more_out) {
            return ERR_OK;
        }
        ERR_TRY(snap_part_look(leader, plan, &progress));
        if (progress.done_count == leader->rank_count) {
            return ERR_OK;
        }
        if (progress.failed_count > 0) {
            return ERR_FAIL(ERR_IO, "%d of %d members could not write their part",
                            progress.failed_count, leader->rank_count);
        }
        if (progress.trace != before.trace) {
            before = progress;
            moved_ms = clock_now_ms();
        }
        if (is_over || clock_now_ms() - moved_ms > plan->deadline_ms) {
            return ERR_FAIL(ERR_TIMEOUT, "only %d of %d members have written their part",
                            progress.done_count, leader->rank_count);
        }
        clock_nap_us(POLL_US);
    }
}

/* Member 0's keeper: all parts of this node that there are so far are written. With the mutex. */
static void complete(struct keeper_saver *saver)
{
    const struct snap_part leader = saver->leader;
    const struct snap_plan plan = saver->plan;
    bool has_more = false;

    enum err status = saver->has_failed ? ERR_FAIL(ERR_IO, "%s", saver->failure) : ERR_OK;
    pthread_mutex_unlock(&saver->mutex);
    if (status == ERR_OK) {
        status = wait_for_members(saver, &leader, &plan, &has_more);
    }
    pthread_mutex_lock(&saver->mutex);
    if (has_more) {
        return;
    }
    if (status == ERR_OK && saver->version == leader.version) {
        saver->is_writing = true;
        pthread_mutex_unlock(&saver->mutex);
        status = place(&leader, &plan);
        pthread_mutex_lock(&saver->mutex);
        saver->is_writing = false;
    }
    char text[512] = "";
    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        err_clear();
        if (snap_disk_drop(plan.output_dir, (int64_t)leader.version) != ERR_OK) {
            err_clear(); /* what failed before is what is told */
        }
    }
    if (saver->version == leader.version) {
        end_save(saver, status, text);
    }
}

static void *saver_main(void *argument)
{
    struct keeper_saver *saver = argument;

    pthread_mutex_lock(&saver->mutex);
    for (;;) {
        if (saver->part_count > 0) {
            write_next(saver);
        } else if (saver->version != 0 && saver->leader.rank_count > 0) {
            complete(saver);
        } else if (saver->ends) {
            break;
        } else {
            pthread_cond_wait(&saver->changed, &saver->mutex);
        }
    }
    pthread_mutex_unlock(&saver->mutex);
    return NULL;
}

enum err keeper_saver_open(int news, struct keeper_saver **saver_out)
{
    struct keeper_saver *saver = calloc(1, sizeof(*saver));

    if (saver == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a thread for saving");
    }
    saver->news = news;
    pthread_mutex_init(&saver->mutex, NULL);
    pthread_cond_init(&saver->changed, NULL);
    if (pthread_create(&saver->thread, NULL, saver_main, saver) != 0) {
        free(saver);
        return ERR_FAIL(ERR_NO_MEMORY, "a thread for saving");
    }
    *saver_out = saver;
    return ERR_OK;
}

void keeper_saver_close(struct keeper_saver *saver)
{
    if (saver == NULL) {
        return;
    }
    pthread_mutex_lock(&saver->mutex);
    saver->ends = true;
    pthread_cond_broadcast(&saver->changed);
    pthread_mutex_unlock(&saver->mutex);
    pthread_join(saver->thread, NULL);
    pthread_cond_destroy(&saver->changed);
    pthread_mutex_destroy(&saver->mutex);
    free(saver);
}

bool keeper_saver_is_free(struct keeper_saver *saver, uint64_t version)
{
    pthread_mutex_lock(&saver->mutex);
    const bool is_waiting =
        saver->part_count == 0 && !saver->is_writing && saver->leader.rank_count > 0;
    const bool is_free =
        saver->part_count < KEEPER_RANKS_MAX && (saver->version == 0 || saver->version == version ||
                                                 (is_waiting && version > saver->version));
    pthread_mutex_unlock(&saver->mutex);
    return is_free;
}

void keeper_saver_add(struct keeper_saver *saver, struct snap_part *part,
                      const struct snap_plan *plan)
{
    pthread_mutex_lock(&saver->mutex);
    if (saver->version != part->version) {
        if (saver->version != 0) {
            end_save(saver, ERR_TIMEOUT,
                     "other members had not written their part when a newer step was to be saved");
        }
        saver->version = part->version;
        saver->start_ns = clock_now_ns();
        saver->plan = *plan;
    }
    for (int i = 0; i < plan->file_count && part->member == 0; i++) {
        saver->bytes += plan->files[i].bytes;
    }
    if (part->member == 0) {
        saver->leader = *part;
        saver->leader.data = NULL;
    }
    assert(saver->part_count < KEEPER_RANKS_MAX);
    saver->parts[saver->part_count++] = *part;
    *part = (struct snap_part){0};
    pthread_cond_broadcast(&saver->changed);
    pthread_mutex_unlock(&saver->mutex);
}

bool keeper_saver_is_idle(struct keeper_saver *saver)
{
    pthread_mutex_lock(&saver->mutex);
    const bool is_idle = saver->version == 0;
    pthread_mutex_unlock(&saver->mutex);
    return is_idle;
}

bool keeper_saver_ended(struct keeper_saver *saver, struct keeper_saved *saved_out)
{
    pthread_mutex_lock(&saver->mutex);
    const bool has_ended = saver->ended_count > 0;
    if (has_ended) {
        *saved_out = saver->ended[0];
        saver->ended_count--;
        memmove(saver->ended, saver->ended + 1,
                (size_t)saver->ended_count * sizeof(saver->ended[0]));
    }
    pthread_mutex_unlock(&saver->mutex);
    return has_ended;
}
