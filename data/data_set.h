/*
 * data/data_set.h - labelled images or texts in memory, and the hash that names them.
 *
 *      images  [count, channels, height, width]  0..255
 *      tokens  [offsets[count]]                  ids: text i has [offsets[i], offsets[i + 1])
 *      labels  [count]                           0..class_count - 1; of plain text one a token
 *
 * Files looked for in the folder, plain or with .gz at the end of their name:
 *
 *      format         train                              test
 *      DATA_IDX       train-images-idx3-ubyte,           t10k-images-idx3-ubyte,
 *                     train-labels-idx1-ubyte            t10k-labels-idx1-ubyte
 *      DATA_CIFAR10   data_batch_1.bin .. _5.bin         test_batch.bin
 *      DATA_CIFAR100  train.bin                          test.bin
 *      DATA_TEXT      train.tsv or train.jsonl           test.tsv or test.jsonl
 *                     (data_records.h), and labels.txt (data_labels.h)
 *      DATA_PLAIN     train.txt (data_plain.h)           test.txt
 *
 * Memory: one block for images and labels, or offsets, tokens and labels, owned by the set.
 * While a set is opened its files are in memory as well, so the peak is about twice the block.
 * Threads: after data_set_open() a set is read-only; any thread may read it.
 */
#ifndef DATA_DATA_SET_H
#define DATA_DATA_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/hash.h"

enum {
    DATA_CHANNELS_MAX = 4,
    DATA_CLASSES_MAX = 256, /* a label in a file is one byte */
};

enum {
    DATA_TOKENS_MAX = 8192, /* of one text */
};

enum data_format { DATA_IDX, DATA_CIFAR10, DATA_CIFAR100, DATA_TEXT, DATA_PLAIN };

enum data_part { DATA_TRAIN, DATA_TEST };

struct data_tokenizer;

struct data_set_source {
    enum data_format format;
    const char *folder;
    enum data_part part;
    int64_t class_count; /* of images; 0: what is usual for the format, 10, 10 and 100 */

    /* Of texts only. */
    const struct data_tokenizer *tokenizer;
    int64_t tokens_max; /* a text is cut to, or into blocks of so many, 2..DATA_TOKENS_MAX */
    bool has_header;    /* the first line of a .tsv is skipped */
};

/* Of texts, channels, height and width are 0. */
struct data_set_shape {
    int64_t count;    /* samples, 1..UINT32_MAX */
    int64_t channels; /* 1..DATA_CHANNELS_MAX */
    int64_t height;
    int64_t width;
    int64_t class_count; /* 1..DATA_CLASSES_MAX; of plain text the tokens that there are */
};

enum data_kind { DATA_IMAGES, DATA_TEXTS };

struct data_set {
    enum data_kind kind;
    struct data_set_shape shape;
    int64_t image_pixels;      /* channels * height * width; 0: texts */
    uint8_t *images;           /* [count, channels, height, width]; NULL: texts */
    int64_t *offsets;          /* [count + 1], from 0 on, ascending; NULL: images */
    int32_t *tokens;           /* [offsets[count]]; NULL: images */
    int64_t tokens_max;        /* of the longest text; 0: images */
    int32_t pad_id;            /* what fills up shorter ones in a batch */
    int64_t labels_per_sample; /* 1; of plain text tokens_max */
    int32_t *labels;           /* [count, labels_per_sample] */
    char **class_names;        /* [class_count], of texts; NULL: they are not known */
    struct hash hash;          /* data_set_hash() */
};

/*
 * Reads a set. The caller owns *set_out and ends it with data_set_close().
 *
 * Errors, each naming the file, what was found and what was expected: ERR_MISSING;
 * ERR_IO; ERR_CORRUPT (magic, truncated, trailing bytes, no image, another number of
 * labels than of images, a label beyond the classes, a damaged gzip stream);
 * ERR_INVALID if class_count or tokens_max is out of range or a path too long; of texts what
 * data_text_open() and data_plain_open() refuse; ERR_NO_MEMORY.
 * Cost: inflating, a copy and a hash of every byte; of texts half a microsecond a word.
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

/*
 * A set of texts for the caller to fill: `count` of them with `token_count` tokens, all 0, and
 * the offsets of texts of length 0; tokens_max is the caller's to set. Errors: as above.
 */
ERR_MUST_CHECK enum err data_set_open_blank_text(int64_t count, int64_t token_count,
                                                 int64_t class_count, struct data_set **set_out);

/* Frees a set. NULL is allowed. */
void data_set_close(struct data_set *set);

/*
 * The hash of count, channels, height, width and class_count as 64-bit numbers, then the
 * images, then the labels as 32-bit numbers, all little-endian. Of texts, of count, 0, 0, 0
 * and class_count; then the offsets as 64-bit numbers, the tokens, and the labels. The same
 * for gzip and plain files, on every machine. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_set_hash(const struct data_set *set, struct hash *hash_out);

/* Image `sample` in 0..count - 1, [channels, height, width], lent by the set. */
static inline const uint8_t *data_set_image(const struct data_set *set, int64_t sample)
{
    return set->images + sample * set->image_pixels;
}

/* The number of tokens of text `sample`; 0 for an image. */
static inline int64_t data_set_length(const struct data_set *set, int64_t sample)
{
    return set->offsets == NULL ? 0 : set->offsets[sample + 1] - set->offsets[sample];
}

#endif
