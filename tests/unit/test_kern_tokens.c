/* Unit tests of trainer/kernels/kern_tokens.h: the definition, by hand and in double. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_tokens.h"

enum { B = 3, T = 5, D = 7, V = 6, LD = 9 };

static const struct kern_tokens_shape SHAPE = {B, T, D, V, LD};
static const int32_t LENGTHS[B] = {3, 5, 1};
/* Words that come twice in a sample and in several samples; behind a length: no word at all. */
static const int32_t TOKENS[B * LD] = {
    4, 2, 4,  -7, -7, -7, -7, -7, -7, /* */
    0, 4, 5,  0,  2,  -7, -7, -7, -7, /* */
    4, 9, -7, -7, -7, -7, -7, -7, -7,
};

static struct float_block words, positions, type, x, dx;

static void set_up(void)
{
    words = float_block_normal(V * D, 1);
    positions = float_block_normal(T * D, 2);
    type = float_block_normal(D, 3);
    x = float_block_open(B * T * D);
    dx = float_block_normal(B * T * D, 4);
}

static void tear_down(void)
{
    float_block_close(&words);
    float_block_close(&positions);
    float_block_close(&type);
    float_block_close(&x);
    float_block_close(&dx);
}

/* Padding as no function may read it. */
static void spoil_padding(const struct float_block *stream)
{
    for (int64_t i = 0; i < B * T * D; i++) {
        if (i / D % T >= LENGTHS[i / D / T]) {
            stream->data[i] = NAN;
        }
    }
}

START_TEST(forward__adds_up_word_position_and_type)
{
    const struct kern_tokens from = {words.data, positions.data, _i == 0 ? NULL : type.data};

    kern_tokens_forward_portable(x.data, TOKENS, LENGTHS, &from, &SHAPE);
    for (int64_t i = 0; i < B * T * D; i++) {
        const int64_t b = i / D / T, t = i / D % T, d = i % D;
        double want = 0;
        if (t < LENGTHS[b]) {
            want = (double)words.data[TOKENS[b * LD + t] * D + d] +
                   (double)positions.data[t * D + d] + (_i == 0 ? 0 : (double)type.data[d]);
        }
        ck_assert(kern_is_close((double)x.data[i], want, 1e-6));
        ck_assert(t < LENGTHS[b] || x.data[i] == 0);
    }
}
END_TEST

static void copy_to_f64(double *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

START_TEST(backward__adds_every_row_to_where_it_came_from)
{
    struct float_block dwords = float_block_normal(V * D, 5);
    struct float_block dpositions = float_block_normal(T * D, 6);
    struct float_block dtype = float_block_normal(D, 7);
    double want_words[V * D], want_positions[T * D], want_type[D];

    spoil_padding(&dx);
    copy_to_f64(want_words, dwords.data, V * D);
    copy_to_f64(want_positions, dpositions.data, T * D);
    copy_to_f64(want_type, dtype.data, D);
    for (int64_t i = 0; i < B * T * D; i++) {
        const int64_t b = i / D / T, t = i / D % T, d = i % D;
        if (t < LENGTHS[b]) {
            want_words[TOKENS[b * LD + t] * D + d] += (double)dx.data[i];
            want_positions[t * D + d] += (double)dx.data[i];
            want_type[d] += (double)dx.data[i];
        }
    }
    kern_tokens_backward_portable(
        &(struct kern_tokens_gradients){dwords.data, dpositions.data, dtype.data}, dx.data, TOKENS,
        LENGTHS, &SHAPE);
    for (int64_t i = 0; i < V * D; i++) {
        ck_assert(kern_is_close((double)dwords.data[i], want_words[i], 1e-6));
    }
    for (int64_t i = 0; i < T * D; i++) {
        ck_assert(kern_is_close((double)dpositions.data[i], want_positions[i], 1e-6));
    }
    for (int64_t i = 0; i < D; i++) {
        ck_assert(kern_is_close((double)dtype.data[i], want_type[i], 2e-6));
    }
    kern_tokens_backward_portable(
        &(struct kern_tokens_gradients){dwords.data, dpositions.data, NULL}, dx.data, TOKENS,
        LENGTHS, &SHAPE);
    float_block_close(&dwords);
    float_block_close(&dpositions);
    float_block_close(&dtype);
}
END_TEST

START_TEST(mean__is_of_the_tokens_that_are_there)
{
    struct float_block mean = float_block_open(B * D);
    struct float_block before = float_block_normal(B * T * D, 4);

    spoil_padding(&dx);
    kern_token_mean_forward_portable(mean.data, dx.data, LENGTHS, B, T, D);
    for (int64_t i = 0; i < B * D; i++) {
        double want = 0;
        for (int64_t t = 0; t < LENGTHS[i / D]; t++) {
            const int64_t b = i / D;
            want += (double)dx.data[(b * T + t) * D + i % D] / (double)LENGTHS[b];
        }
        ck_assert(kern_is_close((double)mean.data[i], want, 1e-6));
    }
    memcpy(dx.data, before.data, (size_t)(B * T * D) * sizeof(float));
    kern_token_mean_backward_portable(dx.data, mean.data, LENGTHS, B, T, D);
    for (int64_t i = 0; i < B * T * D; i++) {
        const int64_t b = i / D / T, length = LENGTHS[b];
        const double share = i / D % T < length ? (double)mean.data[b * D + i % D] : 0;
        const double want = (double)before.data[i] + share / (double)length;
        ck_assert(kern_is_close((double)dx.data[i], want, 1e-6));
    }
    float_block_close(&mean);
    float_block_close(&before);
}
END_TEST

START_TEST(last__is_the_last_token_that_is_there)
{
    struct float_block last = float_block_open(B * D);
    struct float_block before = float_block_normal(B * T * D, 4);

    kern_token_last_forward_portable(last.data, dx.data, LENGTHS, B, T, D);
    for (int64_t i = 0; i < B * D; i++) {
        const int64_t at = i / D * T + LENGTHS[i / D] - 1;
        ck_assert(last.data[i] == dx.data[at * D + i % D]);
    }
    kern_token_last_backward_portable(dx.data, last.data, LENGTHS, B, T, D);
    for (int64_t i = 0; i < B * T * D; i++) {
        const bool is_last = i / D % T == LENGTHS[i / D / T] - 1;
        ck_assert(dx.data[i] == (is_last ? 2 : 1) * before.data[i]);
    }
    float_block_close(&last);
    float_block_close(&before);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_tokens");
    TCase *tcase = tcase_create("kern_tokens");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, forward__adds_up_word_position_and_type, 0, 2);
    tcase_add_test(tcase, backward__adds_every_row_to_where_it_came_from);
    tcase_add_test(tcase, mean__is_of_the_tokens_that_are_there);
    tcase_add_test(tcase, last__is_the_last_token_that_is_there);
    suite_add_tcase(suite, tcase);
    return suite;
}
