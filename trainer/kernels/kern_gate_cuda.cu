/*
 * Gates on the device: forward a thread a sample, backward a thread a parameter and an eighth of the
 * samples. A gate is a thousandth of its layer; what counts is that it is one launch each way.
 */
#include "trainer/kernels/kern_gate.h"

#include "trainer/kernels/kern_launch_cuda_priv.h"
#include "trainer/kernels/kern_pack_cuda_priv.h"

enum {
    FEATURES = 4,
    THREADS = 128,
    LINES = 8, /* of backward's block: each takes every eighth sample */
};

struct forward_args {
    float *a, *relu, *features;
    float entropy_scale;
    struct kern_gate gate;
    int64_t N;
};

/* b + w f, added up from left to right, each operation rounded once. */
static __device__ inline float weigh(float b, const float *w, const float (&f)[FEATURES])
{
#pragma unroll
    for (int k = 0; k < FEATURES; k++) {
        b = __fadd_rn(b, __fmul_rn(w[k], f[k]));
    }
    return b;
}

static __global__ void __launch_bounds__(THREADS) forward_kernel(const struct forward_args p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, H = p.gate.hidden;
    float f[FEATURES];

    if (i >= p.N) {
        return;
    }
    kern_load_pack<FEATURES>(f, p.features + i * FEATURES, 0, FEATURES, false);
    f[1] = __fmul_rn(f[1], p.entropy_scale);
    f[3] = __fmul_rn(f[3], p.entropy_scale);
    kern_store_pack<FEATURES>(p.features + i * FEATURES, f, 0, FEATURES, false);
    if (H == 0) {
        p.a[i] = weigh(*p.gate.bias, p.gate.out, f);
        return;
    }
    float sum = *p.gate.bias;
    for (int64_t h = 0; h < H; h++) {
        const float x = weigh(p.gate.up_bias[h], p.gate.up + h * FEATURES, f);
        const float hidden = x > 0 ? x : 0;
        p.relu[i * H + h] = hidden;
        sum = __fadd_rn(sum, __fmul_rn(p.gate.out[h], hidden));
    }
    p.a[i] = sum;
}

void kern_gate_forward_cuda(float *a, float *relu, float *features, float entropy_scale,
                            const struct kern_gate *gate, int64_t N)
{
    const struct forward_args args = {a, relu, features, entropy_scale, *gate, N};

    if (N > 0) {
        KERN_LAUNCH(forward_kernel, kern_grid(kern_blocks(N, THREADS)), THREADS, 0,
                    device_cuda_current(), args);
    }
}

struct backward_args {
    struct kern_gate gradients, gate;
    const float *da, *relu, *features;
    int64_t N;
    bool accumulate;
};

static __host__ __device__ inline int64_t parameter_count(int64_t H)
{
    return H == 0 ? FEATURES + 1 : H * (FEATURES + 2) + 1;
}

/* What sample i adds to the gradient of parameter s: up [H, 4], up_bias [H], out, bias. */
static __device__ inline float term(const struct backward_args *p, int64_t s, int64_t i)
{
    const int64_t H = p->gate.hidden;
    const float da = p->da[i], *f = p->features + i * FEATURES;

    if (s == parameter_count(H) - 1) {
        return da;
    }
    if (H == 0) {
        return __fmul_rn(da, f[s]);
    }
    const int64_t h = s < FEATURES * H ? s / FEATURES : (s - FEATURES * H) % H;
    const float hidden = p->relu[i * H + h];
    if (s >= (FEATURES + 1) * H) {
        return __fmul_rn(da, hidden);
    }
    const float dx = hidden > 0 ? __fmul_rn(da, p->gate.out[h]) : 0;
    return s < FEATURES * H ? __fmul_rn(dx, f[s % FEATURES]) : dx;
}

static __device__ inline float *place(const struct backward_args *p, int64_t s)
{
    const int64_t H = p->gate.hidden;

    if (s == parameter_count(H) - 1) {
        return p->gradients.bias;
    }
    if (H == 0) {
        return p->gradients.out + s;
    }
    return s < FEATURES * H         ? p->gradients.up + s
           : s < (FEATURES + 1) * H ? p->gradients.up_bias + (s - FEATURES * H)
                                    : p->gradients.out + (s - (FEATURES + 1) * H);
}

static __global__ void __launch_bounds__(KERN_WARP *LINES)
    backward_kernel(const struct backward_args p)
{
    __shared__ float lines[LINES][KERN_WARP];
    const int line = threadIdx.x / KERN_WARP, lane = threadIdx.x % KERN_WARP;
    const int64_t s = (int64_t)blockIdx.x * KERN_WARP + lane;
    const bool is_there = s < parameter_count(p.gate.hidden);
    float sum = 0;

    for (int64_t i = line; i < p.N && is_there; i += LINES) {
        sum = __fadd_rn(sum, term(&p, s, i));
    }
    lines[line][lane] = sum;
    __syncthreads();
    if (line == 0 && is_there) {
        float *to = place(&p, s);
        for (int l = 1; l < LINES; l++) {
            sum = __fadd_rn(sum, lines[l][lane]);
        }
        *to = p.accumulate ? __fadd_rn(*to, sum) : sum;
    }
}

void kern_gate_backward_cuda(const struct kern_gate *gradients, const float *da, const float *relu,
                             const float *features, const struct kern_gate *gate, int64_t N,
                             bool accumulate)
{
    const struct backward_args args = {*gradients, *gate, da, relu, features, N, accumulate};
    const int64_t blocks = kern_blocks(parameter_count(gate->hidden), KERN_WARP);

    KERN_LAUNCH(backward_kernel, kern_grid(blocks), KERN_WARP * LINES, 0, device_cuda_current(),
                args);
}
