/* exits/exits_distill_cuda.cu - exits_distill.h on a CUDA device: a thread a sample. */
#include "comm/device/device_cuda_priv.h"
#include "exits/exits_distill.h"
#include "trainer/kernels/kern_cuda_priv.h"

enum { THREADS = 128 };

static __global__ void distill_rows(struct exits_distill_rows rows)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < rows.n) {
        exits_distill_row(&rows, i);
    }
}

extern "C" void exits_distill_cuda(const struct exits_distill_rows *rows)
{
    KERN_LAUNCH(distill_rows, (unsigned)((rows->n + THREADS - 1) / THREADS), THREADS, 0,
                device_cuda_current(), *rows);
}
