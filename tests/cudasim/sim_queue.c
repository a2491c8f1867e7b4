/*
 * tests/cudasim/sim_queue.c - the device's thread, and the queues of work that it empties.
 *
 * One piece of work runs at a time, in the order of its queue; which queue is next is the
 * device's choice. CUDASIM_ORDER says when work runs:
 *
 *      late (the default)   not before somebody waits for it or for work behind it, or asks
 *                           whether it is done: who forgets to wait finds nothing done
 *      early                as soon as what it has to wait for is done
 *
 * Work that other processes wait for is never put off, and nothing is for longer than
 * CUDASIM_PUT_OFF_MS (500), since the host may wait for something else that depends on it.
 *
 * What is ordered before what is known when work is added, whatever order it then runs in: a
 * queue's clock takes in the host's (what the host has seen done) and those of the marks that
 * the queue waits for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cudasim/sim_priv.h"

#define NAP_NS_MIN 20000L
#define NAP_NS_MAX 500000L
#define NAME_COUNT 4096 /* names of so many last pieces of work of a queue are remembered */

struct op {
    struct op *next;
    const struct cudasim_work *work; /* NULL: wait for the mark */
    struct sim_mark awaited;
    const char *name;
    void *payload;
    void *state;
    bool is_begun;
    uint32_t seq;
    struct sim_clock clock;
};

struct queue {
    bool is_used, is_open;
    int priority;
    struct op *first, *last;
    uint32_t added_seq, done_seq, demanded_seq;
    struct sim_clock clock;
    const char *names[NAME_COUNT];
};

pthread_mutex_t sim_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_added;
static pthread_cond_t work_done;
static struct queue queues[SIM_QUEUE_COUNT_MAX];
static struct sim_clock host_clock;
static bool is_late;
static bool is_resting; /* the device's thread, with nothing to do at all */
static long put_off_ms;
static _Thread_local const struct op *now; /* of the device's thread */
uint32_t sim_now_op;
const struct sim_clock *sim_now_clock;

void sim_clock_join(struct sim_clock *clock, const struct sim_clock *other)
{
    for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
        clock->seq[i] = other->seq[i] > clock->seq[i] ? other->seq[i] : clock->seq[i];
    }
}

/* ---- adding ---- */

int sim_queue_open(int priority)
{
    for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
        struct queue *queue = &queues[i];
        if (!queue->is_open && queue->first == NULL) {
            queue->is_open = true;
            queue->priority = priority;
            return i;
        }
    }
    return -1;
}

void sim_queue_close(int queue)
{
    queues[queue].is_open = false;
    queues[queue].demanded_seq = queues[queue].added_seq;
    pthread_cond_signal(&work_added);
}

static struct op *append(int q)
{
    struct queue *queue = &queues[q];
    struct op *op = calloc(1, sizeof *op);

    if (op == NULL || queue->added_seq + 1 >= 1u << SIM_SEQ_BITS) {
        cudasim_report("too much work for a stream of the simulated device");
    }
    sim_clock_join(&queue->clock, &host_clock);
    op->seq = ++queue->added_seq;
    queue->clock.seq[q] = op->seq;
    op->clock = queue->clock;
    if (queue->last != NULL) {
        queue->last->next = op;
    } else {
        queue->first = op;
    }
    queue->last = op;
    return op;
}

/* Work that is put off wakes the device only to be known of. */
static void wake_for(int queue, const struct op *op)
{
    if (is_resting || op->seq <= queues[queue].demanded_seq) {
        pthread_cond_signal(&work_added);
    }
}

uint32_t sim_queue_add(int queue, const struct cudasim_work *work, const char *name,
                       const void *payload, size_t payload_bytes)
{
    struct op *op = append(queue);

    op->work = work;
    op->name = name;
    if (payload_bytes > 0) {
        op->payload = aligned_alloc(16, (payload_bytes + 15) / 16 * 16);
        if (op->payload == NULL) {
            cudasim_report("no memory for the work of a stream");
        }
        memcpy(op->payload, payload, payload_bytes);
    }
    queues[queue].names[op->seq % NAME_COUNT] = name;
    if (work->is_awaited_elsewhere || !is_late) {
        queues[queue].demanded_seq = op->seq;
    }
    wake_for(queue, op);
    return op->seq;
}

void sim_queue_add_wait(int queue, const struct sim_mark *mark)
{
    if (mark->queue == queue) {
        return; /* a queue is in order by itself */
    }
    sim_clock_join(&queues[queue].clock, &mark->clock);
    if (sim_mark_is_done(mark)) {
        return;
    }
    struct op *op = append(queue);
    op->name = "a wait";
    op->awaited = *mark;
    queues[queue].demanded_seq = is_late ? queues[queue].demanded_seq : op->seq;
    wake_for(queue, op);
}

/* ---- marks ---- */

struct sim_mark sim_queue_mark(int queue)
{
    sim_clock_join(&queues[queue].clock, &host_clock);
    return (struct sim_mark){queue, queues[queue].added_seq, queues[queue].clock};
}

bool sim_mark_is_done(const struct sim_mark *mark)
{
    return queues[mark->queue].done_seq >= mark->seq;
}

void sim_mark_demand(const struct sim_mark *mark)
{
    struct queue *queue = &queues[mark->queue];

    if (queue->demanded_seq < mark->seq) {
        queue->demanded_seq = mark->seq;
        pthread_cond_signal(&work_added);
    }
}

void sim_mark_seen(const struct sim_mark *mark)
{
    sim_clock_join(&host_clock, &mark->clock);
}

void sim_mark_wait(const struct sim_mark *mark)
{
    sim_mark_demand(mark);
    while (!sim_mark_is_done(mark)) {
        pthread_cond_wait(&work_done, &sim_lock);
    }
    sim_mark_seen(mark);
}

bool sim_queue_any(const struct cudasim_work *work,
                   bool (*holds)(const void *payload, const void *argument), const void *argument)
{
    for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
        for (const struct op *op = queues[i].first; op != NULL; op = op->next) {
            if (op->work == work && holds(op->payload, argument)) {
                return true;
            }
        }
    }
    return false;
}

/* ---- the work that runs ---- */

const char *sim_now_name(void)
{
    return now != NULL && now->name != NULL ? now->name : "the host";
}

const char *sim_op_name(uint32_t op)
{
    const char *name =
        queues[op >> SIM_SEQ_BITS].names[(op & ((1u << SIM_SEQ_BITS) - 1)) % NAME_COUNT];
    return name != NULL ? name : "earlier work";
}

/* ---- the device's thread ---- */

static void finish(struct queue *queue)
{
    struct op *op = queue->first;

    queue->done_seq = op->seq;
    queue->first = op->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    free(op->payload);
    free(op);
    pthread_cond_broadcast(&work_done);
}

/* Takes waits that are over from the heads of queues; demands what the others wait for. */
static void settle_waits(void)
{
    bool has_changed = true;

    while (has_changed) {
        has_changed = false;
        for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
            struct queue *queue = &queues[i];
            while (queue->first != NULL && queue->first->work == NULL) {
                struct op *op = queue->first;
                if (sim_mark_is_done(&op->awaited)) {
                    finish(queue);
                    has_changed = true;
                    continue;
                }
                struct queue *awaited = &queues[op->awaited.queue];
                if (op->seq <= queue->demanded_seq && awaited->demanded_seq < op->awaited.seq) {
                    awaited->demanded_seq = op->awaited.seq;
                    has_changed = true;
                }
                break;
            }
        }
    }
}

static bool can_run(const struct queue *queue)
{
    return queue->first != NULL && queue->first->work != NULL &&
           queue->first->seq <= queue->demanded_seq;
}

/* The queue whose head is begun next: of those of the highest priority, in turn. -1: none. */
static int next_queue(void)
{
    static int last;
    int best = -1;

    for (int i = 1; i <= SIM_QUEUE_COUNT_MAX; i++) {
        const int q = (last + i) % SIM_QUEUE_COUNT_MAX;
        if (can_run(&queues[q]) && !queues[q].first->is_begun &&
            (best < 0 || queues[q].priority < queues[best].priority)) {
            best = q;
        }
    }
    last = best >= 0 ? best : last;
    return best;
}

/* Lets the head of a queue do something. Without the lock meanwhile. */
static bool run_head(int q)
{
    struct op *op = queues[q].first;

    op->is_begun = true;
    now = op;
    sim_now_op = SIM_OP(q, op->seq);
    sim_now_clock = &op->clock;
    pthread_mutex_unlock(&sim_lock);
    const enum cudasim_progress progress = op->work->run(op->payload, &op->state);
    pthread_mutex_lock(&sim_lock);
    now = NULL;
    if (progress == CUDASIM_DONE) {
        finish(&queues[q]);
    }
    return progress == CUDASIM_DONE;
}

static void wait_for_work(long nanoseconds)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += nanoseconds % 1000000000;
    until.tv_sec += nanoseconds / 1000000000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&work_added, &sim_lock, &until);
}

/* Nothing can run: waits for more, or demands what was put off for long enough. */
static void idle(bool is_polling, long *nap_ns)
{
    if (is_polling) {
        wait_for_work(*nap_ns);
        *nap_ns = *nap_ns * 2 < NAP_NS_MAX ? *nap_ns * 2 : NAP_NS_MAX;
        return;
    }
    bool is_put_off = false;
    uint32_t before[SIM_QUEUE_COUNT_MAX];
    for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
        is_put_off = is_put_off || queues[i].first != NULL;
        before[i] = queues[i].added_seq;
    }
    if (!is_put_off) {
        is_resting = true;
        pthread_cond_wait(&work_added, &sim_lock);
        is_resting = false;
        return;
    }
    struct timespec begin;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    wait_for_work(put_off_ms * 1000000L);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if ((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 <
        put_off_ms - 1) {
        return;
    }
    for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
        queues[i].demanded_seq =
            before[i] > queues[i].demanded_seq ? before[i] : queues[i].demanded_seq;
    }
}

static void *device_main(void *unused)
{
    long nap_ns = NAP_NS_MIN;

    (void)unused;
    pthread_mutex_lock(&sim_lock);
    for (;;) {
        bool has_progress = false;
        bool is_polling = false;
        settle_waits();
        const int q = next_queue();
        if (q >= 0) {
            has_progress = true;
            run_head(q);
        }
        for (int i = 0; i < SIM_QUEUE_COUNT_MAX; i++) {
            if (can_run(&queues[i]) && queues[i].first->is_begun) {
                is_polling = true;
                has_progress = run_head(i) || has_progress;
            }
        }
        if (has_progress) {
            nap_ns = NAP_NS_MIN;
        } else {
            idle(is_polling, &nap_ns);
        }
    }
    return NULL;
}

void sim_queue_start(void)
{
    pthread_condattr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;

    put_off_ms = strtol(sim_setting("CUDASIM_PUT_OFF_MS", "500"), NULL, 10);
    is_late = strcmp(sim_setting("CUDASIM_ORDER", "late"), "late") == 0;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&work_added, &attributes);
    pthread_cond_init(&work_done, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all); /* signals are the program's business */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    if (pthread_create(&thread, NULL, device_main, NULL) != 0) {
        cudasim_report("no thread for the simulated device");
    }
    pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
