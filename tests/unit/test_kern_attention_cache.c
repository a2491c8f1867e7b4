/*
 * Unit tests of trainer/kernels/kern_attention_cache_*.c: rows as attention over the whole text has
 * them, bit by bit.
 */
#include <check.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_attention.h"
#include "trainer/kernels/kern_attention_cache.h"

static const struct version {
    const char *name;
    kern_attention_forward_fn *whole;
    kern_attention_cache_put_fn *put;
    kern_attention_cache_forward_fn *forward;
} VERSIONS[KERN_VERSIONS] = {
    {"portable", kern_attention_forward_portable, kern_attention_cache_put_portable,
     kern_attention_cache_forward_portable},
    {"avx2", kern_attention_forward_avx2, kern_attention_cache_put_avx2,
     kern_attention_cache_forward_avx2},
};

static const struct {
    int64_t T, H, D;
} SHAPES[] = {
    {1, 1, 8},   {9, 3, 16},  {7, 2, 5},  {33, 4, 32},  {70, 2, 64},
    {75, 1, 40}, {24, 2, 24}, {8, 1, 72}, {65, 2, 128}, {11, 1, 136},
};
enum { SHAPE_COUNT = sizeof(SHAPES) / sizeof(SHAPES[0]), GAP = 8 };

/* How many tokens come at once, in turn. */
static const int64_t PIECES[][4] = {{1, 1, 1, 1}, {4, 1, 5, 2}, {100, 1, 1, 1}, {3, 9, 8, 13}};
enum { PIECE_LISTS = sizeof(PIECES) / sizeof(PIECES[0]) };

struct fixture {
    const struct version *version;
    int64_t T, H, D, ld;
    struct float_block qkv; /* [T, 3, H, D] with gaps behind the rows */
    struct float_block want, found, keys, values, scratch;
    struct kern_attention_cache cache;
};

static void open_fixture(struct fixture *fixture, int version, int shape)
{
    const int64_t T = SHAPES[shape].T, H = SHAPES[shape].H, D = SHAPES[shape].D;
    const int64_t capacity = (T + 15) / 8 * 8;

    *fixture = (struct fixture){
        .version = &VERSIONS[version],
        .T = T,
        .H = H,
        .D = D,
        .ld = 3 * H * D + GAP,
        .qkv = float_block_normal(T * (3 * H * D + GAP), 1),
        .want = float_block_open(T * H * D),
        .found = float_block_open(T * H * D),
        .keys = float_block_normal(H * capacity * D, 5), /* of other texts */
        .values = float_block_normal(H * capacity * D, 6),
        .scratch = float_block_open(KERN_ATTENTION_CACHE_ROWS * capacity),
    };
    fixture->cache = (struct kern_attention_cache){.H = H,
                                                   .D = D,
                                                   .capacity = capacity,
                                                   .keys = fixture->keys.data,
                                                   .values = fixture->values.data};
}

static void close_fixture(const struct fixture *fixture)
{
    float_block_close(&fixture->qkv);
    float_block_close(&fixture->want);
    float_block_close(&fixture->found);
    float_block_close(&fixture->keys);
    float_block_close(&fixture->values);
    float_block_close(&fixture->scratch);
}

static void run_whole(const struct fixture *fixture)
{
    const int64_t T = fixture->T, width = 3 * fixture->H * fixture->D;
    const struct kern_attention_shape shape = {1, T, fixture->H, fixture->D};
    const struct kern_attention_mask mask = {.is_causal = true};
    const struct float_block qkv = float_block_open(T * width);

    for (int64_t t = 0; t < T; t++) {
        memcpy(qkv.data + t * width, fixture->qkv.data + t * fixture->ld,
               (size_t)width * sizeof(float));
    }
    fixture->version->whole(fixture->want.data, NULL, qkv.data, &shape, T, &mask);
    float_block_close(&qkv);
}

static void run_pieces(const struct fixture *fixture, const int64_t pieces[4])
{
    const int64_t HD = fixture->H * fixture->D;
    int64_t done = 0;

    for (int i = 0; done < fixture->T; i = (i + 1) % 4) {
        const int64_t left = fixture->T - done, rows = pieces[i] < left ? pieces[i] : left;
        const float *q = fixture->qkv.data + done * fixture->ld;
        fixture->version->put(&fixture->cache, done, rows, q + HD, q + 2 * HD, fixture->ld);
        fixture->version->forward(fixture->found.data + done * HD, q, fixture->ld, &fixture->cache,
                                  done, rows, fixture->scratch.data);
        done += rows;
    }
}

START_TEST(attention_cache_forward__gives_a_token_the_bits_of_a_pass_over_the_text)
{
    const int version = _i / SHAPE_COUNT, shape = _i % SHAPE_COUNT;
    struct fixture fixture;

    for (int list = 0; list < PIECE_LISTS; list++) {
        open_fixture(&fixture, version, shape);
        run_whole(&fixture);
        run_pieces(&fixture, PIECES[list]);
        for (int64_t i = 0; i < fixture.want.count; i++) {
            if (memcmp(&fixture.found.data[i], &fixture.want.data[i], sizeof(float)) != 0) {
                ck_abort_msg("%s, T %d H %d D %d, pieces %d: out[%d] is %.9g, not %.9g",
                             fixture.version->name, (int)fixture.T, (int)fixture.H, (int)fixture.D,
                             list, (int)i, (double)fixture.found.data[i],
                             (double)fixture.want.data[i]);
            }
        }
        close_fixture(&fixture);
    }
}
END_TEST

/* A draft that was refused: its keys are overwritten, and those behind it are never read. */
START_TEST(attention_cache_put__replaces_what_was_kept_for_a_token)
{
    const int version = _i / SHAPE_COUNT, shape = _i % SHAPE_COUNT;
    const int64_t all[4] = {1000, 1000, 1000, 1000};
    struct fixture fixture;

    open_fixture(&fixture, version, shape);
    const int64_t HD = fixture.H * fixture.D;
    const struct float_block other = float_block_normal(fixture.T * fixture.ld, 9);
    fixture.version->put(&fixture.cache, 0, fixture.T, other.data, other.data + HD, fixture.ld);
    run_whole(&fixture);
    run_pieces(&fixture, all);
    ck_assert_mem_eq(fixture.found.data, fixture.want.data,
                     (size_t)fixture.want.count * sizeof(float));
    float_block_close(&other);
    close_fixture(&fixture);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_attention_cache");
    TCase *tcase = tcase_create("cpu");
    const int count = kern_version_count() * SHAPE_COUNT;

    tcase_add_loop_test(
        tcase, attention_cache_forward__gives_a_token_the_bits_of_a_pass_over_the_text, 0, count);
    tcase_add_loop_test(tcase, attention_cache_put__replaces_what_was_kept_for_a_token, 0, count);
    suite_add_tcase(suite, tcase);
    return suite;
}
