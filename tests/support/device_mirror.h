/*
 * tests/support/device_mirror.h - functions on device memory, called as if they took host memory.
 *
 * Cases of kernels hand out arrays of the host. A version of a device is wrapped: what it gets is a
 * mirror of each array in device memory, between guards, at the same place modulo 64 bytes; the
 * same array is mirrored once, so that what may be the same still is. When the call is over, arrays
 * that may be written are copied back whole, with the gaps between rows; the others must be as they
 * were.
 *
 *      struct device_mirror m = device_mirror_begin();
 *      kern_add_cuda(device_mirror_out(&m, to, n), device_mirror_in(&m, from, n), n);
 *      device_mirror_end(&m);
 */
#ifndef TESTS_SUPPORT_DEVICE_MIRROR_H
#define TESTS_SUPPORT_DEVICE_MIRROR_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "trainer/kernels/kern_cuda.h"

enum {
    MIRROR_SPANS_MAX = 16,
    MIRROR_GUARD_BYTES = 256,
    MIRROR_FILL = 0x5a,
    MIRROR_DEADLINE_MS = 60000,
};

struct device_mirror_span {
    void *host, *device; /* the array; the allocation, which begins with a guard */
    size_t bytes, offset;
    bool is_written;
};

struct device_mirror {
    struct device_mirror_span spans[MIRROR_SPANS_MAX];
    int count;
};

/* The device of this process, opened by its first call and closed at its end. */
static struct device *mirror_device;
static struct device_stream *mirror_stream;

static inline void device_mirror_check(enum err status)
{
    if (status != ERR_OK) {
        char text[500];
        err_text(text, sizeof(text));
        ck_abort_msg("%s", text);
    }
}

static inline void device_mirror_close_all(void)
{
    kern_cuda_close();
    device_use(NULL);
    device_stream_close(mirror_stream);
    device_close(mirror_device);
}

static inline struct device_mirror device_mirror_begin(void)
{
    if (mirror_device == NULL) {
        device_mirror_check(device_open(DEVICE_CUDA, 0, 1, &mirror_device));
        device_mirror_check(
            device_stream_open(mirror_device, DEVICE_PRIORITY_NORMAL, &mirror_stream));
        device_use(mirror_stream);
        device_mirror_check(kern_cuda_open());
        ck_assert_int_eq(atexit(device_mirror_close_all), 0);
    }
    return (struct device_mirror){.count = 0};
}

/* One allocation as the host has it while nothing runs: guard, array, guard. */
static inline unsigned char *device_mirror_image(const struct device_mirror_span *span)
{
    unsigned char *image = malloc(span->offset + span->bytes + MIRROR_GUARD_BYTES);

    ck_assert_ptr_nonnull(image);
    memset(image, MIRROR_FILL, span->offset + span->bytes + MIRROR_GUARD_BYTES);
    return image;
}

static inline void *device_mirror_of(struct device_mirror *m, const void *host, size_t bytes,
                                     bool is_written)
{
    struct device_mirror_span *span = m->spans;

    if (host == NULL) {
        return NULL;
    }
    for (; span < m->spans + m->count; span++) {
        const ptrdiff_t at = (const char *)host - (const char *)span->host;
        if (at >= 0 && (size_t)at + bytes <= span->bytes) {
            span->is_written = span->is_written || is_written;
            return (char *)span->device + span->offset + at;
        }
    }
    ck_assert_int_lt(m->count, MIRROR_SPANS_MAX);
    m->count++;
    *span = (struct device_mirror_span){(void *)(uintptr_t)host, NULL, bytes,
                                        MIRROR_GUARD_BYTES + (uintptr_t)host % 64, is_written};
    unsigned char *image = device_mirror_image(span);
    memcpy(image + span->offset, host, bytes);
    const size_t all = span->offset + bytes + MIRROR_GUARD_BYTES;
    device_mirror_check(device_memory_open(mirror_device, all, "an array", &span->device));
    device_mirror_check(device_copy(mirror_stream, span->device, image, all));
    device_mirror_check(device_wait(mirror_stream, MIRROR_DEADLINE_MS));
    free(image);
    return (char *)span->device + span->offset;
}

static inline void device_mirror_span_end(struct device_mirror_span *span)
{
    const size_t all = span->offset + span->bytes + MIRROR_GUARD_BYTES;
    unsigned char *image = malloc(all);

    ck_assert_ptr_nonnull(image);
    device_mirror_check(device_copy(mirror_stream, image, span->device, all));
    device_mirror_check(device_wait(mirror_stream, MIRROR_DEADLINE_MS));
    device_memory_close(mirror_device, span->device);
    for (size_t i = 0; i < all; i++) {
        if ((i < span->offset || i >= span->offset + span->bytes) && image[i] != MIRROR_FILL) {
            ck_abort_msg("byte %ld of %ld was written", (long)i - (long)span->offset,
                         (long)span->bytes);
        }
    }
    if (span->is_written) {
        memcpy(span->host, image + span->offset, span->bytes);
    } else if (memcmp(span->host, image + span->offset, span->bytes) != 0) {
        ck_abort_msg("an array that is read was written");
    }
    free(image);
}

static inline void device_mirror_end(struct device_mirror *m)
{
    device_mirror_check(device_wait(mirror_stream, MIRROR_DEADLINE_MS));
    for (int i = 0; i < m->count; i++) {
        device_mirror_span_end(&m->spans[i]);
    }
}

static inline const float *device_mirror_in(struct device_mirror *m, const float *host,
                                            int64_t count)
{
    return device_mirror_of(m, host, (size_t)count * sizeof(*host), false);
}

static inline float *device_mirror_out(struct device_mirror *m, float *host, int64_t count)
{
    return device_mirror_of(m, host, (size_t)count * sizeof(*host), true);
}

static inline const int32_t *device_mirror_in_i32(struct device_mirror *m, const int32_t *host,
                                                  int64_t count)
{
    return device_mirror_of(m, host, (size_t)count * sizeof(*host), false);
}

static inline int32_t *device_mirror_out_i32(struct device_mirror *m, int32_t *host, int64_t count)
{
    return device_mirror_of(m, host, (size_t)count * sizeof(*host), true);
}

/* Elements of rows [rows, width] with a stride: up to the end of the last row. */
static inline int64_t device_mirror_extent(int64_t rows, int64_t width, int64_t ld)
{
    return rows == 0 ? 0 : (rows - 1) * ld + width;
}

#endif
