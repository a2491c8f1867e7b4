/* Capture and graphs on the simulated device. */
#include <stdbool.h>

#include "tests/cudasim/sim_expect.h"
#include "tests/cudasim/sim_kernels.h"
#include "tests/support/test_suite.h"

#define COUNT 256
#define BYTES (COUNT * sizeof(float))

static cudaStream_t a, b;
static cudaEvent_t event;
static float *x, *y, *host;

static void open_rig(void)
{
    CUDA_OK(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
    CUDA_OK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    CUDA_OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    CUDA_OK(cudaMalloc((void **)&x, BYTES));
    CUDA_OK(cudaMalloc((void **)&y, BYTES));
    CUDA_OK(cudaMallocHost((void **)&host, BYTES));
}

static void close_rig(void)
{
    CUDA_OK(cudaStreamDestroy(a));
    CUDA_OK(cudaStreamDestroy(b));
    CUDA_OK(cudaEventDestroy(event));
    CUDA_OK(cudaFree(x));
    CUDA_OK(cudaFree(y));
    CUDA_OK(cudaFreeHost(host));
}

/* y = 2 x in stream b, if `is_ordered` behind x = 2 y in stream a, and joined again. */
static cudaGraphExec_t capture_two(bool is_ordered)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t joined;

    CUDA_OK(cudaEventCreateWithFlags(&joined, cudaEventDisableTiming));
    CUDA_OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    if (is_ordered) {
        launch_scale(x, y, COUNT, 2.0f, a);
    }
    CUDA_OK(cudaEventRecord(event, a));
    CUDA_OK(cudaStreamWaitEvent(b, event, 0));
    launch_scale(y, x, COUNT, 2.0f, b);
    if (!is_ordered) {
        launch_scale(x, y, COUNT, 2.0f, a);
    }
    CUDA_OK(cudaEventRecord(joined, b));
    CUDA_OK(cudaStreamWaitEvent(a, joined, 0));
    CUDA_OK(cudaStreamEndCapture(a, &graph));
    CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
    CUDA_OK(cudaGraphDestroy(graph));
    CUDA_OK(cudaEventDestroy(joined));
    return exec;
}

START_TEST(graph__replays_what_two_streams_did)
{
    open_rig();
    launch_fill(y, COUNT, 1.0f, 64, a);
    cudaGraphExec_t exec = capture_two(true); /* and runs none of it meanwhile */
    for (int i = 0; i < 3; i++) {
        CUDA_OK(cudaGraphLaunch(exec, a));
    }
    CUDA_OK(cudaMemcpyAsync(host, y, BYTES, cudaMemcpyDeviceToHost, a));
    CUDA_OK(cudaStreamSynchronize(a));
    ck_assert_float_eq(host[9], 64.0f * 10.0f);
    CUDA_OK(cudaGraphExecDestroy(exec));
    close_rig();
}
END_TEST

static void race_in_graph(const void *unused)
{
    (void)unused;
    open_rig();
    launch_fill(x, COUNT, 1.0f, 64, a);
    launch_fill(y, COUNT, 1.0f, 64, a);
    cudaGraphLaunch(capture_two(false), a);
    cudaDeviceSynchronize();
}

START_TEST(graph__keeps_races_that_were_captured)
{
    sim_expect_report(race_in_graph, NULL, "race: kernel scale", "no event or wait orders the two");
}
END_TEST

enum spoiler { SYNCHRONIZE, QUERY, MALLOC, COPY, EVENT_QUERY, ISOLATION, SPOILER_COUNT };

static cudaError_t spoil(enum spoiler spoiler)
{
    void *memory;

    switch (spoiler) {
    case SYNCHRONIZE: return cudaStreamSynchronize(a);
    case QUERY: return cudaStreamQuery(a);
    case MALLOC: return cudaMalloc(&memory, 4);
    case COPY: return cudaMemcpy(host, x, 4, cudaMemcpyDeviceToHost);
    case EVENT_QUERY: CUDA_OK(cudaEventRecord(event, a)); return cudaEventQuery(event);
    default: return cudaStreamWaitEvent(a, event, 0);
    }
}

START_TEST(capture__is_spoilt_by_what_cannot_be_captured)
{
    static const char *const errors[SPOILER_COUNT] = {"cudaErrorStreamCaptureUnsupported",
                                                      "cudaErrorStreamCaptureUnsupported",
                                                      "cudaErrorStreamCaptureUnsupported",
                                                      "cudaErrorStreamCaptureUnsupported",
                                                      "cudaErrorCapturedEvent",
                                                      "cudaErrorStreamCaptureIsolation"};
    cudaGraph_t graph;
    enum cudaStreamCaptureStatus status;

    open_rig();
    CUDA_OK(cudaEventRecord(event, b));
    CUDA_OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
    CUDA_OK(cudaStreamIsCapturing(a, &status));
    ck_assert_int_eq(status, cudaStreamCaptureStatusActive);
    launch_fill(x, COUNT, 1.0f, 64, a);
    ck_assert_str_eq(cudaGetErrorName(spoil((enum spoiler)_i)), errors[_i]);
    CUDA_OK(cudaStreamIsCapturing(a, &status));
    ck_assert_int_eq(status, cudaStreamCaptureStatusInvalidated);
    launch_fill(x, COUNT, 1.0f, 64, a);
    CUDA_FAILS(cudaErrorStreamCaptureInvalidated, cudaGetLastError());
    CUDA_FAILS(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(a, &graph));
    ck_assert_ptr_null(graph);
    launch_fill(x, COUNT, 1.0f, 64, a); /* the stream is as before */
    CUDA_OK(cudaStreamSynchronize(a));
    close_rig();
}
END_TEST

START_TEST(capture__fails_if_a_stream_is_not_joined)
{
    cudaGraph_t graph;

    open_rig();
    CUDA_OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    launch_fill(x, COUNT, 1.0f, 64, a);
    CUDA_OK(cudaEventRecord(event, a));
    CUDA_OK(cudaStreamWaitEvent(b, event, 0));
    launch_scale(y, x, COUNT, 2.0f, b);
    CUDA_FAILS(cudaErrorStreamCaptureUnjoined, cudaStreamEndCapture(a, &graph));
    close_rig();
}
END_TEST

static void leak_exec(const void *unused)
{
    (void)unused;
    open_rig();
    (void)capture_two(true);
    close_rig();
}

START_TEST(graph__that_is_left_over_is_named)
{
    sim_expect_exit(leak_exec, NULL, 70, "leaked at the end of the process: an executable graph");
}
END_TEST

static void launch_destroyed(const void *unused)
{
    (void)unused;
    open_rig();
    cudaGraphExec_t exec = capture_two(true);
    cudaGraphExecDestroy(exec);
    cudaGraphLaunch(exec, a);
}

START_TEST(graph__that_was_destroyed_is_named)
{
    sim_expect_report(launch_destroyed, NULL, "cudaGraphLaunch of an executable graph",
                      "that was destroyed");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("sim_graph");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, graph__replays_what_two_streams_did);
    tcase_add_test(tcase, graph__keeps_races_that_were_captured);
    tcase_add_loop_test(tcase, capture__is_spoilt_by_what_cannot_be_captured, 0, SPOILER_COUNT);
    tcase_add_test(tcase, capture__fails_if_a_stream_is_not_joined);
    tcase_add_test(tcase, graph__that_is_left_over_is_named);
    tcase_add_test(tcase, graph__that_was_destroyed_is_named);
    suite_add_tcase(suite, tcase);
    return suite;
}
