/* Images to be predicted: idx and CIFAR files, and the folders of a data set. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "data/data_cifar.h"
#include "data/data_file.h"
#include "data/data_idx.h"
#include "launch/predict/predict_input_priv.h"

/* Far above any set; a bound for what inflates without end. */
static const size_t FILE_BYTES_MAX = (size_t)4 << 30;

/* Where an idx file has the number of its dimensions. */
enum { IDX_DIMS_AT = 3, IDX_LABEL_DIMS = 1, IDX_IMAGE_DIMS = 3 };

static bool is_folder(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static enum data_format format_of(const struct predict_source *source)
{
    switch (source->format) {
    case PREDICT_IDX: return DATA_IDX;
    case PREDICT_CIFAR10: return DATA_CIFAR10;
    case PREDICT_CIFAR100: return DATA_CIFAR100;
    default: return (enum data_format)source->network->options.data_format;
    }
}

/* A blank set of so many images without labels, if they are what the network takes. */
static enum err open_blank(struct predict_input *input, int64_t count, int64_t channels,
                           int64_t height, int64_t width, const char *path)
{
    const struct model_config *whole = &input->source->network->whole;
    const struct data_set_shape shape = {.count = count,
                                         .channels = channels,
                                         .height = height,
                                         .width = width,
                                         .class_count = whole->num_labels};

    if (channels != whole->num_channels || height != whole->image_size ||
        width != whole->image_size) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: images of %" PRId64 " x %" PRId64 " x %" PRId64
                        ", the network takes %" PRId64 " x %" PRId64 " x %" PRId64
                        " (channels, height, width)",
                        path, channels, height, width, whole->num_channels, whole->image_size,
                        whole->image_size);
    }
    ERR_TRY(data_set_open_blank(&shape, &input->set));
    for (int64_t i = 0; i < count; i++) {
        input->set->labels[i] = PREDICT_NO_LABEL;
    }
    return ERR_OK;
}

static enum err check_labels(const struct predict_input *input, const char *path)
{
    const struct data_set *set = input->set;
    const int64_t classes = input->source->network->whole.num_labels;

    for (int64_t i = 0; i < set->shape.count; i++) {
        if (set->labels[i] >= classes) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: label %" PRId32 " of sample %" PRId64 ", the network has %" PRId64
                            " classes: 0 to %" PRId64,
                            path, set->labels[i], i, classes, classes - 1);
        }
    }
    return ERR_OK;
}

static enum err fill_labels(struct predict_input *input, const struct data_file *file)
{
    struct data_idx labels;

    ERR_TRY(data_idx_parse(file->bytes, file->count, IDX_LABEL_DIMS, file->path, &labels));
    if (labels.value_count != input->set->shape.count) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: %" PRId64 " labels, expected %" PRId64 ", one an image of %s",
                        file->path, labels.value_count, input->set->shape.count,
                        input->source->inputs[input->next - 1]);
    }
    for (int64_t i = 0; i < labels.value_count; i++) {
        input->set->labels[i] = labels.values[i];
    }
    return check_labels(input, file->path);
}

/* The next input, if it holds the labels of the images before it. */
static enum err try_labels(struct predict_input *input)
{
    const struct predict_source *source = input->source;
    struct data_file *file = NULL;
    enum err status = ERR_OK;

    if (input->next == source->input_count || is_folder(source->inputs[input->next])) {
        return ERR_OK;
    }
    ERR_TRY(data_file_open_path(source->inputs[input->next], FILE_BYTES_MAX, &file));
    if (file->count > IDX_DIMS_AT && file->bytes[IDX_DIMS_AT] == IDX_LABEL_DIMS) {
        status = fill_labels(input, file);
        input->next++;
    }
    data_file_close(file);
    return status;
}

static enum err fill_idx(struct predict_input *input, const struct data_file *file)
{
    struct data_idx images;

    if (file->count > IDX_DIMS_AT && file->bytes[IDX_DIMS_AT] == IDX_LABEL_DIMS) {
        return ERR_FAIL(ERR_CORRUPT, "%s: labels, expected images, and their labels behind them",
                        file->path);
    }
    ERR_TRY(data_idx_parse(file->bytes, file->count, IDX_IMAGE_DIMS, file->path, &images));
    ERR_TRY(open_blank(input, images.sizes[0], 1, images.sizes[1], images.sizes[2], file->path));
    memcpy(input->set->images, images.values, (size_t)images.value_count);
    return ERR_OK;
}

static enum err fill_cifar(struct predict_input *input, int label_bytes,
                           const struct data_file *file)
{
    int64_t count = 0;

    ERR_TRY(data_cifar_count(file->count, label_bytes, file->path, &count));
    ERR_TRY(open_blank(input, count, DATA_CIFAR_CHANNELS, DATA_CIFAR_SIDE, DATA_CIFAR_SIDE,
                       file->path));
    data_cifar_unpack(file->bytes, count, label_bytes, input->set->images, input->set->labels);
    return check_labels(input, file->path);
}

static enum err open_folder(struct predict_input *input, const char *path)
{
    const struct data_set_source source = {
        .format = format_of(input->source), .folder = path, .part = DATA_TEST};
    const struct model_config *whole = &input->source->network->whole;
    struct data_set *set = NULL;

    ERR_TRY(data_set_open(&source, &set));
    const struct data_set_shape shape = set->shape;
    if (shape.channels != whole->num_channels || shape.height != whole->image_size ||
        shape.width != whole->image_size) {
        data_set_close(set);
        return open_blank(input, 1, shape.channels, shape.height, shape.width, path);
    }
    input->set = set;
    return check_labels(input, path);
}

enum err predict_images_next(struct predict_input *input)
{
    const char *path = input->source->inputs[input->next++];
    const enum data_format format = format_of(input->source);
    struct data_file *file = NULL;

    if (strcmp(path, "-") == 0) {
        return ERR_FAIL(ERR_USAGE, "standard input (-) is for texts, %s is of images",
                        input->source->network->folder);
    }
    if (is_folder(path)) {
        return open_folder(input, path);
    }
    ERR_TRY(data_file_open_path(path, FILE_BYTES_MAX, &file));
    const enum err status = format == DATA_IDX
                                ? fill_idx(input, file)
                                : fill_cifar(input, format == DATA_CIFAR100 ? 2 : 1, file);
    data_file_close(file);
    ERR_TRY(status);
    return format == DATA_IDX ? try_labels(input) : ERR_OK;
}
