/*
 * exits/exits_judge_cuda.cu - exits_judge.h on a CUDA device: a thread a sample, then a thread a sum.
 *
 * Everything about a sample lies in global memory, for the number of exits is not known when this is
 * compiled: a micro-batch is some hundred kilobytes, which the caches hold.
 */
#include "comm/device/device_cuda_priv.h"
#include "exits/exits_judge.h"
#include "trainer/kernels/kern_cuda_priv.h"

/* A sample's judgement is long: without a bound its registers leave room for 7 blocks, not 9. */
enum { THREADS = 128, SAMPLE_BLOCKS = 9 };

static __global__ void __launch_bounds__(THREADS, SAMPLE_BLOCKS)
    judge_samples(struct exits_judge judge)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < judge.n) {
        exits_judge_sample(&judge, i);
    }
}

static __global__ void judge_sums(struct exits_judge judge)
{
    const int64_t which = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (which < exits_judge_sum_count(judge.G)) {
        exits_judge_sum(&judge, which);
    }
}

static unsigned blocks_for(int64_t count)
{
    return (unsigned)((count + THREADS - 1) / THREADS);
}

extern "C" void exits_judge_cuda(const struct exits_judge *judge)
{
    cudaStream_t stream = device_cuda_current();

    KERN_LAUNCH(judge_samples, blocks_for(judge->n), THREADS, 0, stream, *judge);
    KERN_LAUNCH(judge_sums, blocks_for(exits_judge_sum_count(judge->G)), THREADS, 0, stream,
                *judge);
}
