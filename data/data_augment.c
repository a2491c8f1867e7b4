#include "data/data_augment.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>

#include "comm/base/rng.h"

void data_normal_measure(const struct data_set *set, struct data_normal *normal_out)
{
    assert(set != NULL && normal_out != NULL);
    const int64_t plane = set->shape.height * set->shape.width;
    const double pixel_count = (double)(set->shape.count * plane);

    *normal_out = (struct data_normal){.mean = {0}, .deviation = {1, 1, 1, 1}};
    for (int64_t c = 0; c < set->shape.channels; c++) {
        int64_t counts[256] = {0};
        double sum = 0;
        double squares = 0;
        for (int64_t sample = 0; sample < set->shape.count; sample++) {
            const uint8_t *pixels = data_set_image(set, sample) + c * plane;
            for (int64_t i = 0; i < plane; i++) {
                counts[pixels[i]]++;
            }
        }
        for (int byte = 0; byte < 256; byte++) {
            sum += (double)counts[byte] * byte;
        }
        const double mean = sum / pixel_count;
        for (int byte = 0; byte < 256; byte++) {
            squares += (double)counts[byte] * (byte - mean) * (byte - mean);
        }
        normal_out->mean[c] = mean / 255;
        normal_out->deviation[c] = squares > 0 ? sqrt(squares / pixel_count) / 255 : 1;
    }
}

enum err data_augment_init(struct data_augment *augment_out,
                           const struct data_augment_options *options,
                           const struct data_normal *normal, int64_t channels)
{
    assert(augment_out != NULL && normal != NULL);
    assert(channels >= 1 && channels <= DATA_CHANNELS_MAX);
    struct data_augment augment = {.options = {0}};

    if (options != NULL) {
        augment.options = *options;
    }
    if (augment.options.pad_pixels < 0 || augment.options.pad_pixels > DATA_PAD_PIXELS_MAX) {
        return ERR_FAIL(ERR_CONFIG, "pad_pixels is %" PRId64 ", expected 0 to %d",
                        augment.options.pad_pixels, DATA_PAD_PIXELS_MAX);
    }
    for (int64_t c = 0; c < channels; c++) {
        const float mean = (float)normal->mean[c];
        const float deviation = (float)normal->deviation[c];
        if (!isfinite(mean) || !isfinite(deviation) || deviation <= 0) {
            return ERR_FAIL(ERR_CONFIG,
                            "channel %" PRId64 ": mean %g and deviation %g, expected finite "
                            "numbers and a deviation above 0",
                            c, normal->mean[c], normal->deviation[c]);
        }
        for (int byte = 0; byte < 256; byte++) {
            augment.values[c][byte] = ((float)byte / 255.0f - mean) / deviation;
        }
    }
    *augment_out = augment;
    return ERR_OK;
}

/* Where the window lies: output (y, x) shows the image's (y + top, x + left). */
struct window {
    int64_t top;  /* -p..p */
    int64_t left; /* -p..p */
    bool is_flipped;
};

/* Uniform in -p..p; the bias of the multiplication is below (2 p + 1) / 2^32. */
static int64_t draw_offset(uint32_t word, int64_t pad_pixels)
{
    return (int64_t)((uint64_t)word * (uint64_t)(2 * pad_pixels + 1) >> 32) - pad_pixels;
}

static struct window draw_window(const struct data_augment_options *options, int64_t sample,
                                 uint64_t epoch)
{
    uint32_t words[4];

    if (options->pad_pixels == 0 && !options->flips) {
        return (struct window){0};
    }
    rng_words(options->seed, RNG_AUGMENT, (uint64_t)sample, (uint32_t)epoch, words);
    return (struct window){.top = draw_offset(words[0], options->pad_pixels),
                           .left = draw_offset(words[1], options->pad_pixels),
                           .is_flipped = options->flips && words[2] >> 31 != 0};
}

static void render_row(const float values[256], const uint8_t *row, int64_t width,
                       const struct window *window, float *row_out)
{
    /* Output columns [begin, end) show the image, before the flip. */
    const int64_t begin = window->left < 0 ? -window->left : 0;
    const int64_t end = window->left > 0 ? width - window->left : width;
    const uint8_t *from = row + window->left;

    if (window->is_flipped) {
        for (int64_t x = 0; x < width; x++) {
            row_out[width - 1 - x] = values[x >= begin && x < end ? from[x] : 0];
        }
        return;
    }
    for (int64_t x = 0; x < width; x++) {
        row_out[x] = values[x >= begin && x < end ? from[x] : 0];
    }
}

void data_render(const struct data_augment *augment, const struct data_set *set, int64_t sample,
                 uint64_t epoch, float *image_out)
{
    assert(augment != NULL && set != NULL && image_out != NULL);
    assert(sample >= 0 && sample < set->shape.count);
    assert(epoch <= UINT32_MAX);
    const int64_t height = set->shape.height;
    const int64_t width = set->shape.width;
    const uint8_t *image = data_set_image(set, sample);
    const struct window window = draw_window(&augment->options, sample, epoch);

    for (int64_t c = 0; c < set->shape.channels; c++) {
        const float *values = augment->values[c];
        for (int64_t y = 0; y < height; y++) {
            const int64_t source_y = y + window.top;
            float *row_out = image_out + (c * height + y) * width;
            if (source_y >= 0 && source_y < height) {
                render_row(values, image + (c * height + source_y) * width, width, &window,
                           row_out);
            } else {
                for (int64_t x = 0; x < width; x++) {
                    row_out[x] = values[0];
                }
            }
        }
    }
}
