/* In place of the CUDA kernels in a program that is built without CUDA. */
#include "trainer/kernels/kern_cuda.h"
#include "trainer/kernels/kern_ops_cuda.h"

enum err kern_ops_cuda(struct device *device, struct kern_ops *ops_out)
{
    (void)device;
    (void)ops_out;
    return ERR_FAIL(ERR_CONFIG, "kernels for CUDA are not in this program: it was built without");
}

void kern_cuda_close_stream(void)
{
}

void kern_cuda_close(void)
{
}
