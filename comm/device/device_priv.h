/*
 * comm/device/device_priv.h - what a kind of device provides; device.c checks the arguments.
 */
#ifndef COMM_DEVICE_DEVICE_PRIV_H
#define COMM_DEVICE_DEVICE_PRIV_H

#include "comm/device/device.h"

struct device_ops {
    bool has_graphs;
    void (*close)(struct device *device);
    void (*memory_bytes)(struct device *device, int64_t *total_out, int64_t *free_out);
    enum err (*memory_open)(struct device *device, size_t bytes, const char *what,
                            void **memory_out);
    void (*memory_close)(struct device *device, void *memory);
    enum err (*pinned_open)(struct device *device, size_t bytes, const char *what,
                            void **memory_out);
    void (*pinned_close)(struct device *device, void *memory);
    enum err (*register_range)(struct device *device, void *begin, size_t bytes, const char *what);
    void (*unregister_range)(struct device *device, void *begin);

    enum err (*stream_open)(struct device *device, enum device_priority priority,
                            struct device_stream **stream_out);
    void (*stream_close)(struct device_stream *stream);
    enum err (*wait)(struct device_stream *stream, int64_t deadline_ms);
    enum err (*stream_wait_event)(struct device_stream *stream, struct device_event *event);
    enum err (*copy)(struct device_stream *stream, void *to, const void *from, size_t bytes);
    enum err (*zero)(struct device_stream *stream, void *to, size_t bytes);
    void (*use)(struct device_stream *stream); /* the calling thread turns to this device */

    enum err (*event_open)(struct device *device, struct device_event **event_out);
    void (*event_close)(struct device_event *event);
    enum err (*event_record)(struct device_event *event, struct device_stream *stream);
    enum err (*event_is_done)(struct device_event *event, bool *done_out);
    enum err (*event_wait)(struct device_event *event, int64_t deadline_ms);

    enum err (*graph_begin)(struct device_stream *stream);
    enum err (*graph_end)(struct device_stream *stream, struct device_graph **graph_out);
    enum err (*graph_launch)(struct device_graph *graph, struct device_stream *stream);
    void (*graph_close)(struct device_graph *graph);
};

/* Each of these is the first member of a kind's own struct. */
struct device {
    const struct device_ops *ops;
    enum device_kind kind;
    char name[300]; /* CUDA's names have up to 255 characters */
    char why[200];  /* AUTO did not choose CUDA */
};

struct device_stream {
    struct device *device;
};

struct device_event {
    struct device *device;
};

struct device_graph {
    struct device *device;
};

ERR_MUST_CHECK enum err device_cpu_open(struct device **device_out);

/*
 * device_cuda.c, or device_cuda_absent.c in a program without CUDA. ERR_CONFIG, with words that
 * can stand alone, if there is no such device for this rank.
 */
ERR_MUST_CHECK enum err device_cuda_open(int local_rank, int local_size,
                                         struct device **device_out);

#endif
