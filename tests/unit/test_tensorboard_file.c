/* Unit tests of launch/report/tensorboard_file.h: the records of a file, taken apart again. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tensorboard.pb-c.h>

#include "comm/base/bytes.h"
#include "comm/base/file.h"
#include "launch/report/tensorboard_file.h"
#include "launch/report/tfrecord.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { EVENTS_MAX = 16, FILES_MAX = 4 };

static struct temp_folder folder;
static struct Offramp__Tensorboard__Event *events[EVENTS_MAX];
static int event_count;

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    char path[FILE_PATH_BYTES_MAX];

    for (int i = 0; i < event_count; i++) {
        offramp__tensorboard__event__free_unpacked(events[i], NULL);
    }
    event_count = 0;
    EXPECT_OK(file_path(path, folder.path, "tensorboard"));
    EXPECT_OK(file_remove_tree(path));
    temp_folder_close(&folder);
}

static struct jdoc *doc_of(const char *text)
{
    struct jdoc *doc = NULL;

    EXPECT_OK(jdoc_parse(text, strlen(text), "record", &doc));
    return doc;
}

/* Every record of the file whose CRCs are right, which must be all of them. */
static void read_file(const char *path)
{
    uint8_t head[TFRECORD_HEAD_BYTES], tail[TFRECORD_TAIL_BYTES];
    struct file_map map;
    size_t at = 0;

    EXPECT_OK(file_map(path, &map));
    while (at < map.count) {
        ck_assert_uint_ge(map.count - at, sizeof(head) + sizeof(tail));
        const size_t count = (size_t)bytes_get_u64(map.bytes + at);
        const uint8_t *payload = map.bytes + at + sizeof(head);
        ck_assert_uint_ge(map.count - at, sizeof(head) + count + sizeof(tail));
        tfrecord_frame(payload, count, head, tail);
        ck_assert_mem_eq(map.bytes + at, head, sizeof(head));
        ck_assert_mem_eq(payload + count, tail, sizeof(tail));
        ck_assert_int_lt(event_count, EVENTS_MAX);
        events[event_count] = offramp__tensorboard__event__unpack(NULL, count, payload);
        ck_assert_ptr_nonnull(events[event_count++]);
        at += sizeof(head) + count + sizeof(tail);
    }
    file_unmap(&map);
}

/* All files of the folder, in the order of their names; how many. */
static int read_back(void)
{
    char path[FILE_PATH_BYTES_MAX], name[FILE_PATH_BYTES_MAX];
    struct dirent **entries = NULL;
    int files = 0;

    EXPECT_OK(file_path(path, folder.path, "tensorboard"));
    const int found = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        if (strncmp(entries[i]->d_name, "events.out.tfevents.", 20) == 0) {
            EXPECT_OK(file_path(name, path, entries[i]->d_name));
            read_file(name);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    return files;
}

/* The value of a tag in an event; NaN if it has none. */
static float value_of(const struct Offramp__Tensorboard__Event *event, const char *tag)
{
    ck_assert_int_eq(event->what_case, OFFRAMP__TENSORBOARD__EVENT__WHAT_SUMMARY);
    for (size_t i = 0; i < event->summary->n_value; i++) {
        if (strcmp(event->summary->value[i]->tag, tag) == 0) {
            ck_assert(event->summary->value[i]->has_simple_value);
            return event->summary->value[i]->simple_value;
        }
    }
    return NAN;
}

START_TEST(step__writes_a_scalar_for_each_number)
{
    struct tensorboard_file *file = NULL;
    struct jdoc *record = doc_of(
        "{\"step\": 50, \"stage\": \"exits\", \"loss\": 0.1, \"accuracy\": 0, \"samples_per_s\": "
        "null,"
        " \"head_learning_rate\": 1e-3, \"head_grad_norm\": 2.5, \"exits\": [{\"lambda\": 0.1,"
        " \"loss\": [1.5, 0.5], \"accuracy\": [0.25, 0.75], \"share\": [0.875, 0.125],"
        " \"head_loss\": 3, \"gate_loss\": 4, \"cost\": 0.5}]}");

    EXPECT_OK(tensorboard_file_open(folder.path, 0, &file));
    tensorboard_file_step(file, record);
    jdoc_close(record);
    tensorboard_file_close(file);
    ck_assert_int_eq(read_back(), 1);
    ck_assert_int_eq(event_count, 3);
    ck_assert_str_eq(events[0]->file_version, "brain.Event:2");
    ck_assert(events[0]->wall_time > 1.6e9);
    ck_assert_int_eq(events[2]->step, 50);
    ck_assert_uint_eq(events[2]->summary->n_value, 11);
    ck_assert_float_eq(value_of(events[2], "loss/end"), 0.1F);
    ck_assert_float_eq(value_of(events[2], "accuracy/end"), 0); /* and it is there */
    ck_assert_float_eq(value_of(events[2], "loss/lambda_0.1/exit_1"), 1.5F);
    ck_assert_float_eq(value_of(events[2], "accuracy/lambda_0.1/exit_1"), 0.25F);
    ck_assert_float_eq(value_of(events[2], "exit_share/lambda_0.1/end"), 0.125F);
    ck_assert_float_eq(value_of(events[2], "head_loss/lambda_0.1"), 3);
    ck_assert_float_eq(value_of(events[2], "gate_loss/lambda_0.1"), 4);
    ck_assert_float_eq(value_of(events[2], "learning_rate/heads"), 1e-3F);
    ck_assert_float_eq(value_of(events[2], "grad_norm/heads"), 2.5F);
    ck_assert(isnan(value_of(events[2], "throughput/samples_per_s"))); /* null: left out */
}
END_TEST

START_TEST(open__says_from_which_step_on_it_is_right)
{
    struct tensorboard_file *file = NULL;
    struct jdoc *record = doc_of("{\"step\": 5, \"loss\": 2}");
    struct jdoc *event =
        doc_of("{\"event\": \"snapshot.committed\", \"step\": 4, \"stall_s\": 0.25, \"lag_s\": 1}");
    struct jdoc *other = doc_of("{\"event\": \"run.resumed\", \"step\": 4, \"stall_s\": 0.25}");

    for (int64_t start = 0; start < 2; start++) { /* twice in a second, by the same process */
        EXPECT_OK(tensorboard_file_open(folder.path, 4 * start, &file));
        tensorboard_file_event(file, event);
        tensorboard_file_event(file, other);
        tensorboard_file_step(file, record);
        tensorboard_file_close(file);
    }
    jdoc_close(record);
    jdoc_close(event);
    jdoc_close(other);
    ck_assert_int_eq(read_back(), 2);
    ck_assert_int_eq(event_count, 8);
    for (int start = 0; start < 2; start++) {
        struct Offramp__Tensorboard__Event **of_start = &events[4 * start];
        ck_assert_int_eq(of_start[1]->session_log->status,
                         OFFRAMP__TENSORBOARD__SESSION_LOG__STATUS__START);
        ck_assert_int_eq(of_start[1]->step, 4 * start + 1);
        ck_assert_float_eq(value_of(of_start[2], "snapshot/stall_s"), 0.25F);
        ck_assert_int_eq(of_start[3]->step, 5);
    }
}
END_TEST

START_TEST(open__fails_where_it_may_not_write)
{
    struct tensorboard_file *file = NULL;

    temp_folder_write(&folder, "tensorboard", "", 0);
    EXPECT_ERR(tensorboard_file_open(folder.path, 0, &file), ERR_IO, "tensorboard");
    ck_assert_ptr_null(file);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("tensorboard_file");
    TCase *tcase = tcase_create("tensorboard_file");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, step__writes_a_scalar_for_each_number);
    tcase_add_test(tcase, open__says_from_which_step_on_it_is_right);
    tcase_add_test(tcase, open__fails_where_it_may_not_write);
    suite_add_tcase(suite, tcase);
    return suite;
}
