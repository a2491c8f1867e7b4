/*
 * tests/cudasim/sim_memory.c - device memory, pinned host memory, copies.
 *
 * All device memory comes from one reserved range, in pages that are used once: an address that
 * was freed never becomes valid again. An allocation is followed by a page that nobody may
 * touch; what the page size leaves over is watched byte by byte (sim_watch.c).
 *
 * As CUDA documents it, a copy to pageable host memory is not asynchronous; one from there to the device
 * has taken the bytes when the call returns, but may bring them there later.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cudasim/sim_priv.h"

#define PAGE_BYTES ((size_t)4096)
#define POISON 0xff /* four of them are a NaN */

struct range {
    char *begin;
    size_t bytes;
    bool is_live;
    bool is_registered; /* host: not allocated here */
    struct sim_place place;
};

struct table {
    struct range *ranges; /* device: by address */
    size_t count, room;
};

char *sim_arena;
static size_t arena_used;
static size_t live_bytes;
static struct table device_ranges;
static struct table host_ranges;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all above */

static size_t total_bytes(void)
{
    return (size_t)strtoull(sim_setting("CUDASIM_MEMORY_MB", "2048"), NULL, 10) << 20;
}

static struct range *add_range(struct table *table)
{
    if (table->count == table->room) {
        table->room = table->room > 0 ? 2 * table->room : 256;
        table->ranges = realloc(table->ranges, table->room * sizeof *table->ranges);
        if (table->ranges == NULL) {
            cudasim_report("no memory for a table of allocations");
        }
    }
    struct range *range = &table->ranges[table->count++];
    *range = (struct range){.is_live = true};
    sim_place_here(&range->place);
    return range;
}

/* The last device range that begins at or before an address, live or not. */
static struct range *device_range(const void *address)
{
    size_t low = 0;
    size_t high = device_ranges.count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (device_ranges.ranges[middle].begin <= (const char *)address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &device_ranges.ranges[low - 1] : NULL;
}

static struct range *host_range(const void *address)
{
    for (size_t i = 0; i < host_ranges.count; i++) {
        struct range *range = &host_ranges.ranges[i];
        if (range->is_live && (uintptr_t)address - (uintptr_t)range->begin < range->bytes) {
            return range;
        }
    }
    return NULL;
}

static bool is_in_arena(const void *memory)
{
    return (uintptr_t)memory - (uintptr_t)sim_arena < SIM_ARENA_BYTES;
}

enum sim_memory_kind sim_memory_kind(const void *memory)
{
    if (is_in_arena(memory)) {
        return SIM_DEVICE;
    }
    pthread_mutex_lock(&lock);
    const struct range *range = host_range(memory);
    pthread_mutex_unlock(&lock);
    return range != NULL ? SIM_PINNED : SIM_PAGEABLE;
}

void sim_memory_text(const void *address, char *text, size_t text_bytes)
{
    char made[300];

    pthread_mutex_lock(&lock);
    const struct range *range = device_range(address);
    if (range == NULL) {
        snprintf(text, text_bytes, "device memory below all allocations");
    } else {
        const size_t offset = (size_t)((const char *)address - range->begin);
        sim_places_text(&range->place, made, sizeof made);
        if (offset < range->bytes) {
            snprintf(text, text_bytes, "byte %zu of the %zu bytes %s at %s", offset, range->bytes,
                     range->is_live ? "allocated" : "freed, allocated", made);
        } else {
            snprintf(text, text_bytes, "%zu bytes behind the end of the %zu bytes allocated at %s",
                     offset - range->bytes, range->bytes, made);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- device memory ---- */

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    const size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    cudaError_t error = cudaSuccess;

    SIM_TRY(sim_start());
    SIM_TRY(sim_capture_refuse_unsafe());
    if (bytes == 0) {
        *memory = NULL;
        return cudaSuccess;
    }
    pthread_mutex_lock(&lock);
    if (bytes > total_bytes() - live_bytes || pages + PAGE_BYTES > SIM_ARENA_BYTES - arena_used) {
        error = cudaErrorMemoryAllocation;
    } else {
        if (mprotect(sim_arena + arena_used, pages, PROT_READ | PROT_WRITE) != 0) {
            cudasim_report("no memory for an allocation of %zu bytes", bytes);
        }
        struct range *range = add_range(&device_ranges);
        range->begin = sim_arena + arena_used;
        range->bytes = bytes;
        arena_used += pages + PAGE_BYTES;
        live_bytes += bytes;
        memset(range->begin, POISON, pages);
        sim_watch_allocated(range->begin, bytes);
        *memory = range->begin;
    }
    pthread_mutex_unlock(&lock);
    return sim_error(error);
}

cudaError_t cudaFree(void *memory)
{
    SIM_TRY(sim_start());
    if (memory == NULL) {
        return cudaSuccess;
    }
    SIM_TRY(cudaDeviceSynchronize());
    pthread_mutex_lock(&lock);
    struct range *range = is_in_arena(memory) ? device_range(memory) : NULL;
    const bool is_found = range != NULL && range->begin == memory && range->is_live;
    if (is_found) {
        const size_t pages = (range->bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        range->is_live = false;
        live_bytes -= range->bytes;
        sim_watch_freed(memory, range->bytes);
        madvise(memory, pages, MADV_DONTNEED);
        mprotect(memory, pages, PROT_NONE);
    }
    pthread_mutex_unlock(&lock);
    return sim_error(is_found ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    SIM_TRY(sim_start());
    pthread_mutex_lock(&lock);
    *total = total_bytes();
    *free_bytes = *total - live_bytes;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

/* ---- pinned host memory ---- */

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    (void)flags;
    SIM_TRY(sim_start());
    SIM_TRY(sim_capture_refuse_unsafe());
    if (bytes == 0) {
        *memory = NULL;
        return cudaSuccess;
    }
    char *made = aligned_alloc(PAGE_BYTES, (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
    if (made == NULL) {
        return sim_error(cudaErrorMemoryAllocation);
    }
    memset(made, POISON, bytes);
    pthread_mutex_lock(&lock);
    struct range *range = add_range(&host_ranges);
    range->begin = made;
    range->bytes = bytes;
    pthread_mutex_unlock(&lock);
    *memory = made;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
    return cudaHostAlloc(memory, bytes, cudaHostAllocDefault);
}

cudaError_t cudaHostRegister(void *memory, size_t bytes, unsigned flags)
{
    cudaError_t error = cudaSuccess;

    (void)flags;
    SIM_TRY(sim_start());
    if (memory == NULL || bytes == 0) {
        return sim_error(cudaErrorInvalidValue);
    }
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < host_ranges.count; i++) {
        const struct range *range = &host_ranges.ranges[i];
        if (range->is_live && range->begin < (char *)memory + bytes &&
            (char *)memory < range->begin + range->bytes) {
            error = cudaErrorHostMemoryAlreadyRegistered;
        }
    }
    if (error == cudaSuccess) {
        struct range *range = add_range(&host_ranges);
        range->begin = memory;
        range->bytes = bytes;
        range->is_registered = true;
    }
    pthread_mutex_unlock(&lock);
    return sim_error(error);
}

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};

static bool copy_touches(const void *payload, const void *argument)
{
    const struct copy *copy = payload;
    const struct range *range = argument;
    const char *end = range->begin + range->bytes;

    return ((const char *)copy->to < end && (const char *)copy->to + copy->bytes > range->begin) ||
           ((const char *)copy->from < end &&
            (const char *)copy->from + copy->bytes > range->begin);
}

static enum cudasim_progress run_copy(const void *payload, void **state)
{
    const struct copy *copy = payload;

    (void)state;
    cudasim_reads(copy->from, copy->bytes);
    cudasim_writes(copy->to, copy->bytes);
    memmove(copy->to, copy->from, copy->bytes);
    return CUDASIM_DONE;
}
static const struct cudasim_work copy_work = {.run = run_copy};

/* Bytes on their way to the device, which follow this in the payload. */
struct staged {
    void *to;
    size_t bytes;
};

static enum cudasim_progress run_staged(const void *payload, void **state)
{
    const struct staged *staged = payload;

    (void)state;
    cudasim_writes(staged->to, staged->bytes);
    memcpy(staged->to, staged + 1, staged->bytes);
    return CUDASIM_DONE;
}

static cudaError_t stage(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    static const struct cudasim_work work = {.run = run_staged};
    struct staged *staged = malloc(sizeof *staged + bytes);

    if (staged == NULL) {
        cudasim_report("no memory for a copy of %zu bytes", bytes);
    }
    *staged = (struct staged){to, bytes};
    memcpy(staged + 1, from, bytes);
    const cudaError_t error =
        cudasim_enqueue(stream, &work, "a copy to the device", staged, sizeof *staged + bytes);
    free(staged);
    return error;
}

/* Pinned memory that a copy still needs may not go. */
static void check_unused(const struct range *range, const char *what)
{
    pthread_mutex_lock(&sim_lock);
    const bool is_used = sim_queue_any(&copy_work, copy_touches, range);
    pthread_mutex_unlock(&sim_lock);
    if (is_used) {
        char made[300];
        sim_places_text(&range->place, made, sizeof made);
        cudasim_report("%s of memory that a copy which nobody waited for still uses (%zu bytes, "
                       "pinned at %s)",
                       what, range->bytes, made);
    }
}

static cudaError_t unpin(void *memory, bool is_registered, const char *what, cudaError_t missing)
{
    SIM_TRY(sim_start());
    pthread_mutex_lock(&lock);
    struct range *range = host_range(memory);
    const bool is_found =
        range != NULL && range->begin == memory && range->is_registered == is_registered;
    struct range copy = {0};
    if (is_found) {
        range->is_live = false;
        copy = *range;
    }
    pthread_mutex_unlock(&lock);
    if (!is_found) {
        return sim_error(missing);
    }
    check_unused(&copy, what);
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *memory)
{
    return unpin(memory, true, "cudaHostUnregister()", cudaErrorHostMemoryNotRegistered);
}

cudaError_t cudaFreeHost(void *memory)
{
    SIM_TRY(sim_start());
    if (memory == NULL) {
        return cudaSuccess;
    }
    SIM_TRY(unpin(memory, false, "cudaFreeHost()", cudaErrorInvalidValue));
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned flags)
{
    SIM_TRY(sim_start());
    if (flags != 0 || sim_memory_kind(host) != SIM_PINNED) {
        return sim_error(cudaErrorInvalidValue);
    }
    *device = host;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *memory)
{
    static const enum cudaMemoryType types[] = {cudaMemoryTypeUnregistered, cudaMemoryTypeHost,
                                                cudaMemoryTypeDevice};

    SIM_TRY(sim_start());
    const enum sim_memory_kind kind = sim_memory_kind(memory);
    void *pointer = (void *)(uintptr_t)memory;
    *attributes = (struct cudaPointerAttributes){
        .type = types[kind],
        .devicePointer = kind != SIM_PAGEABLE ? pointer : NULL,
        .hostPointer = kind != SIM_DEVICE ? pointer : NULL,
    };
    return cudaSuccess;
}

/* ---- copies ---- */

static cudaError_t check_kind(const void *to, const void *from, enum cudaMemcpyKind kind)
{
    const bool to_device = sim_memory_kind(to) == SIM_DEVICE;
    const bool from_device = sim_memory_kind(from) == SIM_DEVICE;

    switch (kind) {
    case cudaMemcpyDefault: return cudaSuccess;
    case cudaMemcpyHostToHost:
        return to_device || from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyHostToDevice:
        return !to_device || from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDeviceToHost:
        return to_device || !from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDeviceToDevice:
        return !to_device || !from_device ? cudaErrorInvalidValue : cudaSuccess;
    default: return cudaErrorInvalidMemcpyDirection;
    }
}

static const char *copy_name(const void *to, const void *from)
{
    const bool to_device = sim_memory_kind(to) == SIM_DEVICE;

    if (sim_memory_kind(from) == SIM_DEVICE) {
        return to_device ? "a copy within the device" : "a copy from the device";
    }
    return to_device ? "a copy to the device" : "a copy within the host";
}

/* What a copy will write is undefined from now on, unless copies before it need what is there. */
static void poison(void *to, size_t bytes)
{
    const struct range range = {.begin = to, .bytes = bytes};

    pthread_mutex_lock(&sim_lock);
    if (!sim_queue_any(&copy_work, copy_touches, &range)) {
        memset(to, POISON, bytes);
    }
    pthread_mutex_unlock(&sim_lock);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t handle)
{
    struct CUstream_st *stream;

    SIM_TRY(sim_stream_get(handle, "cudaMemcpyAsync", &stream));
    if (bytes == 0) {
        return cudaSuccess;
    }
    SIM_TRY(check_kind(to, from, kind));
    const struct copy copy = {to, from, bytes};
    const enum sim_memory_kind to_kind = sim_memory_kind(to);
    if (to_kind == SIM_DEVICE && sim_memory_kind(from) == SIM_PAGEABLE && stream->capture == NULL) {
        return sim_error(stage(to, from, bytes, handle));
    }
    if (to_kind == SIM_PINNED && stream->capture == NULL) {
        poison(to, bytes);
    }
    SIM_TRY(cudasim_enqueue(handle, &copy_work, copy_name(to, from), &copy, sizeof copy));
    if (stream->capture == NULL &&
        (to_kind == SIM_PAGEABLE || sim_memory_kind(from) == SIM_PAGEABLE)) {
        SIM_TRY(cudaStreamSynchronize(handle));
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    SIM_TRY(sim_start());
    SIM_TRY(sim_capture_refuse_unsafe());
    SIM_TRY(cudaMemcpyAsync(to, from, bytes, kind, NULL));
    return sim_error(cudaStreamSynchronize(NULL));
}

struct set {
    void *memory;
    int value;
    size_t bytes;
};

static enum cudasim_progress run_set(const void *payload, void **state)
{
    const struct set *set = payload;

    (void)state;
    cudasim_writes(set->memory, set->bytes);
    memset(set->memory, set->value, set->bytes);
    return CUDASIM_DONE;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    static const struct cudasim_work work = {.run = run_set};
    const struct set set = {memory, value, bytes};

    SIM_TRY(sim_start());
    if (bytes == 0) {
        return cudaSuccess;
    }
    if (sim_memory_kind(memory) == SIM_PAGEABLE) {
        return sim_error(cudaErrorInvalidValue);
    }
    return sim_error(cudasim_enqueue(stream, &work, "cudaMemsetAsync", &set, sizeof set));
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes)
{
    SIM_TRY(sim_start());
    SIM_TRY(sim_capture_refuse_unsafe());
    return cudaMemsetAsync(memory, value, bytes, NULL);
}

void sim_memory_leaks(void)
{
    for (size_t i = 0; i < device_ranges.count; i++) {
        if (device_ranges.ranges[i].is_live) {
            sim_leak(&device_ranges.ranges[i].place, "%zu bytes of device memory",
                     device_ranges.ranges[i].bytes);
        }
    }
    for (size_t i = 0; i < host_ranges.count; i++) {
        if (host_ranges.ranges[i].is_live) {
            sim_leak(&host_ranges.ranges[i].place, "%zu bytes of host memory, %s",
                     host_ranges.ranges[i].bytes,
                     host_ranges.ranges[i].is_registered ? "registered" : "pinned");
        }
    }
}
