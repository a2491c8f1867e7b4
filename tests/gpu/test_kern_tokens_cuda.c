/* Tests of trainer/kernels/kern_tokens_cuda.cu: the bits of the portable version. */
#include <string.h>

#include "tests/support/device_mirror.h"
#include "tests/support/float_block.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_tokens.h"

static const struct kern_tokens_shape SHAPES[] = {
    {1, 1, 1, 1, 1}, {2, 8, 16, 5, 8}, {3, 5, 7, 300, 9}, {4, 16, 130, 3, 20}, {5, 24, 384, 40, 24},
};
enum { SHAPE_COUNT = sizeof(SHAPES) / sizeof(SHAPES[0]) };

/* What both versions write to, filled alike. */
struct pair {
    struct float_block plain, there;
};

static struct pair open_pair(int64_t count, uint32_t sub)
{
    return (struct pair){float_block_normal(count, sub), float_block_normal(count, sub)};
}

static void close_same(const struct pair *pair, const char *what)
{
    for (int64_t i = 0; i < pair->plain.count; i++) {
        if (memcmp(pair->plain.data + i, pair->there.data + i, sizeof(float)) != 0) {
            ck_abort_msg("%s[%d] is %.9g, not %.9g", what, (int)i, (double)pair->there.data[i],
                         (double)pair->plain.data[i]);
        }
    }
    float_block_close(&pair->plain);
    float_block_close(&pair->there);
}

static struct {
    int32_t tokens[5 * 24], lengths[5];
} input;

/* Words that come often, lengths 1 .. T. */
static void fill_input(const struct kern_tokens_shape *s)
{
    for (int64_t i = 0; i < s->B * s->ld; i++) {
        input.tokens[i] = (int32_t)(rng_uniform(1, RNG_TEST, (uint64_t)i, 9) * (double)s->V);
    }
    for (int64_t b = 0; b < s->B; b++) {
        input.lengths[b] = (int32_t)(1 + (s->T - 1) * (b + 1) / s->B);
    }
}

START_TEST(embedding__has_the_bits_of_the_portable_version)
{
    const struct kern_tokens_shape *s = &SHAPES[_i / 2];
    const bool has_type = _i % 2 == 0;
    const int64_t V = s->V, T = s->T, D = s->D, rows = s->B * T;
    struct float_block words = float_block_normal(V * D, 1), type = float_block_normal(D, 3);
    struct float_block positions = float_block_normal(T * D, 2);
    struct float_block dx = float_block_normal(rows * D, 4);
    struct pair x = open_pair(rows * D, 5), dwords = open_pair(V * D, 6);
    struct pair dpositions = open_pair(T * D, 7), dtype = open_pair(D, 8);
    const struct kern_tokens from = {words.data, positions.data, has_type ? type.data : NULL};
    struct device_mirror m = device_mirror_begin();

    fill_input(s);
    kern_tokens_forward_portable(x.plain.data, input.tokens, input.lengths, &from, s);
    kern_tokens_backward_portable(
        &(struct kern_tokens_gradients){dwords.plain.data, dpositions.plain.data,
                                        has_type ? dtype.plain.data : NULL},
        dx.data, input.tokens, input.lengths, s);
    const int32_t *tokens = device_mirror_in_i32(&m, input.tokens, s->B * s->ld);
    const int32_t *lengths = device_mirror_in_i32(&m, input.lengths, s->B);
    kern_tokens_forward_cuda(
        device_mirror_out(&m, x.there.data, rows * D), tokens, lengths,
        &(struct kern_tokens){device_mirror_in(&m, words.data, V * D),
                              device_mirror_in(&m, positions.data, T * D),
                              has_type ? device_mirror_in(&m, type.data, D) : NULL},
        s);
    kern_tokens_backward_cuda(
        &(struct kern_tokens_gradients){device_mirror_out(&m, dwords.there.data, V * D),
                                        device_mirror_out(&m, dpositions.there.data, T * D),
                                        has_type ? device_mirror_out(&m, dtype.there.data, D)
                                                 : NULL},
        device_mirror_in(&m, dx.data, rows * D), tokens, lengths, s);
    device_mirror_end(&m);
    close_same(&x, "x");
    close_same(&dwords, "dwords");
    close_same(&dpositions, "dpositions");
    close_same(&dtype, "dtype");
    float_block_close(&words);
    float_block_close(&type);
    float_block_close(&positions);
    float_block_close(&dx);
}
END_TEST

START_TEST(pooling__has_the_bits_of_the_portable_version)
{
    const struct kern_tokens_shape *s = &SHAPES[_i];
    const int64_t B = s->B, T = s->T, D = s->D;
    struct float_block x = float_block_normal(B * T * D, 1);
    struct pair mean = open_pair(B * D, 2), last = open_pair(B * D, 3);
    struct pair dmean = open_pair(B * T * D, 4), dlast = open_pair(B * T * D, 5);
    struct device_mirror m = device_mirror_begin();

    fill_input(s);
    kern_token_mean_backward_portable(dmean.plain.data, mean.plain.data, input.lengths, B, T, D);
    kern_token_last_backward_portable(dlast.plain.data, last.plain.data, input.lengths, B, T, D);
    kern_token_mean_forward_portable(mean.plain.data, x.data, input.lengths, B, T, D);
    kern_token_last_forward_portable(last.plain.data, x.data, input.lengths, B, T, D);
    const int32_t *lengths = device_mirror_in_i32(&m, input.lengths, B);
    float *mean_there = device_mirror_out(&m, mean.there.data, B * D);
    float *last_there = device_mirror_out(&m, last.there.data, B * D);
    const float *x_there = device_mirror_in(&m, x.data, B * T * D);
    kern_token_mean_backward_cuda(device_mirror_out(&m, dmean.there.data, B * T * D), mean_there,
                                  lengths, B, T, D);
    kern_token_last_backward_cuda(device_mirror_out(&m, dlast.there.data, B * T * D), last_there,
                                  lengths, B, T, D);
    kern_token_mean_forward_cuda(mean_there, x_there, lengths, B, T, D);
    kern_token_last_forward_cuda(last_there, x_there, lengths, B, T, D);
    device_mirror_end(&m);
    close_same(&mean, "mean");
    close_same(&last, "last");
    close_same(&dmean, "dmean");
    close_same(&dlast, "dlast");
    float_block_close(&x);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_tokens_cuda");
    TCase *tcase = tcase_create("kern_tokens_cuda");

    tcase_add_loop_test(tcase, embedding__has_the_bits_of_the_portable_version, 0, 2 * SHAPE_COUNT);
    tcase_add_loop_test(tcase, pooling__has_the_bits_of_the_portable_version, 0, SHAPE_COUNT);
    suite_add_tcase(suite, tcase);
    return suite;
}
