/*
 * tests/cudasim/sim_device.c - the device itself: how many there are, what they say of
 * themselves, errors, and how the simulation begins and ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cudasim/sim_block_priv.h"

#define DEVICE_COUNT_MAX 64

static _Thread_local cudaError_t last_error;
static _Thread_local int current_device;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_started;
static bool is_forked; /* from a process that had started it: CUDA does not work there */

const char *sim_setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static int device_count(void)
{
    const long count = strtol(sim_setting("CUDASIM_DEVICES", "1"), NULL, 10);
    return count < 0 || count > DEVICE_COUNT_MAX ? 0 : (int)count;
}

cudaError_t sim_error(cudaError_t error)
{
    if (error != cudaSuccess && error != cudaErrorNotReady) {
        last_error = error;
    }
    return error;
}

static void at_exit(void)
{
    if (!is_forked) {
        sim_leaks_at_exit();
    }
}

static void after_fork(void)
{
    is_forked = is_started;
}

static void start_once(void)
{
    sim_watch_open();
    sim_queue_start();
    pthread_atfork(NULL, NULL, after_fork);
    atexit(at_exit);
    is_started = true;
}

cudaError_t sim_start(void)
{
    if (device_count() == 0) {
        return cudaErrorInsufficientDriver;
    }
    if (is_forked) {
        return cudaErrorInitializationError;
    }
    pthread_once(&once, start_once);
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = device_count() > 0 ? CUDART_VERSION : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = device_count();
    return sim_error(*count > 0 ? cudaSuccess : cudaErrorInsufficientDriver);
}

static cudaError_t check_device(int device)
{
    if (device_count() == 0) {
        return cudaErrorInsufficientDriver;
    }
    return device >= 0 && device < device_count() ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaSetDevice(int device)
{
    SIM_TRY(check_device(device));
    SIM_TRY(sim_start());
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    SIM_TRY(check_device(0));
    *device = current_device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    size_t free_bytes;
    size_t total_bytes;

    SIM_TRY(check_device(device));
    SIM_TRY(cudaMemGetInfo(&free_bytes, &total_bytes));
    *prop = (struct cudaDeviceProp){
        .name = "Simulated device",
        .totalGlobalMem = total_bytes,
        .sharedMemPerBlock = SIM_SHARED_BYTES,
        .warpSize = 32,
        .maxThreadsPerBlock = 1024,
        .maxThreadsDim = {1024, 1024, 64},
        .maxGridSize = {0x7fffffff, 65535, 65535},
        .totalConstMem = 65536,
        .major = 8,
        .minor = 0,
        .multiProcessorCount = 4,
        .canMapHostMemory = 1,
        .asyncEngineCount = 2,
        .unifiedAddressing = 1,
        .maxThreadsPerMultiProcessor = 2048,
        .streamPrioritiesSupported = 1,
        .sharedMemPerMultiprocessor = (size_t)164 << 10,
        .sharedMemPerBlockOptin = SIM_SHARED_BYTES_OPTIN,
        .pciBusID = device + 1,
    };
    snprintf(prop->uuid.bytes, sizeof prop->uuid.bytes, "simulated %d", device);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
    struct cudaDeviceProp prop;

    SIM_TRY(cudaGetDeviceProperties(&prop, device));
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock: *value = prop.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)prop.sharedMemPerBlock; break;
    case cudaDevAttrWarpSize: *value = prop.warpSize; break;
    case cudaDevAttrClockRate: *value = 1000000; break;
    case cudaDevAttrMultiProcessorCount: *value = prop.multiProcessorCount; break;
    case cudaDevAttrPciBusId: *value = prop.pciBusID; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = prop.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrAsyncEngineCount: *value = prop.asyncEngineCount; break;
    case cudaDevAttrComputeCapabilityMajor: *value = prop.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = prop.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)prop.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)prop.sharedMemPerBlockOptin; break;
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrHostRegisterSupported: *value = 1; break;
    case cudaDevAttrIntegrated:
    case cudaDevAttrPciDeviceId:
    case cudaDevAttrPciDomainId: *value = 0; break;
    default: return sim_error(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *bus_id, int bytes, int device)
{
    SIM_TRY(check_device(device));
    if (bytes < 13) {
        return sim_error(cudaErrorInvalidValue);
    }
    snprintf(bus_id, (size_t)bytes, "0000:%02X:00.0", (unsigned)device + 1);
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    SIM_TRY(check_device(device));
    SIM_TRY(check_device(peer));
    *can = device != peer;
    return cudaSuccess;
}

static _Thread_local uint64_t peers; /* of the thread's current device 0; enough for a rank */

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags)
{
    SIM_TRY(check_device(peer));
    if (flags != 0 || peer == current_device) {
        return sim_error(cudaErrorInvalidValue);
    }
    if ((peers >> peer & 1) != 0) {
        return sim_error(cudaErrorPeerAccessAlreadyEnabled);
    }
    peers |= (uint64_t)1 << peer;
    return cudaSuccess;
}

cudaError_t cudaDeviceDisablePeerAccess(int peer)
{
    SIM_TRY(check_device(peer));
    if ((peers >> peer & 1) == 0) {
        return sim_error(cudaErrorPeerAccessNotEnabled);
    }
    peers &= ~((uint64_t)1 << peer);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    SIM_TRY(sim_start());
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    return sim_error(cudaDeviceSynchronize());
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

#define ERRORS(X)                                                                                  \
    X(cudaSuccess, "no error")                                                                     \
    X(cudaErrorInvalidValue, "invalid argument")                                                   \
    X(cudaErrorMemoryAllocation, "out of memory")                                                  \
    X(cudaErrorInitializationError, "initialization error")                                        \
    X(cudaErrorInvalidConfiguration, "invalid configuration argument")                             \
    X(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy")                        \
    X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version") \
    X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                     \
    X(cudaErrorInvalidDevice, "invalid device ordinal")                                            \
    X(cudaErrorInvalidResourceHandle, "invalid resource handle")                                   \
    X(cudaErrorNotReady, "device not ready")                                                       \
    X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                         \
    X(cudaErrorLaunchOutOfResources, "too many resources requested for launch")                    \
    X(cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled")                         \
    X(cudaErrorPeerAccessNotEnabled, "peer access has not been enabled")                           \
    X(cudaErrorHostMemoryAlreadyRegistered,                                                        \
      "part or all of the requested memory range is already mapped")                               \
    X(cudaErrorHostMemoryNotRegistered,                                                            \
      "pointer does not correspond to a registered memory region")                                 \
    X(cudaErrorLaunchFailure, "unspecified launch failure")                                        \
    X(cudaErrorNotSupported, "operation not supported")                                            \
    X(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")       \
    X(cudaErrorStreamCaptureInvalidated,                                                           \
      "operation failed due to a previous error during capture")                                   \
    X(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture "        \
                                   "sequences")                                                    \
    X(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began")     \
    X(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work")                        \
    X(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream")  \
    X(cudaErrorStreamCaptureImplicit,                                                              \
      "operation would make the legacy stream depend on a capturing blocking stream")              \
    X(cudaErrorCapturedEvent,                                                                      \
      "operation not permitted on an event last recorded in a capturing stream")                   \
    X(cudaErrorStreamCaptureWrongThread,                                                           \
      "attempt to terminate a thread-local capture sequence from another thread")

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define NAME(code, text)                                                                           \
    case code: return #code;
        ERRORS(NAME)
    default: return "unrecognized error code";
    }
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
#define TEXT(code, text)                                                                           \
    case code: return text;
        ERRORS(TEXT)
    default: return "unrecognized error code";
    }
}
