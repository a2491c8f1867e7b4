/* Unit tests of trainer/model/model_input.c on the CPU. */
#include <check.h>

#include "tests/support/err_expect.h"
#include "tests/support/test_suite.h"
#include "trainer/model/model_input.h"

enum { N = 3, STRIDE = 25 };

static const struct model_config texts = {.embedding = MODEL_EMBEDDING_TOKENS,
                                          .vocab_size = 10,
                                          .max_position_embeddings = 20,
                                          .max_length = 18};
static const struct model_config images = {.image_size = 4, .patch_size = 2, .num_channels = 3};

static int32_t tokens[N * STRIDE], lengths[N];
static struct model_stage *stage;

static void set_up(void)
{
    for (int i = 0; i < N * STRIDE; i++) {
        tokens[i] = i % 10;
    }
    for (int i = 0; i < N; i++) {
        lengths[i] = 1 + i;
    }
    EXPECT_OK(model_stage_open(&texts, device_cpu(), N, &stage));
}

static void tear_down(void)
{
    model_stage_close(stage);
}

static struct model_input input(void)
{
    return (struct model_input){.tokens = tokens, .lengths = lengths, .token_stride = STRIDE};
}

START_TEST(put__makes_a_pass_as_wide_as_its_longest_text)
{
    static const struct {
        int32_t longest;
        int64_t width;
    } cases[] = {{1, 8}, {8, 8}, {9, 16}, {16, 16}, {17, 20}, {18, 20}};
    const struct model_input host = input();
    struct model_input staged;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lengths[0] = lengths[2] = 1;
        lengths[1] = cases[i].longest;
        EXPECT_OK(model_stage_put(stage, &host, N, &staged));
        ck_assert_int_eq(staged.width, cases[i].width);
        ck_assert_ptr_eq(staged.tokens, tokens); /* a CPU finds it where it is */
        ck_assert_ptr_eq(staged.lengths, lengths);
        ck_assert_int_eq(staged.token_stride, STRIDE);
    }
}
END_TEST

START_TEST(put__refuses_what_would_be_read_outside_a_table_and_names_the_sample)
{
    const struct model_input host = input();
    struct model_input staged;

    lengths[1] = 0;
    EXPECT_ERR(model_stage_put(stage, &host, N, &staged), ERR_CORRUPT,
               "sample 1 of a batch has 0 tokens, it must have 1 .. 18");
    lengths[1] = 19;
    EXPECT_ERR(model_stage_put(stage, &host, N, &staged), ERR_CORRUPT, "has 19 tokens");
    lengths[1] = 2;
    tokens[2 * STRIDE + 2] = 10;
    EXPECT_ERR(model_stage_put(stage, &host, N, &staged), ERR_CORRUPT,
               "sample 2 of a batch: token 2 is 10, the model has words 0 .. 9");
    tokens[2 * STRIDE + 2] = -1;
    EXPECT_ERR(model_stage_put(stage, &host, N, &staged), ERR_CORRUPT, "token 2 is -1");
    lengths[2] = 2; /* now it is behind the end */
    EXPECT_OK(model_stage_put(stage, &host, N, &staged));
}
END_TEST

START_TEST(from__begins_at_that_sample)
{
    static const float pixels[N * 48];
    const struct model_input host = input(), pictures = {.images = pixels};

    ck_assert_ptr_eq(model_input_from(&texts, &host, 2).tokens, tokens + 2 * STRIDE);
    ck_assert_ptr_eq(model_input_from(&texts, &host, 2).lengths, lengths + 2);
    ck_assert_ptr_eq(model_input_from(&images, &pictures, 2).images, pixels + 2 * 48);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("model_input");
    TCase *tcase = tcase_create("model_input");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, put__makes_a_pass_as_wide_as_its_longest_text);
    tcase_add_test(tcase, put__refuses_what_would_be_read_outside_a_table_and_names_the_sample);
    tcase_add_test(tcase, from__begins_at_that_sample);
    suite_add_tcase(suite, tcase);
    return suite;
}
