/*
 * Tests of launch/run_device.c with CUDA devices, simulated or real: ranks are threads. What needs more devices
 * than there are is left out.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "launch/run_device.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"

enum { DEADLINE_MS = 30000, STARTS = 3 };

/* Up to one less than ranks there can be. */
static int count_devices(void)
{
    struct device *device = NULL;
    int count = 0;

    while (count < COMM_LOCAL_RANKS_MAX - 1 &&
           device_open(DEVICE_CUDA, count, count + 1, &device) == ERR_OK) {
        device_close(device);
        count++;
    }
    err_clear();
    return count;
}

/* Again and again: what a close leaves behind is found when the process ends. */
static enum err open_own(struct comm_group *world, void *context)
{
    const enum device_kind *wanted = context;
    struct run_device device;

    for (int start = 0; start < STARTS; start++) {
        ERR_TRY(run_device_open(*wanted, world, DEADLINE_MS, &device));
        const bool is_well = device_kind(device.device) == DEVICE_CUDA && device.stream != NULL &&
                             device.stream == device_current() && device.why[0] == '\0';
        const enum err status = device_wait(device.stream, DEADLINE_MS);
        run_device_close(&device);
        ERR_TRY(status);
        if (!is_well || device_current() != NULL) {
            return ERR_FAIL(ERR_CORRUPT, "no device or no stream, or one is left");
        }
    }
    return ERR_OK;
}

START_TEST(open__gives_every_rank_a_device_and_a_stream)
{
    static const enum device_kind wanted[] = {DEVICE_CUDA, DEVICE_AUTO};
    const int count = count_devices();

    ck_assert_int_ge(count, 1);
    enum device_kind kind = wanted[_i];
    local_ranks_run(count, open_own, &kind);
}
END_TEST

/* The last rank finds no device: nobody computes on one. */
static enum err open_too_many(struct comm_group *world, void *context)
{
    struct run_device device;
    char text[300];

    (void)context;
    const enum err status = run_device_open(DEVICE_CUDA, world, DEADLINE_MS, &device);
    err_text(text, sizeof(text));
    if (status != ERR_CONFIG || strstr(text, "device: cuda: ") == NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %s", err_phrase(status), text);
    }
    err_clear();
    ERR_TRY(run_device_open(DEVICE_AUTO, world, DEADLINE_MS, &device));
    const bool is_well = device_kind(device.device) == DEVICE_CPU && device.stream == NULL &&
                         device_current() == NULL && device.why[0] != '\0';
    run_device_close(&device);
    return is_well ? ERR_OK : ERR_FAIL(ERR_CORRUPT, "not the CPU, or nobody says why");
}

START_TEST(open__gives_no_rank_a_device_where_one_has_none)
{
    local_ranks_run(count_devices() + 1, open_too_many, NULL);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("run_device");
    TCase *tcase = tcase_create("run_device");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, open__gives_every_rank_a_device_and_a_stream, 0, 2);
    tcase_add_test(tcase, open__gives_no_rank_a_device_where_one_has_none);
    suite_add_tcase(suite, tcase);
    return suite;
}
