/* Unit tests of launch/supervisor/supervisor_place.h. */
#include <check.h>
#include <string.h>

#include "launch/supervisor/supervisor_place.h"
#include "tests/support/test_suite.h"

static char hosts[4][NODES_HOST_BYTES] = {"a", "b", "c", "d"};

/* Nodes a to d; those of `used` are. */
static const struct {
    const char *used;
    int slots, per_node;
    int64_t shares;
    int ranks;
    const char *hosts;
} table[] = {
    {"abcd", 2, 2, 8, 8, "a:2,b:2,c:2,d:2"}, {"abcd", 2, 1, 8, 4, "a:1,b:1,c:1,d:1"},
    {"acd", 2, 2, 8, 4, "a:2,c:2,d:2"},  /* 6 do not share 8: 2, 1, 1 */
    {"acd", 2, 2, 12, 6, "a:2,c:2,d:2"}, /* 6 do 12 */
    {"acd", 2, 1, 8, 4, "a:2,c:2,d:2"},  /* 2 would leave out a node */
    {"acd", 1, 1, 8, 2, "a:1,c:1,d:1"},  /* and there is no slot for more */
    {"bd", 1, 1, 8, 2, "b:1,d:1"},           {"c", 4, 1, 8, 1, "c:1"},
    {"abc", 4, 1, 7, 7, "a:4,b:4,c:4"},      {"abc", 2, 1, 7, 1, "a:1,b:1,c:1"},
};

START_TEST(place__has_a_rank_on_each_node_if_it_can)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int slots[4] = {table[i].slots, table[i].slots, table[i].slots, table[i].slots};
        const struct nodes_list list = {.count = 4, .hosts = hosts, .slots = slots};
        bool is_used[4];
        char text[200] = "";
        for (int n = 0; n < 4; n++) {
            is_used[n] = strchr(table[i].used, hosts[n][0]) != NULL;
        }
        const int ranks = place_ranks(&list, is_used, table[i].per_node, table[i].shares);
        place_hosts(&list, is_used, table[i].per_node, ranks, text, sizeof(text));
        ck_assert_msg(ranks == table[i].ranks && strcmp(text, table[i].hosts) == 0,
                      "case %zu: %d ranks on %s, expected %d on %s", i, ranks, text, table[i].ranks,
                      table[i].hosts);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("supervisor_place");
    TCase *tcase = tcase_create("supervisor_place");

    tcase_add_test(tcase, place__has_a_rank_on_each_node_if_it_can);
    suite_add_tcase(suite, tcase);
    return suite;
}
