/*
 * comm/device/device_cuda_priv.h - what is CUDA behind comm/device, for the few files that call
 * CUDA themselves: the kernels (trainer/kernels) and NCCL (comm/group/comm_nccl*).
 *
 * Threads: any; a call of CUDA by a thread comes after its device_use(), or after
 * device_cuda_enter(), which turn the thread to the rank's device.
 */
#ifndef COMM_DEVICE_DEVICE_CUDA_PRIV_H
#define COMM_DEVICE_DEVICE_CUDA_PRIV_H

#include <cuda_runtime_api.h>

#include "comm/device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of streams and events of a CUDA device only. Lent; they end with theirs. */
cudaStream_t device_cuda_stream(const struct device_stream *stream);
cudaEvent_t device_cuda_event(const struct device_event *event);

/* The stream on which this thread's kernels run: that of its device_use(), which there must be. */
cudaStream_t device_cuda_current(void);

/* Turns the calling thread to the device, as CUDA wants each thread to. Errors: ERR_DEVICE. */
ERR_MUST_CHECK enum err device_cuda_enter(const struct device *device);

/* A result of CUDA as one of ours, `call` with it in the message: ERR_NO_MEMORY or ERR_DEVICE. */
ERR_MUST_CHECK enum err device_cuda_result(cudaError_t result, const char *call);

#define DEVICE_CUDA_TRY(call) ERR_TRY(device_cuda_result((call), #call))

#ifdef __cplusplus
}
#endif

#endif
