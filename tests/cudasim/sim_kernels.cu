/* Kernels for the tests of the simulator: each feature once, and each fault once. */
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <mma.h>

#include "tests/cudasim/sim_kernels.h"
#include "trainer/kernels/kern_cuda_priv.h"

static __global__ void fill(float *x, int count, float value)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) {
        x[i] = value + (float)i;
    }
}

static __global__ void scale(float *y, const float *x, int count, float factor)
{
    for (int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); i < count;
         i += (int)(gridDim.x * blockDim.x)) {
        y[i] = factor * __ldg(&x[i]);
    }
}

static __device__ inline float warp_sum(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    }
    return value;
}

template <int WARPS> static __device__ float block_sum(float value)
{
    __shared__ float parts[WARPS];
    const int warp = (int)threadIdx.x / 32;
    const int lane = (int)threadIdx.x % 32;

    value = warp_sum(value);
    __syncthreads();
    if (lane == 0) {
        parts[warp] = value;
    }
    __syncthreads();
    return warp_sum(lane < WARPS ? parts[lane] : 0.0f);
}

template <int WARPS> static __global__ void row_sums(float *sums, const float *x, int columns)
{
    KERN_SHARED(float, row);
    float sum = 0.0f;

    for (int i = (int)threadIdx.x; i < columns; i += (int)blockDim.x) {
        row[i] = x[(size_t)blockIdx.x * columns + i];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < columns; i += (int)blockDim.x) {
        sum += row[columns - 1 - i];
    }
    sum = block_sum<WARPS>(sum);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}

static __global__ void multiply_16(float *c, const __nv_bfloat16 *a, const __nv_bfloat16 *b)
{
    using namespace nvcuda;
    __shared__ __align__(32) __nv_bfloat16 tile[16 * 16];
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;

    for (int i = (int)threadIdx.x; i < 256; i += 32) {
        tile[i] = b[i];
    }
    __syncwarp();
    wmma::load_matrix_sync(fa, a, 16);
    wmma::load_matrix_sync(fb, tile, 16);
    wmma::load_matrix_sync(fc, c, 16, wmma::mem_row_major);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
}

static __global__ void integers(int *y)
{
    __shared__ int counter;
    const unsigned lane = threadIdx.x % 32;
    int value;

    if (threadIdx.x == 0) {
        counter = 0;
    }
    __syncthreads();
    atomicAdd(&counter, 1);
    if (lane < 16) { /* halves of a warp, each by itself */
        value = __shfl_xor_sync(0x0000ffffu, (int)lane, 1);
    } else {
        value = __shfl_xor_sync(0xffff0000u, (int)lane, 2);
    }
    value += (int)__popc(__ballot_sync(0xffffffffu, lane % 2 == 0));
    value += __reduce_max_sync(0xffffffffu, (int)lane);
    value += __any_sync(0xffffffffu, lane == 7) + 2 * __all_sync(0xffffffffu, lane < 31);
    value += __shfl_down_sync(0xffffffffu, (int)lane, 4, 8);
    value += __syncthreads_count(threadIdx.x < 40);
    y[threadIdx.x] = value + counter;
}

static __global__ void ticket_sum(float *total, float *parts, unsigned *ticket)
{
    __shared__ bool is_last;

    if (threadIdx.x == 0) {
        parts[blockIdx.x] = (float)blockIdx.x;
        __threadfence();
        is_last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float sum = 0.0f;
        for (unsigned i = 0; i < gridDim.x; i++) {
            sum += parts[i];
        }
        *total = sum;
    }
}

static float table[4]; /* of the host: a GPU has __constant__ and cudaMemcpyToSymbol() */

static __global__ void read_table(float *y)
{
    y[threadIdx.x] = table[threadIdx.x];
}

/* ---- faults ---- */

static __global__ void divergent_barrier(float *x)
{
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        x[threadIdx.x] = 1.0f;
        __syncthreads();
    }
}

static __global__ void missing_barrier(float *x)
{
    __shared__ float row[64];

    row[threadIdx.x] = (float)threadIdx.x;
    x[threadIdx.x] = row[63 - threadIdx.x];
}

template <int COUNT> static __global__ void missing_barrier_of_template(float *x)
{
    __shared__ float row[COUNT];

    row[threadIdx.x] = (float)threadIdx.x;
    x[threadIdx.x] = row[COUNT - 1 - threadIdx.x];
}

static __global__ void missing_warp_barrier(float *x)
{
    __shared__ float row[32];

    row[threadIdx.x % 32] = (float)threadIdx.x;
    (void)__shfl_xor_sync(0xffffffffu, 1, 1); /* which orders no memory */
    x[threadIdx.x % 32] = row[31 - threadIdx.x % 32];
}

static __global__ void warp_barrier_alone(float *x)
{
    KERN_SHARED(float, row);

    if (threadIdx.x < 32) {
        row[threadIdx.x] = 1.0f;
        __syncwarp();
    }
    x[threadIdx.x] = row[3]; /* of the first warp, in the second one too */
}

static __global__ void barrier_in_loop(float *x, int count)
{
    for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) {
        x[i] = 1.0f;
        __syncwarp();
    }
    (void)__shfl_sync(0xffffffffu, x[threadIdx.x], 0);
}

static __global__ void wrong_mask(float *x)
{
    if (threadIdx.x < 8) {
        x[threadIdx.x] = __shfl_sync(0xffffff00u, 1.0f, 9);
    }
}

static __global__ void shared_unwritten(float *x)
{
    __shared__ float row[64];

    if (threadIdx.x < 32) {
        row[threadIdx.x] = 1.0f;
    }
    __syncthreads();
    x[threadIdx.x] = row[threadIdx.x];
}

static __global__ void shared_half_written(float *x)
{
    KERN_SHARED(unsigned short, row);

    row[2 * threadIdx.x] = 1;
    __syncthreads();
    x[threadIdx.x] = reinterpret_cast<const float *>(row)[threadIdx.x];
}

static __global__ void shared_beyond(float *x)
{
    KERN_SHARED(float, row);

    row[threadIdx.x] = x[threadIdx.x];
}

static __global__ void beyond(float *x, int count)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i <= count) {
        x[i] = 1.0f;
    }
}

static __global__ void beyond_by_vector(float *x, int count)
{
    if (threadIdx.x == 0) {
        reinterpret_cast<float4 *>(x)[count / 4] = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
    }
}

static __global__ void misaligned(float *x)
{
    *reinterpret_cast<float4 *>(x + 1 + threadIdx.x) = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
}

static __global__ void blocks_race(float *x)
{
    x[threadIdx.x] = (float)blockIdx.x;
}

extern "C" {
void launch_table(float *y, cudaStream_t stream)
{
    table[2] = 3.0f;
    KERN_LAUNCH(read_table, 1, 4, 0, stream, y);
}

void launch_fill(float *x, int count, float value, int block, cudaStream_t stream)
{
    KERN_LAUNCH(fill, (unsigned)((count + block - 1) / block), (unsigned)block, 0, stream, x, count,
                value);
}

void launch_scale(float *y, const float *x, int count, float factor, cudaStream_t stream)
{
    KERN_LAUNCH(scale, 3, 128, 0, stream, y, x, count, factor);
}

void launch_row_sums(float *sums, const float *x, int rows, int columns, cudaStream_t stream)
{
    KERN_LAUNCH((row_sums<4>), (unsigned)rows, 128, (size_t)columns * sizeof(float), stream, sums,
                x, columns);
}

void launch_wmma(float *c, const unsigned short *a, const unsigned short *b, cudaStream_t stream)
{
    KERN_LAUNCH(multiply_16, 1, 32, 0, stream, c, reinterpret_cast<const __nv_bfloat16 *>(a),
                reinterpret_cast<const __nv_bfloat16 *>(b));
}

void launch_integers(int *y, cudaStream_t stream)
{
    KERN_LAUNCH(integers, 1, 64, 0, stream, y);
}

void launch_ticket(float *total, float *parts, unsigned *ticket, int blocks, cudaStream_t stream)
{
    KERN_LAUNCH(ticket_sum, (unsigned)blocks, 32, 0, stream, total, parts, ticket);
}

void launch_fault(enum fault fault, float *x, int count, cudaStream_t stream)
{
    switch (fault) {
    case FAULT_DIVERGENT_BARRIER: KERN_LAUNCH(divergent_barrier, 1, 64, 0, stream, x); break;
    case FAULT_MISSING_BARRIER: KERN_LAUNCH(missing_barrier, 1, 64, 0, stream, x); break;
    case FAULT_MISSING_BARRIER_OF_TEMPLATE:
        KERN_LAUNCH((missing_barrier_of_template<64>), 2, 64, 0, stream, x);
        break;
    case FAULT_MISSING_WARP_BARRIER: KERN_LAUNCH(missing_warp_barrier, 1, 32, 0, stream, x); break;
    case FAULT_WARP_BARRIER_ALONE: KERN_LAUNCH(warp_barrier_alone, 1, 64, 32 * 4, stream, x); break;
    case FAULT_BARRIER_IN_LOOP: KERN_LAUNCH(barrier_in_loop, 1, 32, 0, stream, x, 40); break;
    case FAULT_WRONG_MASK: KERN_LAUNCH(wrong_mask, 1, 32, 0, stream, x); break;
    case FAULT_SHARED_UNWRITTEN: KERN_LAUNCH(shared_unwritten, 1, 64, 0, stream, x); break;
    case FAULT_SHARED_HALF_WRITTEN:
        KERN_LAUNCH(shared_half_written, 1, 64, 64 * 4, stream, x);
        break;
    case FAULT_SHARED_BEYOND: KERN_LAUNCH(shared_beyond, 1, 64, 63 * 4, stream, x); break;
    case FAULT_BEYOND: KERN_LAUNCH(beyond, 2, 64, 0, stream, x, count); break;
    case FAULT_BEYOND_BY_VECTOR: KERN_LAUNCH(beyond_by_vector, 1, 32, 0, stream, x, count); break;
    case FAULT_MISALIGNED: KERN_LAUNCH(misaligned, 1, 1, 0, stream, x); break;
    case FAULT_BLOCKS_RACE: KERN_LAUNCH(blocks_race, 2, 32, 0, stream, x); break;
    default: break;
    }
}

float host_reads(const float *x)
{
    return x[3];
}
}
