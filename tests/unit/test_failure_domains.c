/* Unit tests of launch/failure_domains.h. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/failure_domains.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static const char racks[] = "# racks\n"
                            "node1 rack1\n"
                            "\tnode2\track1   # the same\r\n"
                            "\n"
                            "   # nothing\n"
                            "node3.site.org rack2\n"
                            "node1 rack1\n"
                            "node3 rack3";

/* The domain of the first of two names that is there. */
static uint64_t domain_of(const char *first, const char *second)
{
    const char *const names[] = {first, second};
    uint64_t domain = 0;

    EXPECT_OK(failure_domains_parse(racks, strlen(racks), "racks.txt", names, 2, &domain));
    return domain;
}

START_TEST(parse__finds_the_domain_of_the_first_name_that_is_there)
{
    ck_assert_uint_ne(domain_of("node1", "-"), 0);
    ck_assert_uint_eq(domain_of("node1", "-"), domain_of("-", "node2"));
    ck_assert_uint_ne(domain_of("node1", "-"), domain_of("node3", "-"));
    ck_assert_uint_eq(domain_of("node3.site.org", "node3"), domain_of("node3.site.org", "-"));
    ck_assert_uint_ne(domain_of("node3.site.org", "node3"), domain_of("node3", "-"));
    ck_assert_uint_eq(domain_of("node3", "node1"), domain_of("node3", "-"));
}
END_TEST

START_TEST(parse__gives_0_for_hosts_that_are_not_there)
{
    static const char *const others[] = {"node", "node11", "rack1", "#", "", "Node1", "nothing"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_uint_eq(domain_of(others[i], "-"), 0);
    }
}
END_TEST

START_TEST(parse__refuses_what_it_does_not_understand_and_tells_where)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"a x\nb\n", "racks.txt: line 2: \"b\" is not HOST DOMAIN"},
        {"a x\n\n# c\nb x y", "racks.txt: line 4: \"b x y\" is not HOST DOMAIN"},
        {"a # x\n", "racks.txt: line 1: \"a # x\" is not HOST DOMAIN"},
        {"a x\nb y\nc z\na y\n", "racks.txt: line 4: a is in y, and in x by line 1"},
        {"b x\na x\nb x\nb y\n", "racks.txt: line 4: b is in y, and in x by line 3"},
    };
    static const char *const names[] = {"a"};
    uint64_t domain = 7;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EXPECT_ERR(failure_domains_parse(cases[i].text, strlen(cases[i].text), "racks.txt", names,
                                         1, &domain),
                   ERR_CONFIG, cases[i].part);
        ck_assert_uint_eq(domain, 7);
    }
    EXPECT_OK(failure_domains_parse("", 0, "racks.txt", names, 1, &domain));
    ck_assert_uint_eq(domain, 0);
}
END_TEST

struct nodes {
    char path[FILE_PATH_BYTES_MAX];
    uint64_t domains[4];
};

static enum err look_up(struct comm_group *world, void *context)
{
    struct nodes *nodes = context;
    char folder[32];

    snprintf(folder, sizeof(folder), "/dev/shm/node%d", comm_rank(world));
    return failure_domains_of_node(world, nodes->path, folder, 10000,
                                   &nodes->domains[comm_rank(world)]);
}

START_TEST(of_node__knows_a_node_by_its_folder)
{
    struct temp_folder folder;
    struct nodes nodes = {.path = ""};
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    local_ranks_run(4, look_up, &nodes); /* no file, no domains */
    for (int r = 0; r < 4; r++) {
        ck_assert_uint_eq(nodes.domains[r], 0);
    }
    temp_folder_open(&folder);
    EXPECT_OK(file_path(nodes.path, folder.path, "racks.txt"));
    local_ranks_try(1, look_up, &nodes, ranks);
    ck_assert_int_eq(ranks[0].status, ERR_MISSING);
    EXPECT_OK(file_write_text(nodes.path, racks));
    local_ranks_run(4, look_up, &nodes);
    ck_assert_uint_eq(nodes.domains[0], 0); /* node0 is not named */
    ck_assert_uint_eq(nodes.domains[1], domain_of("node1", "-"));
    ck_assert_uint_eq(nodes.domains[2], nodes.domains[1]);
    ck_assert_uint_eq(nodes.domains[3], domain_of("node3", "-"));
    temp_folder_close(&folder);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("failure_domains");
    TCase *tcase = tcase_create("failure_domains");

    tcase_add_test(tcase, parse__finds_the_domain_of_the_first_name_that_is_there);
    tcase_add_test(tcase, parse__gives_0_for_hosts_that_are_not_there);
    tcase_add_test(tcase, parse__refuses_what_it_does_not_understand_and_tells_where);
    tcase_add_test(tcase, of_node__knows_a_node_by_its_folder);
    suite_add_tcase(suite, tcase);
    return suite;
}
