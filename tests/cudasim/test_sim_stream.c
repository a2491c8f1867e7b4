/* Streams, events, copies and the end of a process on the simulated device. */
#define _GNU_SOURCE
#include "tests/cudasim/sim_expect.h"
#include "tests/cudasim/sim_kernels.h"
#include "tests/support/test_suite.h"

#include <math.h>

#define COUNT 256
#define BYTES (COUNT * sizeof(float))

struct rig {
    cudaStream_t a, b;
    cudaEvent_t event;
    float *x, *y, *host;
};

static struct rig rig_open(void)
{
    struct rig rig;

    CUDA_OK(cudaStreamCreateWithFlags(&rig.a, cudaStreamNonBlocking));
    CUDA_OK(cudaStreamCreateWithPriority(&rig.b, cudaStreamNonBlocking, -1));
    CUDA_OK(cudaEventCreateWithFlags(&rig.event, cudaEventDisableTiming));
    CUDA_OK(cudaMalloc((void **)&rig.x, BYTES));
    CUDA_OK(cudaMalloc((void **)&rig.y, BYTES));
    CUDA_OK(cudaHostAlloc((void **)&rig.host, BYTES, cudaHostAllocDefault));
    return rig;
}

static void rig_close(struct rig *rig)
{
    CUDA_OK(cudaStreamDestroy(rig->a));
    CUDA_OK(cudaStreamDestroy(rig->b));
    CUDA_OK(cudaEventDestroy(rig->event));
    CUDA_OK(cudaFree(rig->x));
    CUDA_OK(cudaFree(rig->y));
    CUDA_OK(cudaFreeHost(rig->host));
}

START_TEST(copy__has_not_happened_before_somebody_waits)
{
    struct rig rig = rig_open();

    rig.host[5] = 7.0f;
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    CUDA_OK(cudaMemcpyAsync(rig.host, rig.x, BYTES, cudaMemcpyDeviceToHost, rig.a));
    ck_assert(isnan(rig.host[5]));
    CUDA_OK(cudaStreamSynchronize(rig.a));
    ck_assert_float_eq(rig.host[5], 6.0f);
    rig_close(&rig);
}
END_TEST

START_TEST(copy__reads_pinned_memory_when_it_runs)
{
    struct rig rig = rig_open();
    float back[COUNT];

    for (int i = 0; i < COUNT; i++) {
        rig.host[i] = 1.0f;
    }
    CUDA_OK(cudaMemcpyAsync(rig.x, rig.host, BYTES, cudaMemcpyHostToDevice, rig.a));
    rig.host[3] = 9.0f; /* a mistake that shows */
    CUDA_OK(cudaMemcpyAsync(back, rig.x, BYTES, cudaMemcpyDefault, rig.a));
    ck_assert_float_eq(back[3], 9.0f); /* to pageable memory: not asynchronous */
    rig_close(&rig);
}
END_TEST

START_TEST(copy__has_taken_pageable_memory_when_it_returns)
{
    struct rig rig = rig_open();
    float heap[COUNT] = {0};

    heap[3] = 1.0f;
    CUDA_OK(cudaMemcpyAsync(rig.x, heap, BYTES, cudaMemcpyHostToDevice, rig.a));
    heap[3] = 9.0f;
    ck_assert_int_eq(cudaStreamQuery(rig.a), cudaErrorNotReady);
    CUDA_OK(cudaMemcpyAsync(heap, rig.x, BYTES, cudaMemcpyDefault, rig.a));
    ck_assert_float_eq(heap[3], 1.0f);
    rig_close(&rig);
}
END_TEST

START_TEST(copy__refuses_a_direction_that_is_not_so)
{
    struct rig rig = rig_open();

    CUDA_FAILS(cudaErrorInvalidValue, cudaMemcpy(rig.x, rig.y, BYTES, cudaMemcpyDeviceToHost));
    CUDA_FAILS(cudaErrorInvalidValue, cudaMemcpy(rig.host, rig.host, 4, cudaMemcpyHostToDevice));
    CUDA_FAILS(cudaErrorInvalidValue, cudaGetLastError());
    CUDA_OK(cudaGetLastError());
    rig_close(&rig);
}
END_TEST

START_TEST(order__early_runs_work_without_being_asked)
{
    setenv("CUDASIM_ORDER", "early", 1);
    setenv("CUDASIM_PUT_OFF_MS", "1000000", 1);
    struct rig rig = rig_open();

    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    CUDA_OK(cudaMemcpyAsync(rig.host, rig.x, BYTES, cudaMemcpyDeviceToHost, rig.a));
    CUDA_OK(cudaEventRecord(rig.event, rig.a));
    volatile const float *host = rig.host;
    for (int i = 0; i < 10000 && isnan(host[5]); i++) {
        usleep(1000);
    }
    ck_assert_float_eq(host[5], 6.0f);
    CUDA_OK(cudaEventSynchronize(rig.event));
    rig_close(&rig);
}
END_TEST

START_TEST(order__late_puts_nothing_off_for_ever)
{
    setenv("CUDASIM_PUT_OFF_MS", "20", 1);
    struct rig rig = rig_open();

    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    CUDA_OK(cudaMemcpyAsync(rig.host, rig.x, BYTES, cudaMemcpyDeviceToHost, rig.a));
    volatile const float *host = rig.host;
    for (int i = 0; i < 10000 && isnan(host[5]); i++) {
        usleep(1000);
    }
    ck_assert_float_eq(host[5], 6.0f);
    CUDA_OK(cudaStreamSynchronize(rig.a));
    rig_close(&rig);
}
END_TEST

START_TEST(query__is_not_ready_and_then_is)
{
    struct rig rig = rig_open();
    cudaError_t error;
    int asked = 0;

    CUDA_OK(cudaStreamQuery(rig.a));
    CUDA_OK(cudaEventQuery(rig.event)); /* never recorded */
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    CUDA_OK(cudaEventRecord(rig.event, rig.a));
    while ((error = cudaEventQuery(rig.event)) == cudaErrorNotReady && asked < 10000) {
        asked++;
        usleep(1000);
    }
    CUDA_OK(error);
    ck_assert_int_gt(asked, 0);
    CUDA_OK(cudaStreamQuery(rig.a));
    CUDA_OK(cudaGetLastError()); /* "not ready" is no error */
    rig_close(&rig);
}
END_TEST

START_TEST(event__orders_two_streams)
{
    struct rig rig = rig_open();

    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    CUDA_OK(cudaEventRecord(rig.event, rig.a));
    CUDA_OK(cudaStreamWaitEvent(rig.b, rig.event, cudaEventWaitDefault));
    launch_scale(rig.y, rig.x, COUNT, 2.0f, rig.b);
    CUDA_OK(cudaEventRecord(rig.event, rig.b)); /* again: waits above keep what they waited for */
    CUDA_OK(cudaMemcpyAsync(rig.host, rig.y, BYTES, cudaMemcpyDefault, rig.b));
    CUDA_OK(cudaStreamSynchronize(rig.b));
    ck_assert_float_eq(rig.host[9], 20.0f);
    rig_close(&rig);
}
END_TEST

START_TEST(wait__of_the_host_orders_what_comes_after)
{
    struct rig rig = rig_open();

    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    CUDA_OK(cudaStreamSynchronize(rig.a));
    launch_fill(rig.x, COUNT, 2.0f, 64, rig.b);
    CUDA_OK(cudaDeviceSynchronize());
    launch_fill(rig.x, COUNT, 3.0f, 64, rig.a);
    CUDA_OK(cudaDeviceSynchronize());
    rig_close(&rig);
}
END_TEST

START_TEST(default_stream__waits_for_blocking_streams_and_they_for_it)
{
    struct rig rig = rig_open();
    cudaStream_t blocking;

    CUDA_OK(cudaStreamCreate(&blocking));
    launch_fill(rig.x, COUNT, 1.0f, 64, blocking);
    launch_scale(rig.y, rig.x, COUNT, 2.0f, NULL);
    launch_scale(rig.x, rig.y, COUNT, 2.0f, blocking);
    CUDA_OK(cudaMemcpy(rig.host, rig.x, BYTES, cudaMemcpyDeviceToHost));
    ck_assert_float_eq(rig.host[1], 8.0f);
    CUDA_OK(cudaStreamDestroy(blocking));
    rig_close(&rig);
}
END_TEST

static void add_one(void *count)
{
    ++*(int *)count;
}

START_TEST(host_function__runs_in_its_turn)
{
    struct rig rig = rig_open();
    int count = 0;

    CUDA_OK(cudaLaunchHostFunc(rig.a, add_one, &count));
    ck_assert_int_eq(count, 0);
    CUDA_OK(cudaStreamSynchronize(rig.a));
    ck_assert_int_eq(count, 1);
    rig_close(&rig);
}
END_TEST

START_TEST(memory__is_counted_and_runs_out)
{
    size_t free_bytes;
    size_t total_bytes;
    void *memory;
    void *more;

    setenv("CUDASIM_MEMORY_MB", "4", 1);
    CUDA_OK(cudaMemGetInfo(&free_bytes, &total_bytes));
    ck_assert_uint_eq(total_bytes, 4 << 20);
    CUDA_OK(cudaMalloc(&memory, 3 << 20));
    ck_assert_uint_eq((uintptr_t)memory % 256, 0);
    CUDA_FAILS(cudaErrorMemoryAllocation, cudaMalloc(&more, 2 << 20));
    CUDA_OK(cudaMemGetInfo(&free_bytes, &total_bytes));
    ck_assert_uint_eq(free_bytes, 1 << 20);
    CUDA_OK(cudaFree(memory));
    CUDA_FAILS(cudaErrorInvalidValue, cudaFree(memory));
}
END_TEST

START_TEST(register__knows_what_is_pinned)
{
    static float memory[COUNT];
    struct cudaPointerAttributes attributes;

    CUDA_OK(cudaHostRegister(memory, sizeof memory, cudaHostRegisterPortable));
    CUDA_FAILS(cudaErrorHostMemoryAlreadyRegistered, cudaHostRegister(memory + 4, 4, 0));
    CUDA_OK(cudaPointerGetAttributes(&attributes, memory + 9));
    ck_assert_int_eq(attributes.type, cudaMemoryTypeHost);
    CUDA_OK(cudaHostUnregister(memory));
    CUDA_FAILS(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(memory));
    CUDA_OK(cudaPointerGetAttributes(&attributes, memory));
    ck_assert_int_eq(attributes.type, cudaMemoryTypeUnregistered);
}
END_TEST

START_TEST(devices__none_is_a_machine_without_a_driver)
{
    int count = -1;
    int version = -1;
    void *memory;

    setenv("CUDASIM_DEVICES", "0", 1);
    CUDA_FAILS(cudaErrorInsufficientDriver, cudaGetDeviceCount(&count));
    CUDA_OK(cudaDriverGetVersion(&version));
    ck_assert_int_eq(version, 0);
    CUDA_FAILS(cudaErrorInsufficientDriver, cudaSetDevice(0));
    CUDA_FAILS(cudaErrorInsufficientDriver, cudaMalloc(&memory, 4));
}
END_TEST

START_TEST(devices__are_as_many_as_were_asked_for)
{
    struct cudaDeviceProp prop;
    int count;
    int can;

    setenv("CUDASIM_DEVICES", "3", 1);
    CUDA_OK(cudaGetDeviceCount(&count));
    ck_assert_int_eq(count, 3);
    CUDA_OK(cudaSetDevice(2));
    CUDA_FAILS(cudaErrorInvalidDevice, cudaSetDevice(3));
    CUDA_OK(cudaGetDeviceProperties(&prop, 2));
    ck_assert_str_eq(prop.name, "Simulated device");
    CUDA_OK(cudaDeviceCanAccessPeer(&can, 0, 1));
    ck_assert_int_eq(can, 1);
}
END_TEST

/* ---- mistakes ---- */

static void no_event(const void *unused)
{
    struct rig rig = rig_open();

    (void)unused;
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    launch_scale(rig.y, rig.x, COUNT, 2.0f, rig.b);
    cudaDeviceSynchronize();
}

/* The copy of a snapshot, and an update that does not wait for it. */
static void no_event_before_write(const void *unused)
{
    struct rig rig = rig_open();

    (void)unused;
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    cudaEventRecord(rig.event, rig.a);
    cudaStreamWaitEvent(rig.b, rig.event, 0);
    cudaMemcpyAsync(rig.host, rig.x, BYTES, cudaMemcpyDefault, rig.b);
    launch_fill(rig.x, COUNT, 2.0f, 64, rig.a);
    cudaDeviceSynchronize();
}

static void destroyed_stream(const void *unused)
{
    struct rig rig = rig_open();

    (void)unused;
    cudaStreamDestroy(rig.a);
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
}

static void destroyed_event(const void *unused)
{
    struct rig rig = rig_open();

    (void)unused;
    cudaEventDestroy(rig.event);
    cudaEventRecord(rig.event, rig.a);
}

static void freed_memory(const void *unused)
{
    struct rig rig = rig_open();

    (void)unused;
    cudaFree(rig.x);
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    cudaStreamSynchronize(rig.a);
}

static void unregistered_too_soon(const void *unused)
{
    static float memory[COUNT];
    struct rig rig = rig_open();

    (void)unused;
    cudaHostRegister(memory, sizeof memory, 0);
    launch_fill(rig.x, COUNT, 1.0f, 64, rig.a);
    cudaMemcpyAsync(memory, rig.x, BYTES, cudaMemcpyDefault, rig.a);
    cudaHostUnregister(memory);
}

/* The call has taken the bytes, but nobody has waited until the device has them. */
static void staged_copy_of_another_stream(const void *unused)
{
    float heap[COUNT] = {1.0f};
    struct rig rig = rig_open();

    (void)unused;
    cudaMemcpyAsync(rig.x, heap, BYTES, cudaMemcpyDefault, rig.a);
    launch_scale(rig.y, rig.x, COUNT, 2.0f, rig.b);
    cudaDeviceSynchronize();
}

static void copy_too_long(const void *unused)
{
    struct rig rig = rig_open();

    (void)unused;
    cudaMemset(rig.x, 0, BYTES);
    cudaMemcpyAsync(rig.host, rig.x + 1, BYTES, cudaMemcpyDefault, rig.a);
    cudaStreamSynchronize(rig.a);
}

START_TEST(mistake__is_named)
{
    static const struct {
        void (*program)(const void *);
        const char *first, *second;
    } mistakes[] = {
        {no_event, "race: kernel scale", "fill writes it, and no event or wait orders the two"},
        {no_event_before_write, "race: ", "and no event or wait orders the two"},
        {destroyed_stream, "fill on a stream that was destroyed (stream 1, made at",
         "test_sim_stream.c:"},
        {destroyed_event, "cudaEventRecord of an event that was destroyed", "test_sim_stream.c:"},
        {freed_memory, "out of bounds: kernel fill", "freed, allocated at test_sim_stream.c:"},
        {unregistered_too_soon, "cudaHostUnregister() of memory that a copy", "still uses"},
        {staged_copy_of_another_stream, "race: ", "and no event or wait orders the two"},
        {copy_too_long, "out of bounds: a copy from the device reads 1024 bytes",
         "byte 4 of the 1024 bytes"},
    };
    sim_expect_report(mistakes[_i].program, NULL, mistakes[_i].first, mistakes[_i].second);
}
END_TEST
#define MISTAKE_COUNT 8

static void leak(const void *argument)
{
    struct rig rig = rig_open();
    const char *what = argument;

    if (strcmp(what, "stream") != 0) {
        cudaStreamDestroy(rig.a);
    }
    if (strcmp(what, "event") != 0) {
        cudaEventDestroy(rig.event);
    }
    if (strcmp(what, "bytes of device") != 0) {
        cudaFree(rig.x);
    }
    if (strcmp(what, "bytes of host") != 0) {
        cudaFreeHost(rig.host);
    }
    cudaFree(rig.y);
    cudaStreamDestroy(rig.b);
}

START_TEST(leak__is_named_and_fails_the_process)
{
    const char *const kinds[] = {"stream", "event", "bytes of device", "bytes of host"};
    char said[4096];

    const int status = sim_run(leak, kinds[_i], said, sizeof said);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 70, "status 0x%x: %s", status, said);
    ck_assert_msg(strstr(said, "leaked at the end of the process") != NULL, "%s", said);
    ck_assert_msg(strstr(said, kinds[_i]) != NULL, "%s", said);
    ck_assert_msg(strstr(said, "test_sim_stream.c:") != NULL, "%s", said);
    ck_assert_ptr_eq(strchr(said, '\n'), strrchr(said, '\n')); /* one line */
}
END_TEST

START_TEST(leak__is_not_seen_where_there_is_none)
{
    sim_expect_exit(leak, "nothing", 0, "");
}
END_TEST

START_TEST(fork__leaves_the_child_without_a_device)
{
    struct rig rig = rig_open();
    int status;
    void *memory;

    const pid_t child = fork();
    if (child == 0) {
        _exit(cudaMalloc(&memory, 4) == cudaErrorInitializationError ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    rig_close(&rig);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("sim_stream");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, copy__has_not_happened_before_somebody_waits);
    tcase_add_test(tcase, copy__reads_pinned_memory_when_it_runs);
    tcase_add_test(tcase, copy__has_taken_pageable_memory_when_it_returns);
    tcase_add_test(tcase, copy__refuses_a_direction_that_is_not_so);
    tcase_add_test(tcase, order__early_runs_work_without_being_asked);
    tcase_add_test(tcase, order__late_puts_nothing_off_for_ever);
    tcase_add_test(tcase, query__is_not_ready_and_then_is);
    tcase_add_test(tcase, event__orders_two_streams);
    tcase_add_test(tcase, wait__of_the_host_orders_what_comes_after);
    tcase_add_test(tcase, default_stream__waits_for_blocking_streams_and_they_for_it);
    tcase_add_test(tcase, host_function__runs_in_its_turn);
    tcase_add_test(tcase, memory__is_counted_and_runs_out);
    tcase_add_test(tcase, register__knows_what_is_pinned);
    tcase_add_test(tcase, devices__none_is_a_machine_without_a_driver);
    tcase_add_test(tcase, devices__are_as_many_as_were_asked_for);
    tcase_add_loop_test(tcase, mistake__is_named, 0, MISTAKE_COUNT);
    tcase_add_loop_test(tcase, leak__is_named_and_fails_the_process, 0, 4);
    tcase_add_test(tcase, leak__is_not_seen_where_there_is_none);
    tcase_add_test(tcase, fork__leaves_the_child_without_a_device);
    suite_add_tcase(suite, tcase);
    return suite;
}
