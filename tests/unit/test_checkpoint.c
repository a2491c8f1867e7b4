/* Unit tests of launch/checkpoint.c and launch/train_state.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/base/fault.h"
#include "snapshot/snap_disk.h"
#include "tests/support/checkpoint_case.h"
#include "tests/support/test_suite.h"

START_TEST(save__is_found_and_loaded_with_the_same_hash)
{
    char found[FILE_PATH_BYTES_MAX];
    char said[4096];
    struct file_map latest;

    ck_assert_int_eq(found_step(), 0);
    EXPECT_OK(save(7, 2));
    EXPECT_OK(find(found, said));
    ck_assert_str_eq(strrchr(found, '/'), "/checkpoint-7");
    ck_assert_str_eq(said, "");
    EXPECT_OK(checkpoint_verify(found));
    expect_state(7, 7);
    ck_assert(!is_there("checkpoint-7.partial"));
    EXPECT_OK(file_path(found, folder.path, "latest"));
    EXPECT_OK(file_map(found, &latest));
    ck_assert_uint_eq(latest.count, 12);
    ck_assert_int_eq(memcmp(latest.bytes, "checkpoint-7", 12), 0);
    file_unmap(&latest);
}
END_TEST

START_TEST(hash__changes_with_every_part_of_the_state)
{
    struct hash first = {0}, second = {0};
    enum { PARTS = 10 };

    for (int part = -1; part < PARTS; part++) {
        go_to_step(1);
        float *const floats[] = {model_block(state.model),
                                 exits_net_block(state.net),
                                 optim_moment1(state.backbone_optim),
                                 optim_moment2(state.backbone_optim),
                                 optim_moment1(state.exits_optim),
                                 optim_moment2(state.exits_optim)};
        if (part >= 0 && part < 6) {
            floats[part][3] += 1;
        }
        state.step += part == 6;
        state.stage_step += part == 7;
        state.balance.sample_count += part == 8 ? 1.0 : 0.0;
        optim_counts(state.exits_optim)[1] = part == 9;
        EXPECT_OK(train_state_hash(&state, part < 0 ? &first : &second));
        ck_assert(part < 0 || first.low != second.low);
    }
}
END_TEST

static void flip_byte(const char *path, size_t at)
{
    FILE *file = fopen(path, "r+b");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (long)at, SEEK_SET), 0);
    const int byte = fgetc(file);
    ck_assert_int_ne(byte, EOF);
    ck_assert_int_eq(fseek(file, (long)at, SEEK_SET), 0);
    ck_assert_int_ne(fputc(byte ^ 1, file), EOF);
    ck_assert_int_eq(fclose(file), 0);
}

static size_t file_bytes(const char *path)
{
    struct file_map map;

    EXPECT_OK(file_map(path, &map));
    const size_t bytes = map.count;
    file_unmap(&map);
    return bytes;
}

/* The newest is passed over for the one of step 1, and both it and the file are named. */
static void expect_passed_over(const char *name)
{
    char found[FILE_PATH_BYTES_MAX];
    char said[4096];

    EXPECT_OK(find(found, said));
    ck_assert_msg(strcmp(strrchr(found, '/'), "/checkpoint-1") == 0, "%s: %s", name, found);
    ck_assert_msg(strstr(said, "passed over") != NULL && strstr(said, "checkpoint-2") != NULL &&
                      strstr(said, name) != NULL,
                  "%s: it said: %s", name, said);
    ck_assert_ptr_eq(strchr(said, '\n'), said + strlen(said) - 1);
}

START_TEST(find__passes_over_a_checkpoint_with_a_flipped_byte)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(save(1, 5));
    EXPECT_OK(save(2, 5));
    path_in(path, 2, files[_i]);
    const size_t bytes = file_bytes(path);
    const size_t places[] = {0, bytes / 2, bytes - 1};
    for (size_t p = 0; p < 3; p++) {
        flip_byte(path, places[p]);
        expect_passed_over(strcmp(files[_i], "manifest.json") == 0 ? "" : files[_i]);
        flip_byte(path, places[p]);
        ck_assert_int_eq(found_step(), 2);
    }
}
END_TEST

START_TEST(find__passes_over_a_checkpoint_with_a_missing_or_cut_file)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(save(1, 5));
    EXPECT_OK(save(2, 5));
    path_in(path, 2, files[_i]);
    for (size_t bytes = file_bytes(path); bytes > 0; bytes /= 2) {
        ck_assert_int_eq(truncate(path, (off_t)bytes - 1), 0);
        expect_passed_over(files[_i]);
    }
    ck_assert_int_eq(unlink(path), 0);
    expect_passed_over(files[_i]);
    EXPECT_OK(file_make_folder(path));
    expect_passed_over(files[_i]);
}
END_TEST

START_TEST(find__passes_over_a_manifest_that_vouches_for_nothing)
{
    static const char *const manifests[] = {
        "{}",
        "[]",
        "{\"format_version\": 1, \"files\": {}}",
        "{\"format_version\": 1, \"files\": [1]}",
        "{\"format_version\": 1, \"files\": 7}",
        "{\"format_version\": 2, \"files\": {\"latest\": {\"bytes\": 0}}}",
        "{\"format_version\": 1, \"files\": {\"config.json\": {\"bytes\": 3}}}",
        "{\"format_version\": 1, \"files\": {\"config.json\": 3}}",
    };
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(save(1, 5));
    EXPECT_OK(save(2, 5));
    path_in(path, 2, "manifest.json");
    for (size_t i = 0; i < sizeof(manifests) / sizeof(manifests[0]); i++) {
        EXPECT_OK(file_write_text(path, manifests[i]));
        expect_passed_over("checkpoint-2");
    }
}
END_TEST

/* Takes the name of a file out of a text, by another of the same length. */
static void rename_in(char *text, const char *name)
{
    char *at = strstr(text, name);

    ck_assert_ptr_nonnull(at);
    *at = '_';
}

START_TEST(find__passes_over_a_manifest_that_leaves_a_file_out)
{
    char path[FILE_PATH_BYTES_MAX];
    char renamed_from[FILE_PATH_BYTES_MAX], renamed_to[FILE_PATH_BYTES_MAX];
    char name[64], expected[96];
    struct file_map map;

    EXPECT_OK(save(1, 5));
    for (int i = 0; i < FILE_COUNT; i++) {
        if (strcmp(files[i], "manifest.json") == 0) {
            continue;
        }
        EXPECT_OK(save(2, 5));
        path_in(path, 2, "manifest.json");
        EXPECT_OK(file_map(path, &map));
        char *text = strndup((const char *)map.bytes, map.count);
        file_unmap(&map);
        rename_in(text, files[i]);
        EXPECT_OK(file_write_text(path, text));
        free(text);
        snprintf(name, sizeof(name), "_%s", files[i] + 1); /* there, whole, and named */
        path_in(renamed_from, 2, files[i]);
        path_in(renamed_to, 2, name);
        ck_assert_int_eq(link(renamed_from, renamed_to), 0);
        snprintf(expected, sizeof(expected), "does not name %s", files[i]);
        expect_passed_over(expected);
    }
}
END_TEST

START_TEST(find__passes_over_a_whole_checkpoint_of_another_format)
{
    static const char version[] = "\"format_version\": ";
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    EXPECT_OK(save(1, 5));
    EXPECT_OK(save(2, 5));
    path_in(path, 2, "manifest.json");
    EXPECT_OK(file_map(path, &map));
    size_t at = 0;
    while (memcmp(map.bytes + at, version, sizeof(version) - 1) != 0) {
        at++;
        ck_assert_uint_lt(at + sizeof(version), map.count);
    }
    file_unmap(&map);
    flip_byte(path, at + sizeof(version) - 1); /* 1 becomes 0 */
    expect_passed_over("format_version 0, expected 1");
}
END_TEST

START_TEST(find__refuses_when_there_are_checkpoints_and_none_is_valid)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(save(1, 5));
    EXPECT_OK(save(2, 5));
    for (int64_t step = 1; step <= 2; step++) {
        path_in(path, step, "model.safetensors");
        flip_byte(path, 100);
    }
    char found[FILE_PATH_BYTES_MAX];
    char said[4096];
    EXPECT_ERR(find(found, said), ERR_CORRUPT, "none of its 2 checkpoints is valid");
    EXPECT_OK(snap_disk_remove_all(folder.path));
    ck_assert_int_eq(found_step(), 0);
}
END_TEST

START_TEST(find__looks_at_no_other_names)
{
    static const char *const names[] = {"checkpoint-9.partial",
                                        "checkpoint-",
                                        "checkpoint-9x",
                                        "checkpoint--9",
                                        "checkpoint-09",
                                        "Checkpoint-9",
                                        "checkpoint-99999999999999999999"};
    char path[FILE_PATH_BYTES_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        EXPECT_OK(file_path(path, folder.path, names[i]));
        EXPECT_OK(file_make_folder(path));
    }
    ck_assert_int_eq(found_step(), 0);
    EXPECT_OK(save(1, 1));
    ck_assert_int_eq(found_step(), 1);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ck_assert(is_there(names[i]));
    }
}
END_TEST

START_TEST(save__keeps_the_newest)
{
    for (int64_t step = 8; step <= 12; step++) { /* 10 is newer than 9, not by name */
        EXPECT_OK(save(step, 2));
        ck_assert_int_eq(found_step(), step);
    }
    ck_assert(is_there("checkpoint-12") && is_there("checkpoint-11"));
    ck_assert(!is_there("checkpoint-10") && !is_there("checkpoint-9") && !is_there("checkpoint-8"));
    EXPECT_OK(save(13, 1));
    ck_assert(is_there("checkpoint-13") && !is_there("checkpoint-12"));
    ck_assert(!is_there("checkpoint-11"));
}
END_TEST

START_TEST(save__keeps_what_it_made_when_a_later_one_is_damaged)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(save(9, 1));
    path_in(path, 9, "model.safetensors");
    flip_byte(path, 100);
    for (int64_t step = 3; step <= 5; step++) {
        EXPECT_OK(save(step, 1));
        ck_assert_int_eq(found_step(), step);
        ck_assert(step == 3 || !is_there("checkpoint-3"));
    }
    EXPECT_OK(save(9, 1));
    ck_assert_int_eq(found_step(), 9);
    ck_assert(!is_there("checkpoint-5"));
}
END_TEST

START_TEST(save__replaces_one_of_the_same_step)
{
    EXPECT_OK(save(5, 1));
    go_to_step(6);
    state.step = 5;
    EXPECT_OK(save_now(1));
    ck_assert_int_eq(found_step(), 5);
    expect_state(5, 6);
    ck_assert(!is_there("checkpoint-5.partial"));
}
END_TEST

START_TEST(save__leaves_the_old_one_when_space_runs_out)
{
    const struct rlimit limit = {2000, 2000};
    struct rlimit before;

    EXPECT_OK(save(1, 1));
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR); /* then a write fails with EFBIG */
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_ERR(save(2, 1), ERR_IO, "write");
    EXPECT_ERR(save(1, 1), ERR_IO, "write");
    ck_assert_int_eq(found_step(), 1);
    expect_state(1, 1);
    ck_assert(!is_there("checkpoint-2") && !is_there("checkpoint-2.partial"));
}
END_TEST

START_TEST(load__refuses_other_settings_and_names_the_first)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(save(1, 1));
    path_in(path, 1, "");
    EXPECT_ERR(train_state_load(&state, path, "seed: 42\nlearning_rate: 2e-3\n"), ERR_CONFIG,
               "written with \"learning_rate: 1e-3\", the run has \"learning_rate: 2e-3\"");
    EXPECT_ERR(train_state_load(&state, path, "seed: 42\n"), ERR_CONFIG, "the run has \"\"");
    EXPECT_OK(train_state_load(&state, path, SETTINGS));
}
END_TEST

#ifdef OFFRAMP_FAULTS
/* After each interruption: which of the checkpoints of steps 1 and 2 is to be found. */
static const struct {
    enum fault_point point;
    int64_t found;
} interruptions[] = {
    {FAULT_SAVE_BEFORE_MANIFEST, 1},
    {FAULT_SAVE_BEFORE_RENAME, 1},
    {FAULT_SAVE_AFTER_RENAME, 2},
};
enum { INTERRUPTIONS = sizeof(interruptions) / sizeof(interruptions[0]) };

static void arm(int which, const char *action)
{
    char spec[128];

    snprintf(spec, sizeof(spec), "%s@0#1=%s", fault_name(interruptions[which].point), action);
    EXPECT_OK(fault_arm(spec, 0));
}

/* Saves in a child, which is killed there. */
static void save_and_be_killed(int64_t step, int64_t of_step, int which)
{
    int status = 0;

    go_to_step(of_step);
    state.step = step;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        arm(which, "kill");
        (void)!save_now(1);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

START_TEST(save__leaves_a_whole_checkpoint_where_it_fails)
{
    EXPECT_OK(save(1, 1));
    arm(_i, "fail");
    EXPECT_ERR(save(2, 1), ERR_IO, fault_name(interruptions[_i].point));
    ck_assert_int_eq(found_step(), interruptions[_i].found);
    expect_state(interruptions[_i].found, interruptions[_i].found);
    EXPECT_OK(save(2, 1));
    ck_assert_int_eq(found_step(), 2);
    expect_state(2, 2);
    ck_assert(!is_there("checkpoint-1") && !is_there("checkpoint-2.partial"));
}
END_TEST

START_TEST(save__leaves_a_whole_checkpoint_where_it_is_killed)
{
    EXPECT_OK(save(1, 1));
    save_and_be_killed(2, 2, _i);
    ck_assert(is_there("checkpoint-1"));
    ck_assert_int_eq(found_step(), interruptions[_i].found);
    expect_state(interruptions[_i].found, interruptions[_i].found);
    EXPECT_OK(save(2, 1));
    ck_assert_int_eq(found_step(), 2);
    expect_state(2, 2);
    ck_assert(!is_there("checkpoint-1") && !is_there("checkpoint-2.partial"));
}
END_TEST

START_TEST(save__leaves_the_only_checkpoint_whole_where_it_is_killed_replacing_it)
{
    EXPECT_OK(save(5, 1));
    save_and_be_killed(5, 6, _i);
    ck_assert_int_eq(found_step(), 5);
    expect_state(5, interruptions[_i].found == 1 ? 5 : 6);
}
END_TEST
#endif

Suite *test_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tcase = tcase_create("checkpoint");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, save__is_found_and_loaded_with_the_same_hash);
    tcase_add_test(tcase, hash__changes_with_every_part_of_the_state);
    tcase_add_loop_test(tcase, find__passes_over_a_checkpoint_with_a_flipped_byte, 0, FILE_COUNT);
    tcase_add_loop_test(tcase, find__passes_over_a_checkpoint_with_a_missing_or_cut_file, 0,
                        FILE_COUNT);
    tcase_add_test(tcase, find__passes_over_a_manifest_that_vouches_for_nothing);
    tcase_add_test(tcase, find__passes_over_a_manifest_that_leaves_a_file_out);
    tcase_add_test(tcase, find__passes_over_a_whole_checkpoint_of_another_format);
    tcase_add_test(tcase, find__refuses_when_there_are_checkpoints_and_none_is_valid);
    tcase_add_test(tcase, find__looks_at_no_other_names);
    tcase_add_test(tcase, save__keeps_the_newest);
    tcase_add_test(tcase, save__keeps_what_it_made_when_a_later_one_is_damaged);
    tcase_add_test(tcase, save__replaces_one_of_the_same_step);
    tcase_add_test(tcase, save__leaves_the_old_one_when_space_runs_out);
    tcase_add_test(tcase, load__refuses_other_settings_and_names_the_first);
#ifdef OFFRAMP_FAULTS
    tcase_add_loop_test(tcase, save__leaves_a_whole_checkpoint_where_it_fails, 0, INTERRUPTIONS);
    tcase_add_loop_test(tcase, save__leaves_a_whole_checkpoint_where_it_is_killed, 0,
                        INTERRUPTIONS);
    tcase_add_loop_test(tcase,
                        save__leaves_the_only_checkpoint_whole_where_it_is_killed_replacing_it, 0,
                        INTERRUPTIONS);
#endif
    suite_add_tcase(suite, tcase);
    return suite;
}
