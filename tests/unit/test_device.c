/* Unit tests of comm/device on the CPU; what a program without CUDA says when it is asked for it. */
#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "comm/device/device.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"

enum { BYTES = 100003, DEADLINE_MS = 30000 };

static struct device *device;
static struct device_stream *stream;

static void set_up(void)
{
    EXPECT_OK(device_open(DEVICE_CPU, 0, 1, &device));
    EXPECT_OK(device_stream_open(device, DEVICE_PRIORITY_NORMAL, &stream));
}

static void tear_down(void)
{
    device_stream_close(stream);
    device_close(device);
}

START_TEST(open__of_a_cpu_gives_one_to_any_number_of_ranks)
{
    struct device *last = NULL;

    EXPECT_OK(device_open(DEVICE_CPU, 999, 1000, &last));
    ck_assert_int_eq(device_kind(last), DEVICE_CPU);
    ck_assert_str_eq(device_name(last), "CPU");
    ck_assert_str_eq(device_why(last), ""); /* nobody asked for another */
    ck_assert_int_gt(device_memory_total_bytes(last), 0);
    ck_assert_int_gt(device_memory_free_bytes(last), 0);
    ck_assert_int_le(device_memory_free_bytes(last), device_memory_total_bytes(last));
    device_close(last);
    device_close(NULL);
}
END_TEST

/* The tests are to pass with and without a GPU: what AUTO gives must be what CUDA would give. */
START_TEST(open__auto_is_cuda_where_it_can_be_had_and_else_a_cpu_that_says_why)
{
    struct device *chosen = NULL, *cuda = NULL;

    EXPECT_OK(device_open(DEVICE_AUTO, 0, 1, &chosen));
    const enum err status = device_open(DEVICE_CUDA, 0, 1, &cuda);
    if (status == ERR_OK) {
        ck_assert_int_eq(device_kind(chosen), DEVICE_CUDA);
        ck_assert_str_eq(device_why(chosen), "");
    } else {
        char text[512];
        err_text(text, sizeof(text));
        ck_assert_int_eq(status, ERR_CONFIG);
        ck_assert_int_eq(device_kind(chosen), DEVICE_CPU);
        ck_assert_str_ne(text, "");
        ck_assert_str_eq(device_why(chosen), text);
    }
    if (!device_has_cuda()) {
        ck_assert_str_eq(device_why(chosen), "this program was built without CUDA");
    }
    device_close(cuda);
    device_close(chosen);
}
END_TEST

START_TEST(open__auto_leaves_no_error_behind)
{
    struct device *chosen = NULL;
    char text[512];

    EXPECT_OK(device_open(DEVICE_AUTO, 0, 1, &chosen));
    err_text(text, sizeof(text));
    ck_assert_str_eq(text, "");
    device_close(chosen);
}
END_TEST

static void expect_zeros(const void *memory, size_t bytes)
{
    uint8_t all = 0;

    for (size_t i = 0; i < bytes; i++) {
        all |= ((const uint8_t *)memory)[i];
    }
    ck_assert_uint_eq(all, 0);
}

START_TEST(memory__is_zeroed_and_aligned_and_refused_by_name_if_it_is_too_much)
{
    static const size_t sizes[] = {0, 1, 63, 4096, (2u << 20) + 1};
    void *memory = NULL;
    float *floats = NULL;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        EXPECT_OK(device_memory_open(device, sizes[i], "moments", &memory));
        ck_assert_uint_eq((uintptr_t)memory % 64, 0);
        expect_zeros(memory, sizes[i]);
        device_memory_close(device, memory);
        EXPECT_OK(device_pinned_open(device, sizes[i], "stage", &memory));
        expect_zeros(memory, sizes[i]);
        device_pinned_close(device, memory);
    }
    EXPECT_OK(device_memory_open_f32(device, 7, "moments", &floats));
    expect_zeros(floats, 7 * sizeof(*floats));
    device_memory_close(device, floats);
    device_memory_close(device, NULL);
    device_pinned_close(device, NULL);
    EXPECT_ERR(device_memory_open(device, SIZE_MAX, "moments", &memory), ERR_NO_MEMORY, "moments");
    EXPECT_ERR(device_memory_open_f32(device, INT64_MAX, "moments", &floats), ERR_NO_MEMORY,
               "moments");
}
END_TEST

START_TEST(copy__and_zero_reach_every_byte_and_no_other)
{
    static uint8_t from[BYTES + 2], to[BYTES + 2], expected[BYTES + 2];

    bytes_from_seed(from, sizeof(from), 1);
    memset(to, 0xee, sizeof(to));
    memset(expected, 0xee, sizeof(expected));
    memcpy(expected + 1, from + 1, BYTES);
    EXPECT_OK(device_register(device, to, sizeof(to), "slot"));
    EXPECT_OK(device_copy(stream, to + 1, from + 1, BYTES));
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    ck_assert_int_eq(memcmp(to, expected, sizeof(to)), 0);
    memset(expected + 2, 0, BYTES - 2);
    EXPECT_OK(device_zero(stream, to + 2, BYTES - 2));
    EXPECT_OK(device_wait(stream, DEADLINE_MS));
    ck_assert_int_eq(memcmp(to, expected, sizeof(to)), 0);
    EXPECT_OK(device_copy(stream, NULL, NULL, 0));
    EXPECT_OK(device_zero(stream, NULL, 0));
    device_unregister(device, to);
}
END_TEST

START_TEST(event__is_done_before_its_first_record_and_after_the_work_before_it)
{
    struct device_stream *copies = NULL;
    struct device_event *event = NULL;
    int value = 7, copy = 0, end = 0;
    bool done = false;

    EXPECT_OK(device_stream_open(device, DEVICE_PRIORITY_LOW, &copies));
    EXPECT_OK(device_event_open(device, &event));
    EXPECT_OK(device_event_is_done(event, &done));
    ck_assert(done);
    EXPECT_OK(device_stream_wait_event(copies, event));
    EXPECT_OK(device_copy(stream, &copy, &value, sizeof(value)));
    EXPECT_OK(device_event_record(event, stream));
    EXPECT_OK(device_stream_wait_event(copies, event));
    EXPECT_OK(device_copy(copies, &end, &copy, sizeof(value)));
    EXPECT_OK(device_event_record(event, copies));
    EXPECT_OK(device_event_wait(event, DEADLINE_MS));
    done = false;
    EXPECT_OK(device_event_is_done(event, &done));
    ck_assert(done);
    ck_assert_int_eq(end, 7);
    device_event_close(event);
    device_event_close(NULL);
    device_stream_close(copies);
    device_stream_close(NULL);
}
END_TEST

START_TEST(graph__is_refused_by_a_cpu)
{
    ck_assert(!device_has_graphs(device));
    EXPECT_ERR(device_graph_begin(stream), ERR_INVALID, "CPU records no graphs");
    device_graph_close(NULL);
}
END_TEST

static void *current_of_a_new_thread(void *context)
{
    *(struct device_stream **)context = device_current();
    device_use(NULL);
    return NULL;
}

START_TEST(current__is_the_threads_own)
{
    struct device_stream *others = stream;
    pthread_t thread;

    ck_assert_ptr_null(device_current());
    device_use(stream);
    ck_assert_ptr_eq(device_current(), stream);
    ck_assert_int_eq(pthread_create(&thread, NULL, current_of_a_new_thread, &others), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ptr_null(others);
    ck_assert_ptr_eq(device_current(), stream);
    device_use(NULL);
    ck_assert_ptr_null(device_current());
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("device");
    TCase *tcase = tcase_create("device");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, open__of_a_cpu_gives_one_to_any_number_of_ranks);
    tcase_add_test(tcase, open__auto_is_cuda_where_it_can_be_had_and_else_a_cpu_that_says_why);
    tcase_add_test(tcase, open__auto_leaves_no_error_behind);
    tcase_add_test(tcase, memory__is_zeroed_and_aligned_and_refused_by_name_if_it_is_too_much);
    tcase_add_test(tcase, copy__and_zero_reach_every_byte_and_no_other);
    tcase_add_test(tcase, event__is_done_before_its_first_record_and_after_the_work_before_it);
    tcase_add_test(tcase, graph__is_refused_by_a_cpu);
    tcase_add_test(tcase, current__is_the_threads_own);
    suite_add_tcase(suite, tcase);
    return suite;
}
