/*
 * Unit tests of snapshot/snap_keeper.h: a rank whose keepers are killed, late, or of no use; and of
 * snap.h with a keeper on each node.
 */
#define _GNU_SOURCE
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snap.h"
#include "snapshot/snap_disk.h"
#include "tests/support/keeper_case.h"
#include "tests/support/local_ranks.h"
#include "tests/support/member_memory.h"
#include "tests/support/test_suite.h"

static const char MAKING[] = "making-0123456789abcdef-1";

enum { VERSION = 70, WAIT_MS = 20000 };

static void set_up(void)
{
    keeper_set_up();
}

static void tear_down(void)
{
    keeper_tear_down();
}

START_TEST(open__starts_a_keeper_that_leaves_with_the_job)
{
    struct snap_keeper *rank = keeper_join(0);
    const pid_t process = keeper_process();

    ck_assert_int_gt(process, 0);
    ck_assert_int_ne(process, getpid());
    EXPECT_OK(snap_keeper_reserve(rank, MAKING, 5));
    snap_keeper_close(rank, true);
    EXPECT_SOON(!file_exists(memory));
}
END_TEST

START_TEST(open__tells_who_is_to_be_asked_when_the_program_is_no_keeper)
{
    struct snap_keeper *rank = NULL;
    const struct snap_keeper_options options = {.folder = memory, .program = "/bin/true"};

    EXPECT_ERR(snap_keeper_open(&options, &rank), ERR_TIMEOUT,
               "memory does not answer: see keeper.log there");
}
END_TEST

START_TEST(reserve__succeeds_when_the_keeper_was_killed_before)
{
    struct snap_keeper *rank = keeper_join(0);

    for (int i = 0; i < 3; i++) {
        const pid_t process = keeper_process();
        ck_assert_int_eq(kill(process, SIGKILL), 0);
        EXPECT_SOON(keeper_process() != process);
        EXPECT_OK(snap_keeper_reserve(rank, MAKING, 5));
        ck_assert_int_ne(keeper_process(), process);
    }
    snap_keeper_close(rank, false);
}
END_TEST

START_TEST(news__tell_that_the_keeper_died_when_it_was_writing_and_start_another)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_saved saved;
    struct snap_layout *layout = member_layout(0);
    const struct snap_plan plan = member_plan(disk);

    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    EXPECT_OK(snap_plan_write(&plan, memory));
    EXPECT_OK(snap_area_path(path, memory, layout->hash, 0));
    struct snap_keeper *rank = keeper_join(0);
    EXPECT_OK(snap_keeper_save(rank, strrchr(path, '/') + 1, VERSION)); /* waits for three others */
    const pid_t process = keeper_process();
    ck_assert_int_eq(kill(process, SIGKILL), 0);
    ck_assert(snap_keeper_news(rank, WAIT_MS, &saved));
    ck_assert_uint_eq(saved.version, VERSION);
    ck_assert_int_eq(saved.status, ERR_PEER_LOST);
    ck_assert_str_eq(saved.text, "its keeper died");
    ck_assert(!snap_keeper_news(rank, 0, &saved));
    ck_assert_int_ne(keeper_process(), 0);
    ck_assert_int_ne(keeper_process(), process);
    snap_keeper_close(rank, false);
    snap_layout_close(layout);
}
END_TEST

START_TEST(news__tell_of_a_save_that_came_to_its_end_before_the_keeper_died)
{
    char path[FILE_PATH_BYTES_MAX];
    struct snap_saved saved;
    struct snap_keeper *ranks[MEMBERS];
    struct snap_layout *layout = member_layout(0);
    const struct snap_plan plan = member_plan(disk);

    member_make_all(memory, layout, VERSION, SNAP_COMMITTED);
    EXPECT_OK(snap_plan_write(&plan, memory));
    for (int r = 0; r < MEMBERS; r++) {
        ranks[r] = keeper_join(r);
        EXPECT_OK(snap_area_path(path, memory, layout->hash, r));
        EXPECT_OK(snap_keeper_save(ranks[r], strrchr(path, '/') + 1, VERSION));
    }
    EXPECT_OK(file_path(path, disk, "latest"));
    EXPECT_SOON(file_exists(path));
    clock_nap_us(300000); /* and told */
    const pid_t process = keeper_process();
    ck_assert_int_eq(kill(process, SIGKILL), 0);
    EXPECT_SOON(keeper_process() != process);
    EXPECT_OK(snap_keeper_reserve(ranks[0], MAKING, 5)); /* notices it */
    ck_assert(snap_keeper_news(ranks[0], 0, &saved));
    ck_assert_msg(saved.status == ERR_OK, "%s", saved.text);
    ck_assert(!snap_keeper_news(ranks[0], 0, &saved));
    for (int r = 0; r < MEMBERS; r++) {
        snap_keeper_close(ranks[r], false);
    }
    snap_layout_close(layout);
}
END_TEST

/* The one before still has the folder when the first that is started comes, which ends for that. */
START_TEST(open__starts_another_keeper_when_the_first_one_ended)
{
    static const char text[] = "#!/bin/sh\n"
                               "[ -e \"$0.second\" ] || { : >\"$0.second\"; exit 0; }\n"
                               "exec " KEEPER_PROGRAM " \"$@\"\n";
    char program[FILE_PATH_BYTES_MAX];
    struct snap_keeper *rank = NULL;

    temp_folder_write(&home, "program", text, sizeof(text) - 1);
    EXPECT_OK(file_path(program, home.path, "program"));
    ck_assert_int_eq(chmod(program, 0700), 0);
    const struct snap_keeper_options options = {
        .folder = memory, .program = program, .retain_s = 30};
    EXPECT_OK(snap_keeper_open(&options, &rank));
    snap_keeper_close(rank, false);
}
END_TEST

/* It listens, answers nobody for longer than a keeper takes to start, and ends. */
START_TEST(open__waits_for_a_keeper_that_ends_and_then_starts_another)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/%s", memory, KEEPER_SOCKET);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 5), 0);
    const pid_t silent = fork();
    if (silent == 0) {
        clock_nap_us(11 * 1000 * 1000);
        _exit(0);
    }
    close(listener); /* the child has it */
    struct snap_keeper *rank = keeper_join(0);
    ck_assert_int_ne(keeper_process(), getpid());
    keeper_expect_end(silent);
    snap_keeper_close(rank, false);
}
END_TEST

/* What one run of a job on two nodes does, the same on both ranks. */
struct job {
    uint64_t from, to;
    enum snap_end end;
    struct snap_statistics statistics; /* of rank 0 */
};

static enum err work(struct snap *snap, const struct job *job, uint8_t *state)
{
    struct snap_restored restored;

    ERR_TRY(snap_file(snap, "first", 0));
    ERR_TRY(snap_protect(snap, "a", state, FIRST_FILE_BYTES, SNAP_REPLICATED));
    ERR_TRY(snap_file(snap, "none", 0));
    ERR_TRY(snap_file(snap, "second", 0));
    ERR_TRY(snap_protect(snap, "b", state + FIRST_FILE_BYTES, STATE_BYTES - FIRST_FILE_BYTES,
                         SNAP_REPLICATED));
    ERR_TRY(snap_restore(snap, NULL, 0, &restored));
    if (restored.version != job->from) {
        return ERR_FAIL(ERR_INVALID, "from version %d", (int)restored.version);
    }
    for (uint64_t step = job->from + 1; step <= job->to; step++) {
        ERR_TRY(snap_fence(snap));
        bytes_from_seed(state, STATE_BYTES, step);
        ERR_TRY(step % 3 == 0 ? snap_save(snap, step) : snap_begin(snap, step));
        ERR_TRY(step % 3 == 0 ? snap_wait_saved(snap, WAIT_MS) : ERR_OK);
    }
    return snap_wait(snap);
}

static enum err run_rank(struct comm_group *world, void *context)
{
    struct job *job = context;
    char folder[FILE_PATH_BYTES_MAX];
    struct snap *snap = NULL;
    uint8_t *state = calloc(1, STATE_BYTES);

    if (state == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a state");
    }
    snprintf(folder, sizeof(folder), "%.200s/%d", memory, comm_rank(world));
    const struct snap_options options = {.world = world,
                                         .folder = folder,
                                         .job_key = hash_bytes("test", 4),
                                         .deadline_ms = WAIT_MS,
                                         .compare = true,
                                         .keeper_program = KEEPER_PROGRAM,
                                         .retain_s = 30,
                                         .output_dir = disk,
                                         .keep_count = 2};
    enum err status = snap_open(&options, &snap);
    if (status == ERR_OK) {
        status = work(snap, job, state);
        if (comm_rank(world) == 0) {
            job->statistics = snap_statistics(snap);
        }
        snap_close(snap, status == ERR_OK ? job->end : SNAP_INTERRUPTED);
    }
    free(state);
    return status;
}

static bool is_listening(int rank)
{
    char path[FILE_PATH_BYTES_MAX];

    snprintf(path, sizeof(path), "%.200s/%d/%s", memory, rank, KEEPER_SOCKET);
    return file_exists(path);
}

START_TEST(snap__goes_on_with_the_same_keepers_and_leaves_whole_checkpoints_only)
{
    char path[FILE_PATH_BYTES_MAX];
    struct job job = {0, 6, SNAP_INTERRUPTED, {0}};

    local_ranks_run(2, run_rank, &job);
    ck_assert_int_eq(job.statistics.saves_begun, 2);
    ck_assert_msg(job.statistics.saved == 2, "%s", job.statistics.failure);
    ck_assert_uint_eq(job.statistics.newest_saved, 6);
    ck_assert_int_eq(job.statistics.saved_bytes, STATE_BYTES);
    ck_assert(is_listening(0) && is_listening(1));
    job = (struct job){6, 9, SNAP_FINISHED, {0}};
    local_ranks_run(2, run_rank, &job);
    ck_assert_msg(job.statistics.saved == 1, "%s", job.statistics.failure);
    EXPECT_OK(file_path(path, disk, "checkpoint-9"));
    EXPECT_OK(snap_disk_verify(path, NULL, 0));
    member_expect_files(path, 9);
    EXPECT_OK(file_path(path, disk, "checkpoint-3"));
    ck_assert(!file_exists(path)); /* two are kept */
    for (int r = 0; r < 2; r++) {
        snprintf(path, sizeof(path), "%.200s/%d", memory, r);
        EXPECT_SOON(!file_exists(path));
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_keeper");
    TCase *tcase = tcase_create("snap_keeper");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, open__starts_a_keeper_that_leaves_with_the_job);
    tcase_add_test(tcase, open__tells_who_is_to_be_asked_when_the_program_is_no_keeper);
    tcase_add_test(tcase, reserve__succeeds_when_the_keeper_was_killed_before);
    tcase_add_test(tcase, news__tell_that_the_keeper_died_when_it_was_writing_and_start_another);
    tcase_add_test(tcase, news__tell_of_a_save_that_came_to_its_end_before_the_keeper_died);
    tcase_add_test(tcase, open__starts_another_keeper_when_the_first_one_ended);
    tcase_add_test(tcase, open__waits_for_a_keeper_that_ends_and_then_starts_another);
    tcase_add_test(tcase, snap__goes_on_with_the_same_keepers_and_leaves_whole_checkpoints_only);
    suite_add_tcase(suite, tcase);
    return suite;
}
