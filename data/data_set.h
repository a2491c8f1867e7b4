/*
 * data/data_set.h - labelled images in memory, as bytes, and the hash that names them.
 *
 *      images  [count, channels, height, width]  0..255
 *      labels  [count]                           0..class_count - 1
 *
 * Files looked for in the folder, plain or with .gz at the end of their name:
 *
 *      format         train                              test
 *      DATA_IDX       train-images-idx3-ubyte,           t10k-images-idx3-ubyte,
 *                     train-labels-idx1-ubyte            t10k-labels-idx1-ubyte
 *      DATA_CIFAR10   data_batch_1.bin .. _5.bin         test_batch.bin
 *      DATA_CIFAR100  train.bin                          test.bin
 *
 * Memory: one block for images and labels, owned by the set. While a set is opened
 * its files are in memory as well, so the peak is about twice the block.
 * Threads: after data_set_open() a set is read-only; any thread may read it.
 */
#ifndef DATA_DATA_SET_H
#define DATA_DATA_SET_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"

enum {
    DATA_CHANNELS_MAX = 4,
    DATA_CLASSES_MAX = 256, /* a label in a file is one byte */
};

enum data_format { DATA_IDX, DATA_CIFAR10, DATA_CIFAR100 };

enum data_part { DATA_TRAIN, DATA_TEST };

struct data_set_source {
    enum data_format format;
    const char *folder;
    enum data_part part;
    int64_t class_count; /* 0: what is usual for the format, which is 10, 10 and 100 */
};

struct data_set_shape {
    int64_t count;    /* samples, 1..UINT32_MAX */
    int64_t channels; /* 1..DATA_CHANNELS_MAX */
    int64_t height;
    int64_t width;
    int64_t class_count; /* 1..DATA_CLASSES_MAX */
};

struct data_set {
    struct data_set_shape shape;
    int64_t image_pixels; /* channels * height * width */
    uint8_t *images;      /* [count, channels, height, width] */
    int32_t *labels;      /* [count] */
    struct hash hash;     /* data_set_hash() */
};

/*
 * Reads a set. The caller owns *set_out and ends it with data_set_close().
 *
 * Errors, each naming the file, what was found and what was expected: ERR_MISSING;
 * ERR_IO; ERR_CORRUPT (magic, truncated, trailing bytes, no image, another number of
 * labels than of images, a label beyond the classes, a damaged gzip stream);
 * ERR_INVALID if class_count is out of range or a path too long; ERR_NO_MEMORY.
 * Cost: inflating, a copy and a hash of every byte.
 */
ERR_MUST_CHECK enum err data_set_open(const struct data_set_source *source,
                                      struct data_set **set_out);

/*
 * A set of that shape for the caller to fill: black images, labels 0, hash 0. The caller
 * owns the set, and gives it its hash with data_set_hash() if one is wanted.
 * Errors: ERR_INVALID if the shape is out of range; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_set_open_blank(const struct data_set_shape *shape,
                                            struct data_set **set_out);

/* Frees a set. NULL is allowed. */
void data_set_close(struct data_set *set);

/*
 * The hash of count, channels, height, width and class_count as 64-bit numbers, then the
 * images, then the labels as 32-bit numbers, all little-endian. The same for gzip and plain
 * files, on every machine. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_set_hash(const struct data_set *set, struct hash *hash_out);

/* Image `sample` in 0..count - 1, [channels, height, width], lent by the set. */
static inline const uint8_t *data_set_image(const struct data_set *set, int64_t sample)
{
    return set->images + sample * set->image_pixels;
}

#endif
