/*
 * tests/cudasim/sim_graph.c - stream capture, and graphs that replay what was captured.
 *
 * A capture is a list of items in the order of the calls: work, records of events, waits for
 * them. Each stream that takes part is a lane. A launch repeats the calls, lane 0 in the stream
 * of the launch, the others in queues of the graph's own: what was not ordered when it was
 * captured is not ordered in a replay either, and races show there as everywhere.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim_priv.h"

#define GRAPH_MAGIC 0x67726170u
#define EXEC_MAGIC 0x65786563u

enum item_kind { ITEM_WORK, ITEM_RECORD, ITEM_WAIT };

struct item {
    enum item_kind kind;
    int lane;
    int awaited; /* WAIT: the item, a RECORD */
    const struct cudasim_work *work;
    const char *name;
    void *payload;
    size_t payload_bytes;
};

struct items {
    struct item *items;
    int count, room;
    int lane_count;
};

struct CUgraph_st {
    uint32_t magic;
    bool is_open;
    struct items items;
    struct sim_place place;
    struct CUgraph_st *next;
};

struct CUgraphExec_st {
    uint32_t magic;
    bool is_open;
    struct items items;
    int queues[SIM_LANE_COUNT_MAX]; /* of lanes but the first */
    struct sim_place place;
    struct CUgraphExec_st *next;
};

/* How many items of each lane a lane, or what waits for a record, comes after. */
struct known {
    int count[SIM_LANE_COUNT_MAX];
};

struct sim_capture {
    bool is_spoilt;
    enum cudaStreamCaptureMode mode;
    pthread_t thread;
    struct CUstream_st *streams[SIM_LANE_COUNT_MAX]; /* of the lanes */
    int lane_items[SIM_LANE_COUNT_MAX];
    struct known known[SIM_LANE_COUNT_MAX];
    struct known *known_at; /* [items.room] of RECORD items */
    struct items items;
    struct sim_capture *next; /* captures under way */
};

static struct sim_capture *captures;
static struct CUgraph_st *graphs;
static struct CUgraphExec_st *execs;

/* ---- items ---- */

static struct item *add_item(struct sim_capture *capture, enum item_kind kind, int lane)
{
    struct items *items = &capture->items;

    if (items->count == items->room) {
        items->room = items->room > 0 ? 2 * items->room : 64;
        items->items = realloc(items->items, (size_t)items->room * sizeof *items->items);
        capture->known_at =
            realloc(capture->known_at, (size_t)items->room * sizeof *capture->known_at);
        if (items->items == NULL || capture->known_at == NULL) {
            cudasim_report("no memory for a graph");
        }
    }
    struct item *item = &items->items[items->count++];
    *item = (struct item){.kind = kind, .lane = lane};
    capture->known[lane].count[lane] = ++capture->lane_items[lane];
    capture->known_at[items->count - 1] = capture->known[lane];
    return item;
}

static void *copy_of(const void *payload, size_t bytes)
{
    void *copy = aligned_alloc(16, (bytes + 15) / 16 * 16 + 16);

    if (copy == NULL) {
        cudasim_report("no memory for a graph");
    }
    if (bytes > 0) {
        memcpy(copy, payload, bytes);
    }
    return copy;
}

static struct items copy_items(const struct items *from)
{
    struct items items = *from;

    items.room = from->count;
    items.items = malloc(((size_t)from->count + 1) * sizeof *items.items);
    if (items.items == NULL) {
        cudasim_report("no memory for a graph");
    }
    for (int i = 0; i < from->count; i++) {
        items.items[i] = from->items[i];
        items.items[i].payload = copy_of(from->items[i].payload, from->items[i].payload_bytes);
    }
    return items;
}

static void free_items(struct items *items)
{
    for (int i = 0; i < items->count; i++) {
        free(items->items[i].payload);
    }
    free(items->items);
    *items = (struct items){0};
}

/* ---- capture ---- */

cudaError_t sim_capture_add(struct CUstream_st *stream, const struct cudasim_work *work,
                            const char *name, const void *payload, size_t payload_bytes)
{
    struct sim_capture *capture = stream->capture;

    if (capture->is_spoilt) {
        return cudaErrorStreamCaptureInvalidated;
    }
    struct item *item = add_item(capture, ITEM_WORK, stream->lane);
    item->work = work;
    item->name = name;
    item->payload = copy_of(payload, payload_bytes);
    item->payload_bytes = payload_bytes;
    return cudaSuccess;
}

cudaError_t sim_capture_record(struct CUstream_st *stream, struct CUevent_st *event)
{
    struct sim_capture *capture = stream->capture;

    if (capture->is_spoilt) {
        return cudaErrorStreamCaptureInvalidated;
    }
    (void)add_item(capture, ITEM_RECORD, stream->lane);
    event->capture = capture;
    event->item = capture->items.count - 1;
    event->is_recorded = false;
    return cudaSuccess;
}

static cudaError_t spoil(struct sim_capture *capture, cudaError_t error)
{
    capture->is_spoilt = true;
    return error;
}

cudaError_t sim_capture_wait(struct CUstream_st *stream, struct CUevent_st *event)
{
    struct sim_capture *capture = event->capture;

    if (capture == NULL) { /* of work outside of the capture */
        return event->is_recorded ? spoil(stream->capture, cudaErrorStreamCaptureIsolation)
                                  : cudaSuccess;
    }
    if (capture->is_spoilt) {
        return cudaErrorStreamCaptureInvalidated;
    }
    if (stream->capture == NULL) { /* the stream now takes part */
        if (capture->items.lane_count == SIM_LANE_COUNT_MAX) {
            cudasim_report("more than %d streams in a capture", SIM_LANE_COUNT_MAX);
        }
        stream->lane = capture->items.lane_count++;
        stream->capture = capture;
        capture->streams[stream->lane] = stream;
    } else if (stream->capture != capture) {
        spoil(stream->capture, cudaErrorStreamCaptureMerge);
        return spoil(capture, cudaErrorStreamCaptureMerge);
    }
    struct known *known = &capture->known[stream->lane];
    for (int i = 0; i < SIM_LANE_COUNT_MAX; i++) {
        const int there = capture->known_at[event->item].count[i];
        known->count[i] = there > known->count[i] ? there : known->count[i];
    }
    add_item(capture, ITEM_WAIT, stream->lane)->awaited = event->item;
    return cudaSuccess;
}

cudaError_t sim_capture_refuse(struct CUstream_st *stream)
{
    return spoil(stream->capture, cudaErrorStreamCaptureUnsupported);
}

cudaError_t sim_capture_refuse_event(const struct CUevent_st *event)
{
    return spoil(event->capture, cudaErrorCapturedEvent);
}

cudaError_t sim_capture_refuse_unsafe(void)
{
    cudaError_t error = cudaSuccess;

    pthread_mutex_lock(&sim_lock);
    for (struct sim_capture *capture = captures; capture != NULL; capture = capture->next) {
        const bool is_own = pthread_equal(capture->thread, pthread_self()) != 0;
        if (capture->mode == cudaStreamCaptureModeGlobal ||
            (capture->mode == cudaStreamCaptureModeThreadLocal && is_own)) {
            error = spoil(capture, cudaErrorStreamCaptureUnsupported);
        }
    }
    pthread_mutex_unlock(&sim_lock);
    return error;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, enum cudaStreamCaptureMode mode)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaStreamBeginCapture", &stream));
    if (handle == NULL || handle == cudaStreamLegacy) {
        return sim_error(cudaErrorStreamCaptureUnsupported);
    }
    pthread_mutex_lock(&sim_lock);
    const bool is_capturing = stream->capture != NULL;
    if (!is_capturing) {
        struct sim_capture *capture = calloc(1, sizeof *capture);
        if (capture == NULL) {
            cudasim_report("no memory for a graph");
        }
        capture->mode = mode;
        capture->thread = pthread_self();
        capture->streams[0] = stream;
        capture->items.lane_count = 1;
        capture->next = captures;
        captures = capture;
        stream->capture = capture;
        stream->lane = 0;
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(is_capturing ? cudaErrorIllegalState : cudaSuccess);
}

/* Why a capture makes no graph. */
static cudaError_t capture_error(const struct sim_capture *capture)
{
    if (capture->is_spoilt) {
        return cudaErrorStreamCaptureInvalidated;
    }
    for (int lane = 1; lane < capture->items.lane_count; lane++) {
        if (capture->known[0].count[lane] < capture->lane_items[lane]) {
            return cudaErrorStreamCaptureUnjoined;
        }
    }
    return cudaSuccess;
}

static void end_capture(struct sim_capture *capture)
{
    struct sim_capture **link = &captures;

    for (int lane = 0; lane < capture->items.lane_count; lane++) {
        capture->streams[lane]->capture = NULL;
    }
    while (*link != capture) {
        link = &(*link)->next;
    }
    *link = capture->next;
    /* The capture itself stays: events that were recorded in it still name it. */
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaStreamEndCapture", &stream));
    *graph = NULL;
    pthread_mutex_lock(&sim_lock);
    struct sim_capture *capture = stream->capture;
    cudaError_t error = cudaErrorIllegalState;
    if (capture != NULL && capture->streams[0] != stream) {
        error = spoil(capture, cudaErrorStreamCaptureUnmatched);
    } else if (capture != NULL && capture->mode != cudaStreamCaptureModeRelaxed &&
               pthread_equal(capture->thread, pthread_self()) == 0) {
        error = cudaErrorStreamCaptureWrongThread;
    } else if (capture != NULL) {
        error = capture_error(capture);
        if (error == cudaSuccess) {
            struct CUgraph_st *made = calloc(1, sizeof *made);
            if (made == NULL) {
                cudasim_report("no memory for a graph");
            }
            sim_place_here(&made->place);
            made->magic = GRAPH_MAGIC;
            made->is_open = true;
            made->items = copy_items(&capture->items);
            made->next = graphs;
            graphs = made;
            *graph = made;
        }
        end_capture(capture);
        free_items(&capture->items);
        free(capture->known_at);
        capture->known_at = NULL;
        capture->is_spoilt = true;
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, enum cudaStreamCaptureStatus *status)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaStreamIsCapturing", &stream));
    pthread_mutex_lock(&sim_lock);
    *status = stream->capture == NULL      ? cudaStreamCaptureStatusNone
              : stream->capture->is_spoilt ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
    pthread_mutex_unlock(&sim_lock);
    return cudaSuccess;
}

/* ---- graphs ---- */

static void check_graph(cudaGraph_t graph, const char *what)
{
    if (graph == NULL || graph->magic != GRAPH_MAGIC || !graph->is_open) {
        cudasim_report("%s of a graph that was destroyed, or of something that is none", what);
    }
}

static void check_exec(cudaGraphExec_t exec, const char *what)
{
    if (exec == NULL || exec->magic != EXEC_MAGIC || !exec->is_open) {
        cudasim_report("%s of an executable graph that was destroyed, or of something that is none",
                       what);
    }
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    check_graph(graph, "cudaGraphGetNodes");
    if (nodes != NULL) {
        return sim_error(cudaErrorNotSupported);
    }
    *count = 0;
    for (int i = 0; i < graph->items.count; i++) {
        *count += graph->items.items[i].kind == ITEM_WORK;
    }
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    check_graph(graph, "cudaGraphInstantiate");
    if (flags != cudaGraphInstantiateFlagNone) {
        return sim_error(cudaErrorNotSupported);
    }
    struct CUgraphExec_st *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return sim_error(cudaErrorMemoryAllocation);
    }
    sim_place_here(&made->place);
    pthread_mutex_lock(&sim_lock);
    made->magic = EXEC_MAGIC;
    made->is_open = true;
    made->items = copy_items(&graph->items);
    for (int lane = 1; lane < made->items.lane_count; lane++) {
        made->queues[lane] = sim_queue_open(0);
        if (made->queues[lane] < 0) {
            cudasim_report("more than %d streams and lanes of graphs", SIM_QUEUE_COUNT_MAX);
        }
    }
    made->next = execs;
    execs = made;
    pthread_mutex_unlock(&sim_lock);
    *exec = made;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long flags)
{
    return cudaGraphInstantiate(exec, graph, flags);
}

static void replay(struct CUgraphExec_st *exec, int stream_queue)
{
    struct sim_mark *marks = calloc((size_t)exec->items.count + 1, sizeof *marks);

    if (marks == NULL) {
        cudasim_report("no memory for a graph");
    }
    exec->queues[0] = stream_queue;
    for (int i = 0; i < exec->items.count; i++) {
        const struct item *item = &exec->items.items[i];
        const int queue = exec->queues[item->lane];
        switch (item->kind) {
        case ITEM_WORK:
            sim_queue_add(queue, item->work, item->name, item->payload, item->payload_bytes);
            break;
        case ITEM_RECORD: marks[i] = sim_queue_mark(queue); break;
        case ITEM_WAIT: sim_queue_add_wait(queue, &marks[item->awaited]); break;
        }
    }
    free(marks);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle)
{
    struct CUstream_st *stream;
    cudaError_t error = cudaSuccess;

    SIM_TRY(sim_stream_get(handle, "cudaGraphLaunch", &stream));
    check_exec(exec, "cudaGraphLaunch");
    pthread_mutex_lock(&sim_lock);
    if (stream->capture != NULL) {
        error = sim_capture_refuse(stream); /* graphs within graphs are not modelled */
    } else {
        sim_stream_order(stream);
        replay(exec, stream->queue);
    }
    pthread_mutex_unlock(&sim_lock);
    return sim_error(error);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t handle)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaGraphUpload", &stream));
    check_exec(exec, "cudaGraphUpload");
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    check_exec(exec, "cudaGraphExecDestroy");
    pthread_mutex_lock(&sim_lock);
    for (int lane = 1; lane < exec->items.lane_count; lane++) {
        sim_queue_close(exec->queues[lane]);
    }
    free_items(&exec->items);
    exec->is_open = false;
    pthread_mutex_unlock(&sim_lock);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    check_graph(graph, "cudaGraphDestroy");
    pthread_mutex_lock(&sim_lock);
    free_items(&graph->items);
    graph->is_open = false;
    pthread_mutex_unlock(&sim_lock);
    return cudaSuccess;
}

void sim_graph_leaks(void)
{
    for (const struct CUgraph_st *graph = graphs; graph != NULL; graph = graph->next) {
        if (graph->is_open) {
            sim_leak(&graph->place, "a graph");
        }
    }
    for (const struct CUgraphExec_st *exec = execs; exec != NULL; exec = exec->next) {
        if (exec->is_open) {
            sim_leak(&exec->place, "an executable graph");
        }
    }
}
