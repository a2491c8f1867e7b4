/*
 * data/data_augment.h - one sample of a set as normalised floats, changed at random or not.
 *
 *      value = (byte / 255 - mean[c]) / deviation[c]
 *
 * in float, in this order, so that it is what torchvision's ToTensor and Normalize give.
 * Before it, both optional:
 *
 *      crop  p black pixels (byte 0) are put around the image and a window of its own size
 *            is taken at a random place: 2 p + 1 places each way, all equally likely
 *            (torchvision's RandomCrop with padding)
 *      flip  left and right are exchanged with probability 1/2
 *
 * as in K. He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2.
 * The draws are rng_words(seed, RNG_AUGMENT, sample, epoch): word 0 the row, word 1 the
 * column, word 2 the flip. They depend on nothing else.
 *
 * Memory: none beyond the struct, 4 KiB. Threads: after data_augment_init() read-only, any.
 */
#ifndef DATA_DATA_AUGMENT_H
#define DATA_DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_set.h"

enum { DATA_PAD_PIXELS_MAX = 64 };

/* In units of the full brightness, byte 255. Only the channels of the set are read. */
struct data_normal {
    double mean[DATA_CHANNELS_MAX];
    double deviation[DATA_CHANNELS_MAX]; /* > 0 */
};

struct data_augment_options {
    uint64_t seed;
    int64_t pad_pixels; /* p, 0..DATA_PAD_PIXELS_MAX; 0: no crop */
    bool flips;
};

struct data_augment {
    struct data_augment_options options;
    float values[DATA_CHANNELS_MAX][256]; /* [channel, byte] */
};

/*
 * Mean and standard deviation of every pixel of `set`, for each channel, from exact
 * counts. A channel of one single value gets the deviation 1. Cannot fail. Measure the
 * training part, and use the result for the test part as well.
 */
void data_normal_measure(const struct data_set *set, struct data_normal *normal_out);

/*
 * `options` NULL: samples are only normalised. Errors: ERR_CONFIG if pad_pixels is out
 * of range, or a mean or deviation of the first `channels` (1..DATA_CHANNELS_MAX) is not
 * finite or the deviation not above 0.
 */
ERR_MUST_CHECK enum err data_augment_init(struct data_augment *augment_out,
                                          const struct data_augment_options *options,
                                          const struct data_normal *normal, int64_t channels);

/*
 * Renders one sample. Cannot fail.
 *
 * set     of the channels given to data_augment_init()
 * sample  0..count - 1
 * epoch   below 2^32; without effect where nothing is random
 * image   [channels, height, width]
 */
void data_render(const struct data_augment *augment, const struct data_set *set, int64_t sample,
                 uint64_t epoch, float *image_out);

#endif
