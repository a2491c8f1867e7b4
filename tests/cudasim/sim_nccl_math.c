/* tests/cudasim/sim_nccl_math.c - reductions of two arrays, element by element. */
#include "tests/cudasim/sim_nccl_priv.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): T is a type */
#define REDUCE(T)                                                                                  \
    do {                                                                                           \
        T *sums = to;                                                                              \
        const T *others = from;                                                                    \
        for (size_t i = 0; i < count; i++) {                                                       \
            const T a = sums[i];                                                                   \
            const T b = others[i];                                                                 \
            sums[i] = op == ncclProd  ? (T)(a * b)                                                 \
                      : op == ncclMax ? (a > b ? a : b)                                            \
                      : op == ncclMin ? (a < b ? a : b)                                            \
                                      : (T)(a + b);                                                \
        }                                                                                          \
    } while (0)
/* NOLINTEND(bugprone-macro-parentheses) */

static float reduce_two(float a, float b, ncclRedOp_t op)
{
    switch (op) {
    case ncclProd: return a * b;
    case ncclMax: return a > b ? a : b;
    case ncclMin: return a < b ? a : b;
    default: return a + b;
    }
}

static void reduce_bf16(unsigned short *sums, const unsigned short *others, size_t count,
                        ncclRedOp_t op)
{
    for (size_t i = 0; i < count; i++) {
        sums[i] = cudasim_bf16_of_float(
            reduce_two(cudasim_float_of_bf16(sums[i]), cudasim_float_of_bf16(others[i]), op));
    }
}

void nccl_math_reduce(void *to, const void *from, size_t count, ncclDataType_t type, ncclRedOp_t op)
{
    switch (type) {
    case ncclInt32: REDUCE(int32_t); break;
    case ncclUint32: REDUCE(uint32_t); break;
    case ncclInt64: REDUCE(int64_t); break;
    case ncclUint64: REDUCE(uint64_t); break;
    case ncclFloat64: REDUCE(double); break;
    case ncclBfloat16: reduce_bf16(to, from, count, op); break;
    default: REDUCE(float); break;
    }
}

void nccl_math_scale(void *to, size_t count, ncclDataType_t type, int divisor)
{
    for (size_t i = 0; i < count; i++) {
        if (type == ncclFloat64) {
            ((double *)to)[i] /= divisor;
        } else if (type == ncclBfloat16) {
            unsigned short *value = &((unsigned short *)to)[i];
            *value = cudasim_bf16_of_float(cudasim_float_of_bf16(*value) / (float)divisor);
        } else {
            ((float *)to)[i] /= (float)divisor;
        }
    }
}

bool nccl_math_knows(ncclDataType_t type, ncclRedOp_t op)
{
    const bool is_float = type == ncclFloat32 || type == ncclFloat64 || type == ncclBfloat16;
    const bool is_int =
        type == ncclInt32 || type == ncclUint32 || type == ncclInt64 || type == ncclUint64;

    return is_float || (is_int && op != ncclAvg);
}
