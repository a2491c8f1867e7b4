#include "launch/run_device.h"

#include <string.h>

#include "trainer/kernels/kern_cuda.h"

static enum err open_own(const struct comm_group *world, struct run_device *device)
{
    ERR_TRY(
        device_open(DEVICE_CUDA, comm_local_rank(world), comm_local_size(world), &device->device));
    const enum err status =
        device_stream_open(device->device, DEVICE_PRIORITY_NORMAL, &device->stream);
    if (status != ERR_OK) {
        run_device_close(device);
        return status;
    }
    device_use(device->stream);
    return ERR_OK;
}

/* The first rank that cannot have CUDA; -1 if all can. */
static enum err agree(bool has_cuda, struct comm_group *world, int64_t deadline_ms, int *rank_out)
{
    const int64_t mine = has_cuda ? 0 : comm_size(world) - comm_rank(world);
    int64_t max = 0;

    ERR_TRY(comm_agree_max(world, mine, deadline_ms, &max));
    *rank_out = max == 0 ? -1 : comm_size(world) - (int)max;
    return ERR_OK;
}

enum err run_device_open(enum device_kind wanted, struct comm_group *world, int64_t deadline_ms,
                         struct run_device *device_out)
{
    struct run_device device = {0};
    int without = -1;

    if (wanted == DEVICE_CPU || (wanted == DEVICE_AUTO && !device_has_cuda())) {
        ERR_TRY(device_open(DEVICE_CPU, 0, 1, &device.device));
        *device_out = device;
        return ERR_OK;
    }
    const enum err status = open_own(world, &device);
    if (status != ERR_OK && status != ERR_CONFIG) {
        return status;
    }
    if (status != ERR_OK) { /* now, for the agreement may replace it */
        err_text(device.why, sizeof(device.why));
    }
    enum err agreed = agree(status == ERR_OK, world, deadline_ms, &without);
    if (agreed == ERR_OK && without < 0) {
        *device_out = device;
        return ERR_OK;
    }
    const struct run_device opened = device;
    run_device_close(&device);
    memcpy(device.why, opened.why, sizeof(device.why));
    ERR_TRY(agreed);
    ERR_TRY(comm_broadcast(world, device.why, sizeof(device.why), without, deadline_ms));
    if (wanted == DEVICE_CUDA) {
        return ERR_FAIL(ERR_CONFIG, "device: cuda: %s (rank %d)", device.why, without);
    }
    err_clear();
    ERR_TRY(device_open(DEVICE_CPU, 0, 1, &device.device));
    *device_out = device;
    return ERR_OK;
}

void run_device_close(struct run_device *device)
{
    if (device->stream != NULL) {
        kern_cuda_close();
        device_use(NULL);
        device_stream_close(device->stream);
    }
    device_close(device->device);
    *device = (struct run_device){0};
}
