#include "launch/run_device.h"

#include <stdio.h>

/*
 * This version has the CUDA device, but not yet the training on it. Once it has, this function and
 * its call go.
 */
static enum err refuse_cuda(struct run_device *device)
{
    char name[200];

    if (device_kind(device->device) != DEVICE_CUDA) {
        return ERR_OK;
    }
    snprintf(name, sizeof(name), "%.150s", device_name(device->device));
    run_device_close(device);
    return ERR_FAIL(ERR_CONFIG, "%s is there, but this version does not train on CUDA yet", name);
}

static enum err open_own(enum device_kind wanted, const struct comm_group *world,
                         struct run_device *device)
{
    ERR_TRY(device_open(wanted, comm_local_rank(world), comm_local_size(world), &device->device));
    return refuse_cuda(device);
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
    const enum err status = open_own(DEVICE_CUDA, world, &device);
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
    device_close(device.device);
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
    device_close(device->device);
    *device = (struct run_device){0};
}
