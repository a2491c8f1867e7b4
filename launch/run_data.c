#include "launch/run_data.h"

#include <inttypes.h>

static enum err open_tokenizer(const struct options *options, struct run_data *data)
{
    const bool has_own = options->tokenizer[0] != '\0';
    const char *folder = has_own ? options->tokenizer : options->init_from;

    if (folder[0] == '\0') {
        return ERR_FAIL(ERR_CONFIG,
                        "data_format is %s, and neither tokenizer nor init_from names a "
                        "folder with vocab.txt, vocab.json or tokenizer.json",
                        options->data_format == DATA_TEXT ? "text" : "plain");
    }
    ERR_TRY_AS(data_tokenizer_open(folder, &data->tokenizer), "%s",
               has_own ? "tokenizer" : "init_from");
    return ERR_OK;
}

static enum err check_images(const struct options *options, const struct run_data *data)
{
    const struct data_set_shape *train = &data->train->shape, *test = &data->test->shape;

    if (train->height != train->width || test->height != train->height ||
        test->width != train->width || test->channels != train->channels) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: training images are %" PRId64 "x%" PRId64 " and test images %" PRId64
                        "x%" PRId64 ", squares of one size are expected",
                        options->data_dir, train->height, train->width, test->height, test->width);
    }
    return ERR_OK;
}

/* One value serves all channels; none: measured on the training set. */
static enum err open_normal(const struct options *options, struct run_data *data)
{
    const struct options_f64s *mean = &options->image_mean;
    const struct options_f64s *deviation = &options->image_std;
    const int channels = (int)data->train->shape.channels;

    data_normal_measure(data->train, &data->normal);
    if ((mean->count != 0 && mean->count != 1 && mean->count != channels) ||
        mean->count != deviation->count) {
        return ERR_FAIL(ERR_CONFIG,
                        "image_mean has %d values and image_std %d, the images have %d channels",
                        mean->count, deviation->count, channels);
    }
    for (int c = 0; c < channels && mean->count > 0; c++) {
        data->normal.mean[c] = mean->values[mean->count == 1 ? 0 : c];
        data->normal.deviation[c] = deviation->values[mean->count == 1 ? 0 : c];
    }
    return ERR_OK;
}

enum err run_data_open(const struct options *options, struct run_data *data_out)
{
    struct data_set_source source = {.format = (enum data_format)options->data_format,
                                     .folder = options->data_dir,
                                     .part = DATA_TRAIN,
                                     .tokens_max = options->max_seq_length,
                                     .has_header = options->text_header};
    struct run_data *data = data_out;

    *data = (struct run_data){0};
    if (source.format == DATA_TEXT || source.format == DATA_PLAIN) {
        ERR_TRY(open_tokenizer(options, data));
        source.tokenizer = data->tokenizer;
    }
    ERR_TRY(data_set_open(&source, &data->train));
    source.part = DATA_TEST;
    ERR_TRY(data_set_open(&source, &data->test));
    if (data->train->kind == DATA_IMAGES) {
        ERR_TRY(check_images(options, data));
        ERR_TRY(open_normal(options, data));
    }
    if (options->max_eval_samples > 0 && options->max_eval_samples < data->test->shape.count) {
        data->test->shape.count = options->max_eval_samples;
    }
    const int64_t seed = options->validation_seed < 0 ? options->seed : options->validation_seed;
    return data_split_open((uint64_t)seed, options->validation_fraction, data->train->shape.count,
                           &data->split);
}

void run_data_close(struct run_data *data)
{
    data_split_close(data->split);
    data_set_close(data->train);
    data_set_close(data->test);
    data_tokenizer_close(data->tokenizer);
    *data = (struct run_data){0};
}

int64_t run_data_mean_tokens(const struct run_data *data)
{
    const int64_t count = data->train->shape.count;

    return data->tokenizer == NULL ? 0 : (data->train->offsets[count] + count - 1) / count;
}

bool run_data_is_language(const struct run_data *data)
{
    return data->train->labels_per_sample > 1;
}

const char *run_data_noun(const struct run_data *data)
{
    return data->tokenizer == NULL      ? "images"
           : run_data_is_language(data) ? "blocks of text"
                                        : "texts";
}
