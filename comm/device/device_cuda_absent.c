/* In place of device_cuda.c in a program that is built without CUDA. */
#include "comm/device/device_priv.h"

bool device_has_cuda(void)
{
    return false;
}

enum err device_cuda_open(int local_rank, int local_size, struct device **device_out)
{
    (void)local_rank;
    (void)local_size;
    (void)device_out;
    return ERR_FAIL(ERR_CONFIG, "this program was built without CUDA");
}
