/* Unit tests of data/data_augment.c, on a set in which every pixel tells where it is from. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_augment.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/test_suite.h"

enum { SAMPLES = 3, CHANNELS = 3, HEIGHT = 6, WIDTH = 5, PLANE = HEIGHT * WIDTH };
enum { PIXELS = CHANNELS * PLANE, PAD = 2 };

static struct data_set *set;

/* Makes value = byte: mean 0, deviation 1 / 255 (to a relative 1e-7). */
static const struct data_normal as_bytes = {
    .mean = {0, 0, 0, 0}, .deviation = {1 / 255.0, 1 / 255.0, 1 / 255.0, 1 / 255.0}};

static void make_set(void)
{
    const struct data_set_shape shape = {.count = SAMPLES,
                                         .channels = CHANNELS,
                                         .height = HEIGHT,
                                         .width = WIDTH,
                                         .class_count = 10};

    ck_assert_int_eq(data_set_open_blank(&shape, &set), ERR_OK);
    for (int i = 0; i < SAMPLES * PIXELS; i++) {
        set->images[i] = (uint8_t)(1 + i % 251); /* no two neighbours alike, none black */
    }
}

static void free_set(void)
{
    data_set_close(set);
}

static struct data_augment make_augment(uint64_t seed, int64_t pad_pixels, bool flips)
{
    const struct data_augment_options options = {
        .seed = seed, .pad_pixels = pad_pixels, .flips = flips};
    struct data_augment augment;

    ck_assert_int_eq(data_augment_init(&augment, &options, &as_bytes, CHANNELS), ERR_OK);
    return augment;
}

START_TEST(render__normalises_as_written_when_nothing_is_random)
{
    const struct data_normal normal = {.mean = {0.5, 0.25, 0.125}, .deviation = {0.5, 2, 0.3}};
    struct data_augment augment;
    float image[PIXELS];

    ck_assert_int_eq(data_augment_init(&augment, NULL, &normal, CHANNELS), ERR_OK);
    data_render(&augment, set, 1, 5, image);
    for (int i = 0; i < PIXELS; i++) {
        const int c = i / PLANE;
        const float expected = ((float)set->images[PIXELS + i] / 255.0f - (float)normal.mean[c]) /
                               (float)normal.deviation[c];
        ck_assert_float_eq(image[i], expected);
    }
}
END_TEST

/* Whether `image` is sample `sample` seen through the window at (top, left). */
static bool is_window(const float *image, int sample, int top, int left, bool is_flipped)
{
    for (int i = 0; i < PIXELS; i++) {
        const int c = i / PLANE;
        const int y = i / WIDTH % HEIGHT + top;
        const int x = (is_flipped ? WIDTH - 1 - i % WIDTH : i % WIDTH) + left;
        const bool is_inside = y >= 0 && y < HEIGHT && x >= 0 && x < WIDTH;
        const int byte =
            is_inside ? set->images[sample * PIXELS + (c * HEIGHT + y) * WIDTH + x] : 0;
        if ((int)lroundf(image[i]) != byte) {
            return false;
        }
    }
    return true;
}

/* Computed by a second program, written from the header alone. */
START_TEST(render__matches_known_windows)
{
    static const struct {
        int top, left;
        bool is_flipped;
    } expected[] = {{0, 1, true}, {1, 1, true},   {0, -1, true},
                    {1, 1, true}, {1, -2, false}, {1, 1, false}};
    const struct data_augment augment = make_augment(1, PAD, true);
    float image[PIXELS];

    for (uint64_t epoch = 0; epoch < 6; epoch++) {
        data_render(&augment, set, 2, epoch, image);
        ck_assert(is_window(image, 2, expected[epoch].top, expected[epoch].left,
                            expected[epoch].is_flipped));
    }
}
END_TEST

START_TEST(render__shows_each_window_and_flip_equally_often)
{
    enum { EPOCHS = 25000, SIDE = 2 * PAD + 1, PLACES = SIDE * SIDE * 2 };
    const struct data_augment augment = make_augment(1, PAD, true);
    int counts[PLACES] = {0};
    float image[PIXELS];
    double chi_square = 0;

    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int found = 0;
        data_render(&augment, set, 2, epoch, image);
        for (int place = 0; place < PLACES; place++) {
            if (is_window(image, 2, place / 2 / SIDE - PAD, place / 2 % SIDE - PAD,
                          place % 2 == 1)) {
                counts[place]++;
                found++;
            }
        }
        ck_assert_int_eq(found, 1);
    }
    for (int place = 0; place < PLACES; place++) {
        const double excess = counts[place] - (double)EPOCHS / PLACES;
        chi_square += excess * excess / ((double)EPOCHS / PLACES);
    }
    ck_assert_double_lt(chi_square, 49 + 5 * sqrt(2 * 49)); /* 49 degrees of freedom */
}
END_TEST

START_TEST(render__only_crops_or_only_flips_when_told_so)
{
    const struct data_augment crop = make_augment(1, PAD, false);
    const struct data_augment flip = make_augment(1, 0, true);
    float image[PIXELS];
    int flipped = 0;

    for (uint64_t epoch = 0; epoch < 200; epoch++) {
        int found = 0;
        data_render(&crop, set, 0, epoch, image);
        for (int top = -PAD; top <= PAD; top++) {
            for (int left = -PAD; left <= PAD; left++) {
                found += is_window(image, 0, top, left, false);
            }
        }
        ck_assert_int_eq(found, 1);
        data_render(&flip, set, 0, epoch, image);
        const bool is_flipped = is_window(image, 0, 0, 0, true);
        ck_assert(is_flipped || is_window(image, 0, 0, 0, false));
        flipped += is_flipped;
    }
    ck_assert_int_lt(abs(flipped - 100), 36);
}
END_TEST

START_TEST(render__stays_inside_when_the_padding_is_wider_than_the_image)
{
    const struct data_augment augment = make_augment(3, DATA_PAD_PIXELS_MAX, true);
    float image[PIXELS];

    for (uint64_t epoch = 0; epoch < 2000; epoch++) {
        for (int i = 0; i < PIXELS; i++) {
            image[i] = -1;
        }
        data_render(&augment, set, (int64_t)(epoch % SAMPLES), epoch, image);
        for (int i = 0; i < PIXELS; i++) {
            ck_assert_float_ge(image[i], 0);
        }
    }
}
END_TEST

/* How many of 200 epochs of sample 0 differ between two augmentations. */
static int differences(const struct data_augment *a, const struct data_augment *b)
{
    float one[PIXELS];
    float other[PIXELS];
    int count = 0;

    for (uint64_t epoch = 0; epoch < 200; epoch++) {
        data_render(a, set, 0, epoch, one);
        data_render(b, set, 0, epoch, other);
        count += memcmp(one, other, sizeof(one)) != 0;
    }
    return count;
}

START_TEST(render__is_a_function_of_seed_sample_and_epoch)
{
    const struct data_augment augment = make_augment(1, PAD, true);
    const struct data_augment same = make_augment(1, PAD, true);
    const struct data_augment other_seed = make_augment(2, PAD, true);
    float one[PIXELS];
    float other[PIXELS];
    int differ_by_epoch = 0;
    int differ_by_sample = 0;

    ck_assert_int_eq(differences(&augment, &same), 0);
    ck_assert_int_gt(differences(&augment, &other_seed), 180);
    memcpy(set->images + PIXELS, set->images, PIXELS); /* samples 0 and 1 alike */
    for (uint64_t epoch = 0; epoch < 200; epoch++) {
        data_render(&augment, set, 0, epoch, one);
        data_render(&augment, set, 0, epoch + 1, other);
        differ_by_epoch += memcmp(one, other, sizeof(one)) != 0;
        data_render(&augment, set, 1, epoch, other);
        differ_by_sample += memcmp(one, other, sizeof(one)) != 0;
    }
    ck_assert_int_gt(differ_by_epoch, 180);
    ck_assert_int_gt(differ_by_sample, 180);
}
END_TEST

START_TEST(init__refuses_settings_out_of_range)
{
    const struct data_augment_options wide = {.pad_pixels = DATA_PAD_PIXELS_MAX + 1};
    const struct data_augment_options negative = {.pad_pixels = -1};
    struct data_augment augment;
    char text[256];

    ck_assert_int_eq(data_augment_init(&augment, &wide, &as_bytes, 1), ERR_CONFIG);
    err_text(text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "pad_pixels is 65, expected 0 to 64"));
    ck_assert_int_eq(data_augment_init(&augment, &negative, &as_bytes, 1), ERR_CONFIG);
    const double bad[] = {0, -1, NAN, INFINITY, 1e-60}; /* the last is 0 as a float */
    for (int i = 0; i < 5; i++) {
        struct data_normal normal = as_bytes;
        normal.deviation[1] = bad[i];
        ck_assert_int_eq(data_augment_init(&augment, NULL, &normal, 2), ERR_CONFIG);
        ck_assert_int_eq(data_augment_init(&augment, NULL, &normal, 1), ERR_OK);
    }
    struct data_normal normal = as_bytes;
    normal.mean[0] = NAN;
    ck_assert_int_eq(data_augment_init(&augment, NULL, &normal, 1), ERR_CONFIG);
}
END_TEST

START_TEST(measure__gives_mean_and_deviation_of_each_channel)
{
    struct data_normal normal;

    for (int i = 0; i < SAMPLES * PIXELS; i++) {
        const int c = i / PLANE % CHANNELS;
        set->images[i] = (uint8_t)(c == 0 ? 51 : c == 1 ? 255 * (i % 2) : 51 + 102 * (i % 2));
    }
    data_normal_measure(set, &normal);
    ck_assert_double_eq_tol(normal.mean[0], 0.2, 1e-12);
    ck_assert_double_eq(normal.deviation[0], 1); /* one value only */
    ck_assert_double_eq_tol(normal.mean[1], 0.5, 1e-12);
    ck_assert_double_eq_tol(normal.deviation[1], 0.5, 1e-12);
    ck_assert_double_eq_tol(normal.mean[2], 0.4, 1e-12);
    ck_assert_double_eq_tol(normal.deviation[2], 0.2, 1e-12);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_augment");
    TCase *tcase = tcase_create("data_augment");

    tcase_add_checked_fixture(tcase, make_set, free_set);
    tcase_add_test(tcase, render__normalises_as_written_when_nothing_is_random);
    tcase_add_test(tcase, render__matches_known_windows);
    tcase_add_test(tcase, render__shows_each_window_and_flip_equally_often);
    tcase_add_test(tcase, render__only_crops_or_only_flips_when_told_so);
    tcase_add_test(tcase, render__stays_inside_when_the_padding_is_wider_than_the_image);
    tcase_add_test(tcase, render__is_a_function_of_seed_sample_and_epoch);
    tcase_add_test(tcase, init__refuses_settings_out_of_range);
    tcase_add_test(tcase, measure__gives_mean_and_deviation_of_each_channel);
    suite_add_tcase(suite, tcase);
    return suite;
}
