#include "data/data_set.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/memory.h"
#include "data/data_cifar.h"
#include "data/data_file.h"
#include "data/data_idx.h"
#include "data/data_plain.h"
#include "data/data_text.h"

/* Far above any of the sets; a bound for what inflates without end. */
static const size_t FILE_BYTES_MAX = (size_t)4 << 30;

enum { FILES_MAX = 5, PARTS = 2, IMAGES_ALIGN_BYTES = 64 };

/* What is looked for. For idx the first file holds the images, the second the labels. */
static const struct layout {
    const char *names[PARTS][FILES_MAX]; /* the rest NULL */
    const char *cure;
    int64_t class_count;
    int label_bytes; /* before the pixels of a record */
} layouts[] = {
    [DATA_IDX] =
        {
            .names =
                {
                    [DATA_TRAIN] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
                    [DATA_TEST] = {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
                },
            .cure = "install the package dataset-fashion-mnist or set data_dir",
            .class_count = 10,
        },
    [DATA_CIFAR10] =
        {
            .names =
                {
                    [DATA_TRAIN] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                    "data_batch_4.bin", "data_batch_5.bin"},
                    [DATA_TEST] = {"test_batch.bin"},
                },
            .cure = "unpack cifar-10-binary.tar.gz and set data_dir to its folder",
            .class_count = 10,
            .label_bytes = 1,
        },
    [DATA_CIFAR100] =
        {
            .names = {[DATA_TRAIN] = {"train.bin"}, [DATA_TEST] = {"test.bin"}},
            .cure = "unpack cifar-100-binary.tar.gz and set data_dir to its folder",
            .class_count = 100,
            .label_bytes = 2,
        },
};

static enum err check_shape(const struct data_set_shape *shape)
{
    if (shape->channels < 1 || shape->channels > DATA_CHANNELS_MAX || shape->height < 1 ||
        shape->height > UINT32_MAX || shape->width < 1 || shape->width > UINT32_MAX) {
        return ERR_FAIL(ERR_INVALID,
                        "images of %" PRId64 " x %" PRId64 " x %" PRId64
                        ", expected 1 to %d channels and no empty side",
                        shape->channels, shape->height, shape->width, DATA_CHANNELS_MAX);
    }
    return ERR_OK;
}

static enum err check_sizes(int64_t count, int64_t class_count)
{
    if (count < 1 || count > UINT32_MAX) {
        return ERR_FAIL(ERR_INVALID, "%" PRId64 " samples, expected 1 to %" PRIu32, count,
                        UINT32_MAX);
    }
    if (class_count < 1 || class_count > DATA_CLASSES_MAX) {
        return ERR_FAIL(ERR_INVALID, "class_count is %" PRId64 ", expected 1 to %d", class_count,
                        DATA_CLASSES_MAX);
    }
    return ERR_OK;
}

enum err data_set_open_blank(const struct data_set_shape *shape, struct data_set **set_out)
{
    int64_t image_pixels = 0;
    int64_t images_bytes = 0;
    void *block = NULL;

    assert(shape != NULL && set_out != NULL);
    ERR_TRY(check_sizes(shape->count, shape->class_count));
    ERR_TRY(check_shape(shape));
    if (__builtin_mul_overflow(shape->channels * shape->height, shape->width, &image_pixels) ||
        __builtin_mul_overflow(shape->count, image_pixels, &images_bytes) ||
        images_bytes > INT64_MAX / 2) {
        return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " images of %" PRId64 " x %" PRId64 " x %" PRId64,
                        shape->count, shape->channels, shape->height, shape->width);
    }
    struct data_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a data set");
    }
    const size_t labels_at =
        ((size_t)images_bytes + IMAGES_ALIGN_BYTES - 1) / IMAGES_ALIGN_BYTES * IMAGES_ALIGN_BYTES;
    const enum err status = memory_open(labels_at + (size_t)shape->count * sizeof(int32_t),
                                        "images and labels of a data set", &block);
    if (status != ERR_OK) {
        free(set);
        return status;
    }
    set->shape = *shape;
    set->labels_per_sample = 1;
    set->image_pixels = image_pixels;
    set->images = block;
    set->labels = (int32_t *)(void *)(set->images + labels_at);
    *set_out = set;
    return ERR_OK;
}

enum err data_set_open_blank_text(int64_t count, int64_t token_count, int64_t class_count,
                                  struct data_set **set_out)
{
    void *block = NULL;

    assert(set_out != NULL);
    ERR_TRY(check_sizes(count, class_count));
    if (token_count < 0 || token_count > INT64_MAX / 8) {
        return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " texts of %" PRId64 " tokens", count,
                        token_count);
    }
    struct data_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a data set");
    }
    const size_t offsets_bytes = (size_t)(count + 1) * sizeof(int64_t);
    const enum err status =
        memory_open(offsets_bytes + (size_t)(token_count + count) * sizeof(int32_t),
                    "tokens and labels of a data set", &block);
    if (status != ERR_OK) {
        free(set);
        return status;
    }
    set->kind = DATA_TEXTS;
    set->labels_per_sample = 1;
    set->shape = (struct data_set_shape){.count = count, .class_count = class_count};
    set->offsets = block;
    set->tokens = (int32_t *)(void *)(set->offsets + count + 1);
    set->labels = set->tokens + token_count;
    *set_out = set;
    return ERR_OK;
}

void data_set_close(struct data_set *set)
{
    if (set == NULL) {
        return;
    }
    for (int64_t i = 0; set->class_names != NULL && i < set->shape.class_count; i++) {
        free(set->class_names[i]);
    }
    free(set->class_names);
    memory_close(set->images); /* the labels lie in the same block */
    memory_close(set->offsets);
    free(set);
}

static void hash_add_i32(struct hash_state *state, const int32_t *values, int64_t count)
{
    enum { AT_ONCE = 1024 };
    uint8_t bytes[4 * AT_ONCE];

    for (int64_t first = 0; first < count; first += AT_ONCE) {
        const int64_t now = count - first < AT_ONCE ? count - first : AT_ONCE;
        for (int64_t i = 0; i < now; i++) {
            bytes_put_u32(bytes + 4 * i, (uint32_t)values[first + i]);
        }
        hash_add(state, bytes, 4 * (size_t)now);
    }
}

static void hash_add_i64(struct hash_state *state, const int64_t *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint8_t bytes[8];
        bytes_put_u64(bytes, (uint64_t)values[i]);
        hash_add(state, bytes, sizeof(bytes));
    }
}

enum err data_set_hash(const struct data_set *set, struct hash *hash_out)
{
    const int64_t sizes[] = {set->shape.count, set->shape.channels, set->shape.height,
                             set->shape.width, set->shape.class_count};
    struct hash_state *state = NULL;

    ERR_TRY(hash_open(&state));
    hash_add_i64(state, sizes, (int64_t)(sizeof(sizes) / sizeof(sizes[0])));
    if (set->kind == DATA_TEXTS) {
        hash_add_i64(state, set->offsets, set->shape.count + 1);
        hash_add_i32(state, set->tokens, set->offsets[set->shape.count]);
    } else {
        hash_add(state, set->images, (size_t)(set->shape.count * set->image_pixels));
    }
    hash_add_i32(state, set->labels, set->shape.count * set->labels_per_sample);
    *hash_out = hash_close(state);
    return ERR_OK;
}

/* Checks labels [first, first + count) of `set`, which came from the file `path`. */
static enum err check_labels(const struct data_set *set, int64_t first, int64_t count,
                             const char *path)
{
    for (int64_t i = 0; i < count; i++) {
        if (set->labels[first + i] >= set->shape.class_count) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: label %" PRId32 " of sample %" PRId64 ", expected 0 to %" PRId64
                            " (%" PRId64 " classes)",
                            path, set->labels[first + i], i, set->shape.class_count - 1,
                            set->shape.class_count);
        }
    }
    return ERR_OK;
}

static enum err make_idx(struct data_file *const files[], int64_t class_count,
                         struct data_set **set_out)
{
    assert(files[0] != NULL);
    assert(files[1] != NULL);
    const struct data_file *images_file = files[0];
    const struct data_file *labels_file = files[1];
    struct data_idx images;
    struct data_idx labels;
    struct data_set *set = NULL;

    ERR_TRY(data_idx_parse(images_file->bytes, images_file->count, 3, images_file->path, &images));
    ERR_TRY(data_idx_parse(labels_file->bytes, labels_file->count, 1, labels_file->path, &labels));
    if (images.sizes[0] != labels.sizes[0]) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: %" PRId64 " labels, expected %" PRId64 ", one an image of %s",
                        labels_file->path, labels.sizes[0], images.sizes[0], images_file->path);
    }
    const struct data_set_shape shape = {.count = images.sizes[0],
                                         .channels = 1,
                                         .height = images.sizes[1],
                                         .width = images.sizes[2],
                                         .class_count = class_count};
    ERR_TRY(data_set_open_blank(&shape, &set));
    memcpy(set->images, images.values, (size_t)images.value_count);
    for (int64_t i = 0; i < labels.value_count; i++) {
        set->labels[i] = labels.values[i];
    }
    const enum err status = check_labels(set, 0, shape.count, labels_file->path);
    if (status != ERR_OK) {
        data_set_close(set);
        return status;
    }
    *set_out = set;
    return ERR_OK;
}

static enum err make_cifar(struct data_file *const files[], int label_bytes, int64_t class_count,
                           struct data_set **set_out)
{
    int64_t counts[FILES_MAX] = {0};
    struct data_set_shape shape = {.channels = DATA_CIFAR_CHANNELS,
                                   .height = DATA_CIFAR_SIDE,
                                   .width = DATA_CIFAR_SIDE,
                                   .class_count = class_count};
    struct data_set *set = NULL;
    int64_t first = 0;

    for (int i = 0; i < FILES_MAX && files[i] != NULL; i++) {
        ERR_TRY(data_cifar_count(files[i]->count, label_bytes, files[i]->path, &counts[i]));
        shape.count += counts[i];
    }
    ERR_TRY(data_set_open_blank(&shape, &set));
    for (int i = 0; i < FILES_MAX && files[i] != NULL; i++) {
        data_cifar_unpack(files[i]->bytes, counts[i], label_bytes,
                          set->images + first * set->image_pixels, set->labels + first);
        const enum err status = check_labels(set, first, counts[i], files[i]->path);
        if (status != ERR_OK) {
            data_set_close(set);
            return status;
        }
        first += counts[i];
    }
    *set_out = set;
    return ERR_OK;
}

static enum err open_images(const struct data_set_source *source, struct data_set **set_out)
{
    const struct layout *layout = &layouts[source->format];
    const int64_t class_count =
        source->class_count != 0 ? source->class_count : layout->class_count;
    struct data_file *files[FILES_MAX] = {NULL};
    struct data_set *set = NULL;
    enum err status = ERR_OK;

    if (class_count < 1 || class_count > DATA_CLASSES_MAX) {
        return ERR_FAIL(ERR_INVALID, "class_count is %" PRId64 ", expected 1 to %d, or 0",
                        class_count, DATA_CLASSES_MAX);
    }
    for (int i = 0; i < FILES_MAX && layout->names[source->part][i] != NULL; i++) {
        ERR_GOTO(close_files, status,
                 data_file_open(source->folder, layout->names[source->part][i], FILE_BYTES_MAX,
                                layout->cure, &files[i]));
    }
    status = source->format == DATA_IDX ? make_idx(files, class_count, &set)
                                        : make_cifar(files, layout->label_bytes, class_count, &set);
    if (status == ERR_OK) {
        *set_out = set;
    }

close_files:
    for (int i = 0; i < FILES_MAX; i++) {
        data_file_close(files[i]);
    }
    return status;
}

enum err data_set_open(const struct data_set_source *source, struct data_set **set_out)
{
    struct data_set *set = NULL;

    assert(source != NULL && source->folder != NULL && set_out != NULL);
    assert(source->format <= DATA_PLAIN);
    assert(source->part <= DATA_TEST);
    switch (source->format) {
    case DATA_TEXT: ERR_TRY(data_text_open(source, &set)); break;
    case DATA_PLAIN: ERR_TRY(data_plain_open(source, &set)); break;
    default: ERR_TRY(open_images(source, &set)); break;
    }
    const enum err status = data_set_hash(set, &set->hash);
    if (status != ERR_OK) {
        data_set_close(set);
        return status;
    }
    *set_out = set;
    return ERR_OK;
}
