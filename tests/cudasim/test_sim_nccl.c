/* The stand-in of NCCL: ranks are processes of their own, each with a device of its own. */
#define _GNU_SOURCE
#include <nccl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/cudasim/cudasim.h"
#include "tests/cudasim/sim_expect.h"
#include "tests/cudasim/sim_kernels.h"
#include "tests/support/test_suite.h"

#define NCCL_OK(call) ck_assert_str_eq(ncclGetErrorString(call), "no error")
#define DEADLINE_S 20

struct rank {
    int rank, size;
    ncclComm_t comm;
    cudaStream_t stream;
};

typedef void rank_fn(struct rank *self);

/* What all ranks of a test see. */
static struct {
    ncclUniqueId ids[2];
    int id_count;   /* how many are there */
    int gone_count; /* ranks that are through */
} * shared;

static void give_id(int i)
{
    NCCL_OK(ncclGetUniqueId(&shared->ids[i]));
    __atomic_store_n(&shared->id_count, i + 1, __ATOMIC_RELEASE);
}

static ncclUniqueId take_id(int i)
{
    while (__atomic_load_n(&shared->id_count, __ATOMIC_ACQUIRE) <= i) {
        usleep(1000);
    }
    return shared->ids[i];
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Runs `main_of` in a process for each rank; *statuses_out [size] are their wait statuses. */
static void run_ranks(int size, rank_fn *main_of, int *statuses_out)
{
    pid_t children[8];
    char devices[16];

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    snprintf(devices, sizeof devices, "%d", size);
    setenv("CUDASIM_DEVICES", devices, 0);
    fflush(NULL);
    for (int rank = 0; rank < size; rank++) {
        children[rank] = fork();
        if (children[rank] == 0) {
            struct rank self = {.rank = rank, .size = size};
            alarm(DEADLINE_S);
            main_of(&self);
            exit(EXIT_SUCCESS);
        }
    }
    for (int rank = 0; rank < size; rank++) {
        ck_assert_int_eq(waitpid(children[rank], &statuses_out[rank], 0), children[rank]);
    }
    munmap(shared, sizeof *shared);
}

static void run_well(int size, rank_fn *main_of)
{
    int statuses[8];

    run_ranks(size, main_of, statuses);
    for (int rank = 0; rank < size; rank++) {
        ck_assert_msg(statuses[rank] == 0, "rank %d ended with status 0x%x", rank, statuses[rank]);
    }
}

static void join(struct rank *self)
{
    if (self->rank == 0) {
        give_id(0);
    }
    CUDA_OK(cudaSetDevice(self->rank));
    NCCL_OK(ncclCommInitRank(&self->comm, self->size, take_id(0), self->rank));
    CUDA_OK(cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking));
}

static void leave(struct rank *self)
{
    NCCL_OK(ncclCommDestroy(self->comm));
    CUDA_OK(cudaStreamDestroy(self->stream));
}

static float *device_floats(const float *values, size_t count)
{
    float *memory;

    CUDA_OK(cudaMalloc((void **)&memory, count * sizeof *memory));
    CUDA_OK(cudaMemcpy(memory, values, count * sizeof *memory, cudaMemcpyHostToDevice));
    return memory;
}

/* ---- collectives ---- */

static float value_of(int rank, size_t i)
{
    return (float)(rank + 1) * 0.25f + (float)(i % 13);
}

static void check_sums(const struct rank *self, const float *device, size_t count, size_t first)
{
    float *host = malloc(count * sizeof *host);

    ck_assert_ptr_nonnull(host);
    CUDA_OK(cudaMemcpyAsync(host, device, count * sizeof *host, cudaMemcpyDefault, self->stream));
    for (size_t i = 0; i < count; i++) {
        float sum = 0.0f;
        for (int rank = 0; rank < self->size; rank++) {
            sum += value_of(rank, first + i);
        }
        if (host[i] != sum) { /* asserting as often as this takes seconds */
            ck_abort_msg("element %zu: %g, expected %g", i, (double)host[i], (double)sum);
        }
    }
    free(host);
}

static void sum_of_size(struct rank *self, size_t count)
{
    const size_t all = count * (size_t)self->size;
    float *values = malloc(all * sizeof *values);

    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < all; i++) {
        values[i] = value_of(self->rank, i);
    }
    float *from = device_floats(values, all);
    float *to = device_floats(values, all);
    NCCL_OK(ncclAllReduce(from, to, all, ncclFloat32, ncclSum, self->comm, self->stream));
    check_sums(self, to, all, 0);
    NCCL_OK(ncclReduceScatter(from, to, count, ncclFloat32, ncclSum, self->comm, self->stream));
    check_sums(self, to, count, count * (size_t)self->rank);
    NCCL_OK(ncclAllGather(to, from, count, ncclFloat32, self->comm, self->stream));
    check_sums(self, from, all, 0);
    CUDA_OK(cudaMemcpyAsync(to, values, all * sizeof *values, cudaMemcpyDefault, self->stream));
    NCCL_OK(ncclAllReduce(to, to, all, ncclFloat32, ncclSum, self->comm, self->stream));
    check_sums(self, to, all, 0); /* in place */
    CUDA_OK(cudaFree(from));
    CUDA_OK(cudaFree(to));
    free(values);
}

static void all_collectives(struct rank *self)
{
    const size_t counts[] = {1, 3, 1000, 70001};

    join(self);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        sum_of_size(self, counts[i]);
    }
    leave(self);
}

START_TEST(collectives__are_the_sums_in_the_order_of_ranks)
{
    run_well(_i, all_collectives);
}
END_TEST

static void broadcast_and_pairs(struct rank *self)
{
    const float mine[2] = {(float)self->rank, 100.0f};
    const int next = (self->rank + 1) % self->size;
    const int before = (self->rank + self->size - 1) % self->size;
    float host[4];

    join(self);
    float *x = device_floats(mine, 2);
    float *y = device_floats(mine, 2);
    NCCL_OK(ncclGroupStart()); /* round a ring, and each to itself */
    NCCL_OK(ncclSend(x, 1, ncclFloat32, next, self->comm, self->stream));
    NCCL_OK(ncclRecv(y, 1, ncclFloat32, before, self->comm, self->stream));
    NCCL_OK(ncclSend(x, 1, ncclFloat32, self->rank, self->comm, self->stream));
    NCCL_OK(ncclRecv(y + 1, 1, ncclFloat32, self->rank, self->comm, self->stream));
    NCCL_OK(ncclGroupEnd());
    CUDA_OK(cudaMemcpyAsync(host, y, 8, cudaMemcpyDefault, self->stream));
    ck_assert_float_eq(host[0], (float)before);
    ck_assert_float_eq(host[1], (float)self->rank);
    NCCL_OK(ncclGroupStart());
    NCCL_OK(ncclBroadcast(x, x, 1, ncclFloat32, 1, self->comm, self->stream));
    NCCL_OK(ncclAllReduce(y, y, 1, ncclFloat32, ncclAvg, self->comm, self->stream));
    NCCL_OK(ncclGroupEnd());
    CUDA_OK(cudaMemcpyAsync(host, x, 4, cudaMemcpyDefault, self->stream));
    CUDA_OK(cudaMemcpyAsync(host + 1, y, 4, cudaMemcpyDefault, self->stream));
    ck_assert_float_eq(host[0], 1.0f);
    ck_assert_float_eq(host[1], 1.0f);
    CUDA_OK(cudaFree(x));
    CUDA_OK(cudaFree(y));
    leave(self);
}

START_TEST(group__sends_receives_and_broadcasts)
{
    run_well(3, broadcast_and_pairs);
}
END_TEST

static void types(struct rank *self)
{
    unsigned short bf16[2] = {cudasim_bf16_of_float(1.5f), cudasim_bf16_of_float(-2.0f)};
    int64_t integers[2] = {self->rank, 10 - self->rank};
    void *x;
    void *y;

    join(self);
    CUDA_OK(cudaMalloc(&x, sizeof bf16));
    CUDA_OK(cudaMalloc(&y, sizeof integers));
    CUDA_OK(cudaMemcpy(x, bf16, sizeof bf16, cudaMemcpyHostToDevice));
    CUDA_OK(cudaMemcpy(y, integers, sizeof integers, cudaMemcpyHostToDevice));
    NCCL_OK(ncclAllReduce(x, x, 2, ncclBfloat16, ncclSum, self->comm, self->stream));
    NCCL_OK(ncclAllReduce(y, y, 2, ncclInt64, ncclMax, self->comm, self->stream));
    CUDA_OK(cudaStreamSynchronize(self->stream));
    CUDA_OK(cudaMemcpy(bf16, x, sizeof bf16, cudaMemcpyDeviceToHost));
    CUDA_OK(cudaMemcpy(integers, y, sizeof integers, cudaMemcpyDeviceToHost));
    ck_assert_float_eq(cudasim_float_of_bf16(bf16[0]), 3.0f);
    ck_assert_int_eq(integers[0], 1);
    ck_assert_int_eq(integers[1], 10);
    CUDA_OK(cudaFree(x));
    CUDA_OK(cudaFree(y));
    leave(self);
}

START_TEST(collectives__know_bfloat16_and_integers)
{
    run_well(2, types);
}
END_TEST

static void captured(struct rank *self)
{
    const float mine[1] = {(float)(self->rank + 1)};
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float host;

    join(self);
    float *x = device_floats(mine, 1);
    CUDA_OK(cudaStreamBeginCapture(self->stream, cudaStreamCaptureModeThreadLocal));
    NCCL_OK(ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, self->comm, self->stream));
    CUDA_OK(cudaStreamEndCapture(self->stream, &graph));
    CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; i++) {
        CUDA_OK(cudaGraphLaunch(exec, self->stream));
    }
    CUDA_OK(cudaMemcpyAsync(&host, x, 4, cudaMemcpyDefault, self->stream));
    ck_assert_float_eq(host, 12.0f); /* (1 + 2) * 2 * 2 */
    CUDA_OK(cudaGraphExecDestroy(exec));
    CUDA_OK(cudaGraphDestroy(graph));
    CUDA_OK(cudaFree(x));
    leave(self);
}

START_TEST(graph__replays_collectives)
{
    run_well(2, captured);
}
END_TEST

/* ---- not blocking ---- */

static ncclResult_t settle(ncclComm_t comm, ncclResult_t result)
{
    const double end = now_s() + DEADLINE_S;

    while (result == ncclInProgress && now_s() < end) {
        NCCL_OK(ncclCommGetAsyncError(comm, &result));
        usleep(100);
    }
    return result;
}

static ncclResult_t join_without_blocking(struct rank *self, int id)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;

    config.blocking = 0;
    CUDA_OK(cudaSetDevice(self->rank));
    CUDA_OK(cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking));
    return settle(self->comm, ncclCommInitRankConfig(&self->comm, self->size, take_id(id),
                                                     self->rank, &config));
}

static void without_blocking(struct rank *self)
{
    const float mine[1] = {1.0f};
    ncclResult_t state;
    float host;

    if (self->rank == 0) {
        give_id(0);
    }
    NCCL_OK(join_without_blocking(self, 0));
    float *x = device_floats(mine, 1);
    ck_assert_int_eq(ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, self->comm, self->stream),
                     ncclInProgress);
    ck_assert_int_eq(ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, self->comm, self->stream),
                     ncclInvalidArgument); /* too soon */
    NCCL_OK(ncclCommGetAsyncError(self->comm, &state));
    ck_assert_int_eq(state, ncclInProgress);
    NCCL_OK(settle(self->comm, state));
    CUDA_OK(cudaMemcpyAsync(&host, x, 4, cudaMemcpyDefault, self->stream));
    ck_assert_float_eq(host, 2.0f);
    NCCL_OK(settle(self->comm, ncclCommFinalize(self->comm)));
    CUDA_OK(cudaFree(x));
    leave(self);
}

START_TEST(communicator__that_does_not_block_is_in_progress_until_asked)
{
    run_well(2, without_blocking);
}
END_TEST

/* ---- failures ---- */

/* What becomes of a sum that is started now. */
static ncclResult_t await_sum(struct rank *self, const float *x, float seconds)
{
    const double end = now_s() + (double)seconds;
    ncclResult_t state =
        ncclAllReduce(x, (float *)(uintptr_t)x, 1, ncclFloat32, ncclSum, self->comm, self->stream);

    while (state == ncclInProgress || state == ncclSuccess) {
        if (state == ncclSuccess && cudaStreamQuery(self->stream) == cudaSuccess) {
            return ncclSuccess;
        }
        if (now_s() > end) {
            return ncclInProgress;
        }
        NCCL_OK(ncclCommGetAsyncError(self->comm, &state));
        usleep(1000);
    }
    return state;
}

/* Rank 1 dies at its third sum; the others tell, abort, and go on without it. */
static void survivors(struct rank *self)
{
    const float mine[1] = {1.0f};
    float host;

    if (self->rank == 0) {
        give_id(0);
    }
    NCCL_OK(join_without_blocking(self, 0));
    float *x = device_floats(mine, 1);
    NCCL_OK(await_sum(self, x, DEADLINE_S));
    NCCL_OK(await_sum(self, x, DEADLINE_S));
    ck_assert_int_eq(await_sum(self, x, DEADLINE_S), ncclRemoteError);
    ck_assert_ptr_nonnull(strstr(ncclGetLastError(self->comm), "rank 1"));
    ck_assert_int_eq(cudaStreamQuery(self->stream), cudaErrorNotReady); /* it still waits */
    NCCL_OK(ncclCommAbort(self->comm));
    CUDA_OK(cudaStreamSynchronize(self->stream));
    CUDA_OK(cudaStreamDestroy(self->stream));
    self->rank = self->rank > 1 ? self->rank - 1 : self->rank;
    self->size--;
    if (self->rank == 0) {
        give_id(1);
    }
    NCCL_OK(join_without_blocking(self, 1));
    CUDA_OK(cudaMemcpy(x, mine, 4, cudaMemcpyHostToDevice));
    NCCL_OK(await_sum(self, x, DEADLINE_S));
    CUDA_OK(cudaMemcpy(&host, x, 4, cudaMemcpyDeviceToHost));
    ck_assert_float_eq(host, 2.0f);
    CUDA_OK(cudaFree(x));
    leave(self);
}

START_TEST(peer__that_dies_is_an_error_and_the_others_go_on)
{
    int statuses[3];

    setenv("CUDASIM_NCCL_FAULT", "die@3/1", 1);
    run_ranks(3, survivors, statuses);
    ck_assert_int_eq(statuses[0], 0);
    ck_assert(WIFSIGNALED(statuses[1]));
    ck_assert_int_eq(statuses[2], 0);
}
END_TEST

/* With a rank that hangs, all hang until the deadline; with an error, that rank knows. */
static bool is_error_wanted;
static void faulty(struct rank *self)
{
    const float mine[1] = {1.0f};
    const bool is_error = is_error_wanted;

    join(self);
    float *x = device_floats(mine, 1);
    const ncclResult_t expected = !is_error         ? ncclInProgress
                                  : self->rank == 1 ? ncclSystemError
                                                    : ncclRemoteError; /* once rank 1 has left */
    ck_assert_int_eq(await_sum(self, x, is_error ? DEADLINE_S : 0.5f), expected);
    NCCL_OK(ncclCommAbort(self->comm));
    CUDA_OK(cudaStreamSynchronize(self->stream));
    CUDA_OK(cudaStreamDestroy(self->stream));
    CUDA_OK(cudaFree(x));
}

START_TEST(fault__is_a_hang_or_an_error)
{
    is_error_wanted = _i == 1;
    setenv("CUDASIM_NCCL_FAULT", is_error_wanted ? "error@1/1" : "hang@1/1", 1);
    run_well(2, faulty);
}
END_TEST

static void other_order(struct rank *self)
{
    const float mine[3] = {1.0f, 2.0f, 3.0f};

    join(self);
    float *x = device_floats(mine, 3);
    if (self->rank == 0) {
        NCCL_OK(ncclBroadcast(x, x, 3, ncclFloat32, 0, self->comm, self->stream));
    }
    ck_assert_int_eq(await_sum(self, x, 1.0f), ncclInProgress);
    NCCL_OK(ncclCommAbort(self->comm));
    CUDA_OK(cudaStreamSynchronize(self->stream));
    CUDA_OK(cudaStreamDestroy(self->stream));
    CUDA_OK(cudaFree(x));
}

static void run_other_order(const void *unused)
{
    (void)unused;
    run_well(2, other_order);
}

START_TEST(order__that_differs_hangs_and_is_named)
{
    char said[4096];

    const int status = sim_run(run_other_order, NULL, said, sizeof said);
    ck_assert_msg(status == 0, "status 0x%x: %s", status, said);
    ck_assert_msg(strstr(said, "rank 1 is in ncclAllReduce of 1 elements, but rank 0 sends for "
                               "ncclBroadcast of 3") != NULL,
                  "%s", said);
}
END_TEST

static void on_one_device(struct rank *self)
{
    if (self->rank == 0) {
        give_id(0);
    }
    ck_assert_int_eq(ncclCommInitRank(&self->comm, self->size, take_id(0), self->rank),
                     ncclInvalidUsage);
    ck_assert_ptr_nonnull(strstr(ncclGetLastError(NULL), "duplicate GPU: ranks 0 and 1"));
    __atomic_add_fetch(&shared->gone_count, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&shared->gone_count, __ATOMIC_ACQUIRE) < self->size) {
        usleep(1000); /* rank 0 holds what the others still ask for */
    }
}

START_TEST(init__refuses_two_ranks_on_a_device)
{
    run_well(2, on_one_device);
}
END_TEST

static void alone(struct rank *self)
{
    give_id(0);
    self->size = 2; /* but the other one never comes */
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclResult_t state;
    config.blocking = 0;
    ck_assert_int_eq(ncclCommInitRankConfig(&self->comm, 2, take_id(0), 0, &config),
                     ncclInProgress);
    usleep(100000);
    NCCL_OK(ncclCommGetAsyncError(self->comm, &state));
    ck_assert_int_eq(state, ncclInProgress);
    NCCL_OK(ncclCommAbort(self->comm));
}

START_TEST(init__can_be_aborted)
{
    run_well(1, alone);
}
END_TEST

START_TEST(init__without_a_device_is_a_cuda_error)
{
    ncclUniqueId id;
    ncclComm_t comm;

    setenv("CUDASIM_DEVICES", "0", 1);
    NCCL_OK(ncclGetUniqueId(&id));
    ck_assert_int_eq(ncclCommInitRank(&comm, 1, id, 0), ncclUnhandledCudaError);
}
END_TEST

static void leave_comm(const void *unused)
{
    ncclUniqueId id;
    ncclComm_t comm;

    (void)unused;
    NCCL_OK(ncclGetUniqueId(&id));
    NCCL_OK(ncclCommInitRank(&comm, 1, id, 0));
}

static void race_with_sum(const void *unused)
{
    const float mine[1] = {1.0f};
    ncclUniqueId id;
    struct rank self;

    (void)unused;
    NCCL_OK(ncclGetUniqueId(&id));
    NCCL_OK(ncclCommInitRank(&self.comm, 1, id, 0));
    CUDA_OK(cudaStreamCreateWithFlags(&self.stream, cudaStreamNonBlocking));
    float *x = device_floats(mine, 1);
    launch_fill(x, 1, 2.0f, 32, NULL); /* in another stream, and nobody waits */
    (void)ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, self.comm, self.stream);
    cudaDeviceSynchronize();
}

START_TEST(mistake__is_named)
{
    sim_expect_exit(leave_comm, NULL, 70,
                    "an NCCL communicator (rank 0 of 1), made at test_sim_nccl.c:");
    sim_expect_report(race_with_sum, NULL, "race: ", "no event or wait orders the two");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("sim_nccl");
    TCase *tcase = tcase_create("all");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, collectives__are_the_sums_in_the_order_of_ranks, 1, 5);
    tcase_add_test(tcase, group__sends_receives_and_broadcasts);
    tcase_add_test(tcase, collectives__know_bfloat16_and_integers);
    tcase_add_test(tcase, graph__replays_collectives);
    tcase_add_test(tcase, communicator__that_does_not_block_is_in_progress_until_asked);
    tcase_add_test(tcase, peer__that_dies_is_an_error_and_the_others_go_on);
    tcase_add_loop_test(tcase, fault__is_a_hang_or_an_error, 0, 2);
    tcase_add_test(tcase, order__that_differs_hangs_and_is_named);
    tcase_add_test(tcase, init__refuses_two_ranks_on_a_device);
    tcase_add_test(tcase, init__can_be_aborted);
    tcase_add_test(tcase, init__without_a_device_is_a_cuda_error);
    tcase_add_test(tcase, mistake__is_named);
    suite_add_tcase(suite, tcase);
    return suite;
}
