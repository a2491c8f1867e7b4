/* Unit tests of launch/supervisor/supervisor_watch.h and the host files of supervisor_nodes.h. */
#define _XOPEN_SOURCE 700
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/supervisor/supervisor_nodes.h"
#include "launch/supervisor/supervisor_watch.h"
#include "tests/support/test_suite.h"

static const int64_t second_ns = 1000000000;

START_TEST(line__is_read_as_it_was_written_on_a_node_with_another_clock)
{
    const struct progress there = {
        .process = 4711,
        .start = 88123,
        .incarnation = 5,
        .beats = 912,
        .phase = PROGRESS_STEPS,
        .step = 812,
        .kept = 810,
        .from = -1,
        .stage = 2,
        .code = -1,
        .quiet_ms = 1500,
        .at_ns = 100 * second_ns,
        .first_step_ns = 90 * second_ns,
        .since_ns = {[PROGRESS_BEGUN] = 80 * second_ns, [PROGRESS_STEPS] = 95 * second_ns},
    };
    const int64_t here_ns = 5000 * second_ns;
    char line[1024] = "offramp 1";
    const char *at = NULL;
    struct progress here;
    int rank = -1;

    watch_line_put(3, &there, 101 * second_ns, line + strlen(line), sizeof(line) - strlen(line));
    watch_line_put(4, &there, 101 * second_ns, line + strlen(line), sizeof(line) - strlen(line));
    ck_assert(watch_line_is(line));
    for (int expected = 3; expected <= 4; expected++) {
        ck_assert(watch_line_next(line, &at, here_ns, &rank, &here));
        ck_assert_int_eq(rank, expected);
        ck_assert_int_eq(here.process, there.process);
        ck_assert_uint_eq(here.start, there.start);
        ck_assert_uint_eq(here.incarnation, there.incarnation);
        ck_assert_uint_eq(here.beats, there.beats);
        ck_assert_int_eq(here.phase, there.phase);
        ck_assert_int_eq(here.step, there.step);
        ck_assert_int_eq(here.kept, there.kept);
        ck_assert_int_eq(here.from, there.from);
        ck_assert_int_eq(here.stage, there.stage);
        ck_assert_int_eq(here.code, there.code);
        ck_assert_int_eq(here.quiet_ms, there.quiet_ms);
        ck_assert_int_eq(here.at_ns, 4999 * second_ns);
        ck_assert_int_eq(here.first_step_ns, 4989 * second_ns);
        ck_assert_int_eq(here.since_ns[PROGRESS_BEGUN], 4979 * second_ns);
        ck_assert_int_eq(here.since_ns[PROGRESS_STEPS], 4994 * second_ns);
        ck_assert_int_eq(here.since_ns[PROGRESS_SAVES], 0);
    }
    ck_assert(!watch_line_next(line, &at, here_ns, &rank, &here));
}
END_TEST

START_TEST(line__of_anything_else_is_refused)
{
    static const char *const lines[] = {"", "Welcome", "offramp 12", "offramp 2 3:1", "offramp"};
    static const char *const ranks[] = {
        "offramp 1",
        "offramp 1 ",
        "offramp 1 x",
        "offramp 1 3:1:2:3:4:5:6:7:8:9:10:11:12",
        "offramp 1 -3:1:2:3:4:5:6:7:8:9:10:11:12:13:1,2,3,4,5,6,7,8",
        "offramp 1 3:1:2:3:4:5:6:7:8:9:10:-11:12:13:1,2,3,4,5,6,7,8",
        "offramp 1 3:1:2:3:4:99:6:7:8:9:10:11:12:13:1,2,3,4,5,6,7,8",
        "offramp 1 3:1:2:3:4:5:6:7:8:9:10:11:12:13:1,2,3,4"};
    struct progress progress;
    int rank = 0;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        ck_assert_msg(!watch_line_is(lines[i]), "'%s'", lines[i]);
    }
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        const char *at = NULL;
        ck_assert(watch_line_is(ranks[i]));
        ck_assert_msg(!watch_line_next(ranks[i], &at, 0, &rank, &progress), "'%s'", ranks[i]);
    }
}
END_TEST

static char path[64];
static struct nodes_list list;

static enum err read_hosts(const char *text)
{
    snprintf(path, sizeof(path), "/tmp/test_hosts.XXXXXX");
    const int file = mkstemp(path);

    ck_assert_int_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    const enum err status = nodes_list_read(path, &list);
    unlink(path);
    err_clear();
    return status;
}

START_TEST(list__has_the_hosts_in_their_order)
{
    ck_assert_int_eq(read_hosts("# all\nnode07 slots=4\n\n  node01\t# one\nnode02 slots=1\r\n"),
                     ERR_OK);
    ck_assert_int_eq(list.count, 3);
    ck_assert_str_eq(list.hosts[0], "node07");
    ck_assert_str_eq(list.hosts[1], "node01");
    ck_assert_str_eq(list.hosts[2], "node02");
    ck_assert_int_eq(list.slots[0], 4);
    ck_assert_int_eq(list.slots[1], 1);
    nodes_list_release(&list);
}
END_TEST

START_TEST(list__that_is_not_understood_is_refused)
{
    static const char *const texts[] = {"",
                                        "# none\n",
                                        "a slots=0\n",
                                        "a slots=x\n",
                                        "a 4\n",
                                        "a slots=4 max_slots=4\n",
                                        "a\nb\na slots=2\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(read_hosts(texts[i]) == ERR_CONFIG, "'%s'", texts[i]);
    }
    ck_assert_int_eq(nodes_list_read("/nowhere/hosts", &list), ERR_MISSING);
    err_clear();
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("supervisor_watch");
    TCase *tcase = tcase_create("supervisor_watch");

    tcase_add_test(tcase, line__is_read_as_it_was_written_on_a_node_with_another_clock);
    tcase_add_test(tcase, line__of_anything_else_is_refused);
    tcase_add_test(tcase, list__has_the_hosts_in_their_order);
    tcase_add_test(tcase, list__that_is_not_understood_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
