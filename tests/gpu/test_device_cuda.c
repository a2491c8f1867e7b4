/*
 * Tests of comm/device on a CUDA device, simulated or real; what needs two devices is left out, and
 * said so, where there is one.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/device/device_cuda_priv.h"
#include "comm/device/device_replay.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { BYTES = 100003, DEADLINE_MS = 30000, SHORT_MS = 100 };

static struct device *device;
static struct device_stream *stream, *copies;
static struct device_event *event;
static uint8_t *memory, *host; /* [BYTES] on the device, and pinned */

static void set_up(void)
{
    void *block = NULL;

    EXPECT_OK(device_open(DEVICE_CUDA, 0, 1, &device));
    EXPECT_OK(device_stream_open(device, DEVICE_PRIORITY_NORMAL, &stream));
    EXPECT_OK(device_stream_open(device, DEVICE_PRIORITY_LOW, &copies));
    EXPECT_OK(device_event_open(device, &event));
    EXPECT_OK(device_memory_open(device, BYTES, "values", &block));
    memory = block;
    EXPECT_OK(device_pinned_open(device, BYTES, "stage", &block));
    host = block;
}

static void tear_down(void)
{
    device_use(NULL); /* a case that failed may have left it */
    device_pinned_close(device, host);
    device_memory_close(device, memory);
    device_event_close(event);
    device_stream_close(copies);
    device_stream_close(stream);
    device_close(device);
}

/* Work on a stream that does not end before it is let go; at the latest after DEADLINE_MS. */
static atomic_bool is_held;

static void wait_for_release(void *context)
{
    const int64_t end_ms = clock_now_ms() + DEADLINE_MS;

    (void)context;
    while (is_held && clock_now_ms() < end_ms) {
        clock_nap_us(1000);
    }
}

static void hold(struct device_stream *held)
{
    is_held = true;
    ck_assert_int_eq(cudaLaunchHostFunc(device_cuda_stream(held), wait_for_release, NULL),
                     cudaSuccess);
}

START_TEST(open__names_the_device_and_its_memory)
{
    ck_assert_int_eq(device_kind(device), DEVICE_CUDA);
    ck_assert_ptr_nonnull(strstr(device_name(device), ", sm_"));
    ck_assert_str_eq(device_why(device), "");
    ck_assert(device_has_cuda());
    const int64_t total = device_memory_total_bytes(device);
    ck_assert_int_gt(total, 0);
    ck_assert_int_le(device_memory_free_bytes(device), total);
}
END_TEST

START_TEST(open__refuses_more_ranks_than_devices_and_auto_then_is_a_cpu)
{
    struct device *other = NULL;

    EXPECT_ERR(device_open(DEVICE_CUDA, 0, 1000, &other), ERR_CONFIG,
               "1000 ranks on this host, which has");
    EXPECT_OK(device_open(DEVICE_AUTO, 0, 1000, &other));
    ck_assert_int_eq(device_kind(other), DEVICE_CPU);
    ck_assert_ptr_nonnull(strstr(device_why(other), "1000 ranks on this host"));
    device_close(other);
}
END_TEST

START_TEST(memory__is_zeroed_aligned_and_refused_by_name_if_it_is_too_much)
{
    void *block = NULL;

    ck_assert_uint_eq((uintptr_t)memory % 256, 0);
    memset(host, 0xee, BYTES);
    EXPECT_OK(device_copy(stream, host, memory, BYTES));
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    for (int i = 0, all = 0; i < BYTES; i++) {
        all |= host[i];
        if (i == BYTES - 1) {
            ck_assert_int_eq(all, 0);
        }
    }
    EXPECT_ERR(device_memory_open(device, (size_t)1 << 50, "moments", &block), ERR_NO_MEMORY,
               "moments: no memory for 1125899906842624 bytes");
    EXPECT_OK(device_memory_open(device, 0, "nothing", &block));
    device_memory_close(device, block);
    /* And the device goes on. */
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
}
END_TEST

START_TEST(copy__there_and_back_and_zero_are_done_in_order)
{
    static uint8_t expected[BYTES];

    bytes_from_seed(expected, BYTES, 1);
    memcpy(host, expected, BYTES);
    EXPECT_OK(device_copy(stream, memory, host, BYTES));
    EXPECT_OK(device_zero(stream, memory + 1, 1000));
    EXPECT_OK(device_copy(stream, host, memory, BYTES));
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    memset(expected + 1, 0, 1000);
    ck_assert_int_eq(memcmp(host, expected, BYTES), 0);
}
END_TEST

START_TEST(register__lets_the_device_reach_memory_that_was_there)
{
    static uint8_t slot[BYTES], expected[BYTES];

    bytes_from_seed(expected, BYTES, 2);
    memcpy(slot, expected, BYTES);
    EXPECT_OK(device_register(device, slot, BYTES, "slot"));
    EXPECT_OK(device_copy(stream, memory, slot, BYTES));
    EXPECT_OK(device_zero(copies, host, 0));
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    memset(slot, 0, BYTES);
    EXPECT_OK(device_copy(stream, slot, memory, BYTES));
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    EXPECT_ERR(device_register(device, slot, BYTES, "slot"), ERR_DEVICE, "slot: ");
    device_unregister(device, slot);
    ck_assert_int_eq(memcmp(slot, expected, BYTES), 0);
    EXPECT_OK(device_register(device, slot, BYTES, "slot"));
    device_unregister(device, slot);
}
END_TEST

START_TEST(event__orders_streams_and_tells_when_it_is_done)
{
    bool done = false;

    EXPECT_OK(device_event_is_done(event, &done));
    ck_assert(done);
    hold(stream);
    host[0] = 7;
    EXPECT_OK(device_copy(stream, memory, host, 1));
    EXPECT_OK(device_event_record(event, stream));
    EXPECT_OK(device_stream_wait_event(copies, event));
    EXPECT_OK(device_copy(copies, host + 1, memory, 1));
    EXPECT_OK(device_event_is_done(event, &done));
    ck_assert(!done);
    EXPECT_ERR(device_event_wait(event, SHORT_MS), ERR_TIMEOUT, "waited 100 ms in vain");
    is_held = false;
    EXPECT_OK(device_event_wait(event, DEADLINE_MS));
    EXPECT_OK(device_event_is_done(event, &done));
    ck_assert(done);
    EXPECT_OK(device_wait(copies, DEADLINE_MS));
    ck_assert_int_eq(host[1], 7);
}
END_TEST

START_TEST(wait__times_out_and_then_no_close_waits_for_the_device)
{
    struct device_stream *held = NULL;
    void *block = NULL;

    EXPECT_OK(device_stream_open(device, DEVICE_PRIORITY_HIGH, &held));
    EXPECT_OK(device_memory_open(device, 100, "block", &block));
    hold(held);
    const int64_t begin_ms = clock_now_ms();
    EXPECT_ERR(device_wait(held, SHORT_MS), ERR_TIMEOUT, "waited 100 ms in vain");
    ck_assert_int_ge(clock_now_ms() - begin_ms, SHORT_MS);
    device_memory_close(device, block); /* it is left where it is */
    ck_assert_int_lt(clock_now_ms() - begin_ms, DEADLINE_MS / 2);
    is_held = false;
    EXPECT_OK(device_wait(held, DEADLINE_MS));
    device_memory_close(device, block); /* now it goes: the tests leave nothing */
    device_stream_close(held);
}
END_TEST

START_TEST(wait__tells_what_failed_before_once)
{
    ck_assert_int_ne(cudaSetDevice(999), cudaSuccess);
    EXPECT_ERR(device_wait(stream, DEADLINE_MS), ERR_DEVICE, "cudaErrorInvalidDevice");
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    ck_assert_int_ne(cudaSetDevice(999), cudaSuccess);
    bool done = false;
    EXPECT_ERR(device_event_is_done(event, &done), ERR_DEVICE, "work started before: ");
    EXPECT_OK(device_event_is_done(event, &done));
}
END_TEST

START_TEST(graph__does_its_work_again_at_every_launch)
{
    struct device_graph *graph = NULL;

    ck_assert(device_has_graphs(device));
    EXPECT_OK(device_graph_begin(stream));
    EXPECT_OK(device_copy(stream, memory, host, 8));
    EXPECT_OK(device_event_record(event, stream));
    EXPECT_OK(device_stream_wait_event(copies, event)); /* another stream joins, and comes back */
    EXPECT_OK(device_copy(copies, host + 8, memory, 8));
    EXPECT_OK(device_event_record(event, copies));
    EXPECT_OK(device_stream_wait_event(stream, event));
    EXPECT_OK(device_graph_end(stream, &graph));
    for (uint8_t launch = 1; launch < 4; launch++) {
        memset(host, launch, 8);
        EXPECT_OK(device_graph_launch(graph, stream));
        EXPECT_OK(device_wait(stream, DEADLINE_MS));
        ck_assert_int_eq(host[8], launch);
        ck_assert_int_eq(host[15], launch);
    }
    device_graph_close(graph);
}
END_TEST

static void *device_index_on(void *context)
{
    int index = -1;

    device_use(context);
    ck_assert_int_eq(cudaGetDevice(&index), cudaSuccess);
    device_use(NULL);
    return (void *)(intptr_t)index;
}

START_TEST(use__turns_every_thread_to_the_device_of_the_rank)
{
    struct device *second = NULL;
    struct device_stream *own = NULL;
    pthread_t thread;
    void *index = NULL;

    if (device_open(DEVICE_CUDA, 1, 2, &second) != ERR_OK) {
        err_clear();
        printf("LEFT OUT: use: there is one device\n");
        return;
    }
    EXPECT_OK(device_stream_open(second, DEVICE_PRIORITY_NORMAL, &own));
    ck_assert_int_eq(pthread_create(&thread, NULL, device_index_on, own), 0);
    ck_assert_int_eq(pthread_join(thread, &index), 0);
    ck_assert_int_eq((intptr_t)index, 1);
    ck_assert_int_eq((intptr_t)device_index_on(own), 1); /* and this one, back and forth */
    ck_assert_int_eq((intptr_t)device_index_on(stream), 0);
    device_stream_close(own);
    device_close(second);
}
END_TEST

/* Zeroes so many bytes as it was called times; the first time it allocates, which no record may. */
static enum err zero_some(void *self, const void *arguments)
{
    int *calls = self;
    void *block = NULL;

    (void)arguments;
    if ((*calls)++ == 0) {
        ERR_TRY(device_memory_open(device, 1, "what is kept", &block));
        device_memory_close(device, block);
    }
    return device_zero(stream, memory, (size_t)*calls);
}

START_TEST(replay__does_the_work_then_records_it_then_launches_the_record)
{
    struct device_replay replay = {0};
    int calls = 0;

    device_use(stream);
    for (int run = 1; run <= 4; run++) {
        memset(host, 1, 8);
        EXPECT_OK(device_copy(stream, memory, host, 8));
        EXPECT_OK(device_wait(stream, DEADLINE_MS));
        EXPECT_OK(device_replay_run(&replay, device, zero_some, &calls, NULL));
        EXPECT_OK(device_read(device, host, memory, 8, DEADLINE_MS));
        ck_assert_int_eq(calls, run < 2 ? run : 2);
        for (int i = 0; i < 8; i++) {
            ck_assert_int_eq(host[i], i < calls ? 0 : 1);
        }
    }
    device_replay_close(&replay);
    EXPECT_OK(device_replay_run(&replay, device, zero_some, &calls, NULL));
    ck_assert_int_eq(calls, 3);
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    device_replay_close(&replay);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("device_cuda");
    TCase *tcase = tcase_create("device_cuda");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, open__names_the_device_and_its_memory);
    tcase_add_test(tcase, open__refuses_more_ranks_than_devices_and_auto_then_is_a_cpu);
    tcase_add_test(tcase, memory__is_zeroed_aligned_and_refused_by_name_if_it_is_too_much);
    tcase_add_test(tcase, copy__there_and_back_and_zero_are_done_in_order);
    tcase_add_test(tcase, register__lets_the_device_reach_memory_that_was_there);
    tcase_add_test(tcase, event__orders_streams_and_tells_when_it_is_done);
    tcase_add_test(tcase, wait__times_out_and_then_no_close_waits_for_the_device);
    tcase_add_test(tcase, wait__tells_what_failed_before_once);
    tcase_add_test(tcase, graph__does_its_work_again_at_every_launch);
    tcase_add_test(tcase, use__turns_every_thread_to_the_device_of_the_rank);
    tcase_add_test(tcase, replay__does_the_work_then_records_it_then_launches_the_record);
    suite_add_tcase(suite, tcase);
    return suite;
}
