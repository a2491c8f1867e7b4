/*
 * tests/cudasim/cudasim.h - what stand-ins for libraries (cuBLASLt, NCCL) ask of the simulated
 * device: a place in a stream, and a note of what they read and write.
 *
 * Threads: cudasim_enqueue() any; the others only from within a run function.
 */
#ifndef TESTS_CUDASIM_CUDASIM_H
#define TESTS_CUDASIM_CUDASIM_H

#include <stdbool.h>
#include <stddef.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cudasim_progress { CUDASIM_DONE, CUDASIM_PENDING };

/* A kind of work. */
struct cudasim_work {
    /*
     * Does the work, on the device's thread. PENDING means: not yet, ask again; meanwhile other
     * streams go on, this one waits. `state` is the run's own, NULL at first, to be freed by it.
     */
    enum cudasim_progress (*run)(const void *payload, void **state);
    bool is_awaited_elsewhere; /* by other processes: it is never put off */
};

/*
 * Puts work with a copy of its payload [payload_bytes] at the end of a stream, or into the graph
 * that the stream captures. `name` (static) is for messages.
 */
cudaError_t cudasim_enqueue(cudaStream_t stream, const struct cudasim_work *work, const char *name,
                            const void *payload, size_t payload_bytes);

/*
 * Says that the work reads or writes a range. Ends the process with a message if it is not all
 * in one allocation of the device or in host memory that the device can reach, if it was never
 * written (reads), or if other work that is not ordered by streams and events touches it.
 */
void cudasim_reads(const void *memory, size_t bytes);
void cudasim_writes(const void *memory, size_t bytes);

/* One line on stderr, behind "cudasim: ", and abort(). For what a GPU would leave undefined. */
void cudasim_report(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* bfloat16 */
float cudasim_float_of_bf16(unsigned short bits);
unsigned short cudasim_bf16_of_float(float value);

#ifdef __cplusplus
}
#endif

#endif
