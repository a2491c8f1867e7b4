/* exits/exits_ensemble_cuda.cu - exits_ensemble.h on a CUDA device: a thread a sample, or a parameter. */
#include "comm/device/device_cuda_priv.h"
#include "exits/exits_ensemble.h"
#include "trainer/kernels/kern_cuda_priv.h"

enum { THREADS = 128 };

static __global__ void answer_samples(struct exits_ensemble ensemble)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < ensemble.n) {
        exits_ensemble_sample(&ensemble, i);
    }
}

static __global__ void slopes(struct exits_ensemble ensemble)
{
    const int64_t which = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (which < ensemble.members + ensemble.K) {
        exits_ensemble_slope(&ensemble, which);
    }
}

static unsigned blocks_for(int64_t count)
{
    return (unsigned)((count + THREADS - 1) / THREADS);
}

extern "C" void exits_ensemble_forward_cuda(const struct exits_ensemble *ensemble)
{
    KERN_LAUNCH(answer_samples, blocks_for(ensemble->n), THREADS, 0, device_cuda_current(),
                *ensemble);
}

extern "C" void exits_ensemble_backward_cuda(const struct exits_ensemble *ensemble)
{
    KERN_LAUNCH(slopes, blocks_for(ensemble->members + ensemble->K), THREADS, 0,
                device_cuda_current(), *ensemble);
}
