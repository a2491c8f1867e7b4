/* Unit tests of launch/incarnation.h: starts count up, and one that cannot be told is no first one. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "launch/incarnation.h"
#include "tests/support/local_ranks.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { RANKS = 3, DEADLINE_MS = 20000, FAILURE_MS = 50 };

static struct temp_folder folder;
static struct incarnation told[RANKS];

static void set_up(void)
{
    temp_folder_open(&folder);
    unsetenv("OFFRAMP_INCARNATION");
}

static void tear_down(void)
{
    temp_folder_close(&folder);
}

static enum err next(struct comm_group *world, void *context)
{
    const int64_t *deadline_ms = context;

    return incarnation_next(world, folder.path, *deadline_ms, &told[comm_rank(world)]);
}

/* A start of that number takes the folder, going on from that step. */
static void claim(uint64_t number, int64_t step)
{
    struct incarnation incarnation = {.number = number, .tried = -1};

    EXPECT_OK(incarnation_claim(folder.path, &incarnation, step));
}

/* What all ranks are told, the same. */
static struct incarnation next_of_all(void)
{
    int64_t deadline_ms = DEADLINE_MS;

    local_ranks_run(RANKS, next, &deadline_ms);
    for (int r = 1; r < RANKS; r++) {
        ck_assert_uint_eq(told[r].number, told[0].number);
        ck_assert(told[r].is_first == told[0].is_first && told[r].fences == told[0].fences);
    }
    return told[0];
}

/* All ranks fail, and rank 0 tells why. */
static void expect_failure(enum err code, const char *part)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    int64_t deadline_ms = FAILURE_MS; /* the others wait so long for rank 0 */

    local_ranks_try(RANKS, next, &deadline_ms, ranks);
    ck_assert_int_eq(ranks[0].status, code);
    ck_assert_msg(strstr(ranks[0].text, part) != NULL, "%s", ranks[0].text);
    for (int r = 1; r < RANKS; r++) {
        ck_assert_int_ne(ranks[r].status, ERR_OK);
    }
}

START_TEST(next__is_one_more_when_the_last_start_claimed_the_folder)
{
    for (uint64_t number = 1; number < 12; number++) {
        for (int again = 0; again < 2; again++) { /* nothing is written by asking */
            const struct incarnation incarnation = next_of_all();
            ck_assert_uint_eq(incarnation.number, number);
            ck_assert(incarnation.is_first == (number == 1));
            ck_assert(!incarnation.fences);
        }
        claim(number, 0);
    }
}
END_TEST

START_TEST(next__fences_with_the_number_of_a_supervisor)
{
    claim(4, 0);
    setenv("OFFRAMP_INCARNATION", "9", 1);
    const struct incarnation incarnation = next_of_all();
    ck_assert_uint_eq(incarnation.number, 9);
    ck_assert(incarnation.fences && !incarnation.is_first);
    setenv("OFFRAMP_INCARNATION", "", 1);
    ck_assert_uint_eq(next_of_all().number, 5);
    static const char *const wrong[] = {"4",  "3",  "0",   "-1", "x",
                                        "9x", " 9", "1e3", "5 ", "18446744073709551616"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("OFFRAMP_INCARNATION", wrong[i], 1);
        expect_failure(ERR_CONFIG, "expected a number above 4");
    }
}
END_TEST

/* Taken for a first start, it would have the memory of the run thrown away. */
START_TEST(next__fails_when_the_folder_s_number_cannot_be_read)
{
    static const char *const wrong[] = {"",        "\n",    "0 0 0\n",
                                        "seven\n", "7 1\n", "18446744073709551615 0 0\n"};
    char path[FILE_PATH_BYTES_MAX];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        temp_folder_write(&folder, "incarnation", wrong[i], strlen(wrong[i]));
        expect_failure(ERR_CORRUPT, "incarnation: no number from 1");
        EXPECT_ERR(incarnation_check(folder.path, 7), ERR_CORRUPT, "incarnation: no number");
    }
    EXPECT_OK(file_path(path, folder.path, "incarnation"));
    ck_assert_int_eq(unlink(path), 0);
    EXPECT_OK(file_make_folder(path)); /* there, and no file */
    expect_failure(ERR_IO, "incarnation");
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(check__refuses_a_start_that_a_later_one_has_taken_over_from)
{
    EXPECT_OK(incarnation_check(folder.path, 1));
    claim(5, 0);
    EXPECT_OK(incarnation_check(folder.path, 5));
    EXPECT_OK(incarnation_check(folder.path, 6));
    EXPECT_ERR(incarnation_check(folder.path, 4), ERR_CONFIG, "start 5 of ");
}
END_TEST

/* Three starts from one step that made no other set it aside; one that makes a step clears it. */
START_TEST(next__sets_a_step_aside_when_three_starts_from_it_made_no_other)
{
    for (int tries = 1; tries <= 4; tries++) {
        struct incarnation incarnation = next_of_all();
        ck_assert_int_eq(incarnation.set_aside, tries == 4 ? 120 : -1);
        ck_assert_int_eq(incarnation.tries, tries - 1);
        EXPECT_OK(incarnation_claim(folder.path, &incarnation, 120));
    }
    struct incarnation incarnation = next_of_all();
    EXPECT_OK(incarnation_claim(folder.path, &incarnation, 80)); /* the older one */
    incarnation = next_of_all();
    ck_assert_int_eq(incarnation.set_aside, -1);
    EXPECT_OK(incarnation_claim(folder.path, &incarnation, 80));
    EXPECT_OK(incarnation_succeed(folder.path, &incarnation));
    EXPECT_OK(incarnation_succeed(folder.path, &incarnation));
    ck_assert_int_eq(next_of_all().tries, 0);
    ck_assert_int_eq(next_of_all().tried, -1);
}
END_TEST

START_TEST(next__sets_nothing_aside_when_there_is_nothing_to_go_on_from)
{
    for (int tries = 1; tries <= 5; tries++) {
        struct incarnation incarnation = next_of_all();
        ck_assert_int_eq(incarnation.set_aside, -1);
        EXPECT_OK(incarnation_claim(folder.path, &incarnation, 0));
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("incarnation");
    TCase *tcase = tcase_create("incarnation");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, next__is_one_more_when_the_last_start_claimed_the_folder);
    tcase_add_test(tcase, next__fences_with_the_number_of_a_supervisor);
    tcase_add_test(tcase, next__fails_when_the_folder_s_number_cannot_be_read);
    tcase_add_test(tcase, next__sets_a_step_aside_when_three_starts_from_it_made_no_other);
    tcase_add_test(tcase, next__sets_nothing_aside_when_there_is_nothing_to_go_on_from);
    tcase_add_test(tcase, check__refuses_a_start_that_a_later_one_has_taken_over_from);
    suite_add_tcase(suite, tcase);
    return suite;
}
