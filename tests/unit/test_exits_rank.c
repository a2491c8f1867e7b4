/* Unit tests of exits/exits_rank.c. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exits/exits_rank.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/test_suite.h"

enum { N_MOST = 3000 };

static struct exits_ranked ranked[N_MOST], scratch[N_MOST], expected[N_MOST];

static int ascending(const void *left, const void *right)
{
    const struct exits_ranked *a = left, *b = right;

    if (a->score != b->score) {
        return a->score < b->score ? -1 : 1;
    }
    return (a->sample > b->sample) - (a->sample < b->sample);
}

/* Any float there is but NaN: infinite and subnormal ones, too; with mask, many that are equal. */
static void fill(int64_t n, uint64_t seed, uint32_t mask)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        bytes_from_seed((uint8_t *)&bits, sizeof(bits), seed + (uint64_t)i);
        bits &= mask;
        memcpy(&ranked[i].score, &bits, sizeof(bits));
        ranked[i].score = isnan(ranked[i].score) ? -INFINITY : ranked[i].score;
        ranked[i].sample = (uint32_t)i;
    }
}

START_TEST(rank__is_the_order_of_comparisons_and_keeps_equals_in_theirs)
{
    static const uint32_t masks[] = {0xffffffff, 0xfff00000, 0xc0000000, 0x80000000, 0x007fffff};
    static const int64_t sizes[] = {0, 1, 2, 17, 256, N_MOST};

    for (uint64_t c = 0; c < 30; c++) {
        const int64_t n = sizes[c % 6];
        fill(n, 1000 * c, masks[c / 6]);
        memcpy(expected, ranked, sizeof(ranked));
        qsort(expected, (size_t)n, sizeof(expected[0]), ascending);
        exits_rank(ranked, scratch, n);
        ck_assert_mem_eq(ranked, expected, sizeof(ranked)); /* -0 and 0 are as they came */
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_rank");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, rank__is_the_order_of_comparisons_and_keeps_equals_in_theirs);
    suite_add_tcase(suite, tcase);
    return suite;
}
