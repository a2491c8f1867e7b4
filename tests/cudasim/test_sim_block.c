/* Kernels on the simulated device: what they compute, and what is said of wrong ones. */
#include "tests/cudasim/sim_expect.h"
#include "tests/cudasim/sim_kernels.h"
#include "tests/support/test_suite.h"

#define COUNT 1000

static float *device_floats(size_t count)
{
    float *memory;

    CUDA_OK(cudaMalloc((void **)&memory, count * sizeof *memory));
    CUDA_OK(cudaMemset(memory, 0, count * sizeof *memory));
    return memory;
}

START_TEST(launch__covers_all_elements_with_any_block_size)
{
    const int blocks[] = {1, 31, 32, 33, 256, 1024};
    float host[COUNT];

    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
        float *x = device_floats(COUNT);
        launch_fill(x, COUNT, 3.0f, blocks[b], NULL);
        CUDA_OK(cudaGetLastError());
        CUDA_OK(cudaMemcpy(host, x, sizeof host, cudaMemcpyDeviceToHost));
        for (int i = 0; i < COUNT; i++) {
            ck_assert_float_eq(host[i], 3.0f + (float)i);
        }
        CUDA_OK(cudaFree(x));
    }
}
END_TEST

START_TEST(launch__sums_rows_through_shared_memory_and_shuffles)
{
    const int rows = 7;
    const int columns = 333;
    float sums[7];
    float *x = device_floats((size_t)rows * (size_t)columns);
    float *y = device_floats((size_t)rows);

    launch_fill(x, rows * columns, 0.0f, 128, NULL);
    launch_row_sums(y, x, rows, columns, NULL);
    CUDA_OK(cudaMemcpy(sums, y, sizeof sums, cudaMemcpyDeviceToHost));
    for (int row = 0; row < rows; row++) {
        const int first = row * columns;
        const int sum = columns * first + columns * (columns - 1) / 2;
        ck_assert_float_eq(sums[row], (float)sum);
    }
    CUDA_OK(cudaFree(x));
    CUDA_OK(cudaFree(y));
}
END_TEST

START_TEST(wmma__multiplies_as_plain_loops_do)
{
    unsigned short a[256];
    unsigned short b[256];
    float c[256];
    unsigned short *da;
    unsigned short *db;
    float *dc = device_floats(256);

    CUDA_OK(cudaMalloc((void **)&da, sizeof a));
    CUDA_OK(cudaMalloc((void **)&db, sizeof b));
    for (int i = 0; i < 256; i++) { /* small integers, which bfloat16 holds */
        const float fa = (float)(i * 7 % 13 - 6);
        const float fb = (float)(i * 5 % 11 - 5);
        uint32_t bits;
        memcpy(&bits, &fa, sizeof bits);
        a[i] = (unsigned short)(bits >> 16);
        memcpy(&bits, &fb, sizeof bits);
        b[i] = (unsigned short)(bits >> 16);
        c[i] = (float)i;
    }
    CUDA_OK(cudaMemcpy(da, a, sizeof a, cudaMemcpyHostToDevice));
    CUDA_OK(cudaMemcpy(db, b, sizeof b, cudaMemcpyHostToDevice));
    CUDA_OK(cudaMemcpy(dc, c, sizeof c, cudaMemcpyHostToDevice));
    launch_wmma(dc, da, db, NULL);
    CUDA_OK(cudaMemcpy(c, dc, sizeof c, cudaMemcpyDeviceToHost));
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 16; column++) {
            int expected = row * 16 + column;
            for (int k = 0; k < 16; k++) {
                const int fa = (row * 16 + k) * 7 % 13 - 6;
                const int fb = (column * 16 + k) * 5 % 11 - 5;
                expected += fa * fb;
            }
            ck_assert_float_eq(c[row * 16 + column], (float)expected);
        }
    }
    CUDA_OK(cudaFree(da));
    CUDA_OK(cudaFree(db));
    CUDA_OK(cudaFree(dc));
}
END_TEST

START_TEST(warp__votes_shuffles_and_reduces)
{
    int y[64];
    int *dy;

    CUDA_OK(cudaMalloc((void **)&dy, sizeof y));
    launch_integers(dy, NULL);
    CUDA_OK(cudaMemcpy(y, dy, sizeof y, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++) {
        const int lane = i % 32;
        const int half = lane < 16 ? lane ^ 1 : lane ^ 2;
        const int down = lane % 8 < 4 ? lane + 4 : lane;
        ck_assert_int_eq(y[i], half + 16 + 31 + 1 + down + 40 + 64);
    }
    CUDA_OK(cudaFree(dy));
}
END_TEST

START_TEST(atomics__order_the_last_block_behind_the_others)
{
    float *total = device_floats(1);
    float *parts = device_floats(50);
    unsigned *ticket;
    float sum;

    CUDA_OK(cudaMalloc((void **)&ticket, sizeof *ticket));
    CUDA_OK(cudaMemset(ticket, 0, sizeof *ticket));
    launch_ticket(total, parts, ticket, 50, NULL);
    CUDA_OK(cudaMemcpy(&sum, total, sizeof sum, cudaMemcpyDeviceToHost));
    ck_assert_float_eq(sum, 1225.0f);
    CUDA_OK(cudaFree(total));
    CUDA_OK(cudaFree(parts));
    CUDA_OK(cudaFree(ticket));
}
END_TEST

START_TEST(constants__are_read)
{
    float *y = device_floats(4);
    float host[4];

    launch_table(y, NULL);
    CUDA_OK(cudaMemcpy(host, y, sizeof host, cudaMemcpyDeviceToHost));
    ck_assert_float_eq(host[2], 3.0f);
    CUDA_OK(cudaFree(y));
}
END_TEST

START_TEST(launch__refuses_what_a_device_refuses)
{
    float *x = device_floats(4);

    launch_fill(x, 4, 0.0f, 2048, NULL); /* threads of a block */
    CUDA_FAILS(cudaErrorInvalidConfiguration, cudaGetLastError());
    launch_fill(x, 0, 0.0f, 32, NULL); /* no block */
    CUDA_FAILS(cudaErrorInvalidConfiguration, cudaGetLastError());
    launch_row_sums(x, x, 1, 13000, NULL); /* dynamic shared memory, 52000 bytes */
    CUDA_FAILS(cudaErrorInvalidValue, cudaGetLastError());
    CUDA_OK(cudaGetLastError());
    CUDA_OK(cudaFree(x));
}
END_TEST

struct expected {
    enum fault fault;
    const char *first, *second;
};
static const struct expected expected[] = {
    {FAULT_DIVERGENT_BARRIER, "divergent barriers: some threads are in __syncthreads() at",
     "thread 16 comes to sim_kernels.cu:"},
    {FAULT_MISSING_BARRIER, "missing_barrier, block (0,0,0)", "at sim_kernels.cu:"},
    {FAULT_MISSING_BARRIER_OF_TEMPLATE, "(missing_barrier_of_template<64>), block (0,0,0)",
     "at sim_kernels.cu:"},
    {FAULT_MISSING_WARP_BARRIER, "race: kernel missing_warp_barrier", "of the same block writes"},
    {FAULT_WARP_BARRIER_ALONE,
     "race: kernel warp_barrier_alone, block (0,0,0), thread (32,0,0) reads",
     "thread (3,0,0) of the same block writes it"},
    {FAULT_BARRIER_IN_LOOP,
     "divergent barriers: thread 0 waits at sim_kernels.cu:", "thread 8 at sim_kernels.cu:"},
    {FAULT_WRONG_MASK, "wrong_mask", "the calling lane is not in its own mask"},
    {FAULT_SHARED_UNWRITTEN, "no thread of the block has written this yet", "sim_kernels.cu:"},
    {FAULT_SHARED_HALF_WRITTEN, "no thread of the block has written this yet", "half_written"},
    {FAULT_SHARED_BEYOND, "out of bounds of dynamic shared memory", "sim_kernels.cu:"},
    {FAULT_BEYOND, "out of bounds: kernel beyond, block (1,0,0), thread (36,0,0) writes 4 bytes",
     "0 bytes behind the end of the 400 bytes allocated at test_sim_block.c:"},
    {FAULT_BEYOND_BY_VECTOR, "beyond_by_vector, block (0,0,0), thread (0,0,0) writes 16 bytes",
     "0 bytes behind the end"},
    {FAULT_MISALIGNED, "misaligned access: kernel misaligned", "no multiple of 16"},
    {FAULT_BLOCKS_RACE, "race: kernel blocks_race, block (1,0,0)", "of another block writes"},
    {FAULT_UNWRITTEN, "nobody has written this", "kernel scale"},
    {FAULT_HOST_MEMORY, "a kernel touches host memory that is not pinned", "kernel scale"},
    {FAULT_BY_HOST, "host code touches device memory", "sim_kernels.cu:"},
};

static void run_fault(const void *argument)
{
    const struct expected *fault = argument;
    float *x = device_floats(100);
    float *fresh;

    CUDA_OK(cudaMalloc((void **)&fresh, COUNT));
    float *heap = malloc(COUNT);
    switch (fault->fault) {
    case FAULT_UNWRITTEN: launch_scale(x, fresh, 10, 1.0f, NULL); break;
    case FAULT_HOST_MEMORY: launch_scale(x, heap, 10, 1.0f, NULL); break;
    case FAULT_BY_HOST: (void)host_reads(x); break;
    default: launch_fault(fault->fault, x, 100, NULL); break;
    }
    cudaDeviceSynchronize();
}

START_TEST(fault__is_named)
{
    const struct expected *fault = &expected[_i];
    sim_expect_report(run_fault, fault, fault->first, fault->second);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("sim_block");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, launch__covers_all_elements_with_any_block_size);
    tcase_add_test(tcase, launch__sums_rows_through_shared_memory_and_shuffles);
    tcase_add_test(tcase, wmma__multiplies_as_plain_loops_do);
    tcase_add_test(tcase, warp__votes_shuffles_and_reduces);
    tcase_add_test(tcase, atomics__order_the_last_block_behind_the_others);
    tcase_add_test(tcase, constants__are_read);
    tcase_add_test(tcase, launch__refuses_what_a_device_refuses);
    tcase_add_loop_test(tcase, fault__is_named, 0, sizeof expected / sizeof expected[0]);
    suite_add_tcase(suite, tcase);
    return suite;
}
