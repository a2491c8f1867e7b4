#define _POSIX_C_SOURCE 200809L
#include "launch/predict/predict_input.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "launch/predict/predict_input_priv.h"

static bool is_of_texts(const struct trained_network *network)
{
    return network->whole.embedding == MODEL_EMBEDDING_TOKENS;
}

/* Where the run had its data, if the checkpoint still lies in its output_dir. */
static enum err open_run(struct predict_input *input)
{
    const struct predict_source *source = input->source;
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, source->network->output_dir, "config.resolved.yaml"));
    if (file_exists(path)) {
        ERR_TRY(options_load(path, NULL, 0, &input->run));
    }
    input->data_dir = source->data_dir;
    if (input->data_dir == NULL && input->run != NULL) {
        input->data_dir = input->run->run.data_dir;
    }
    return ERR_OK;
}

/* Names from the data, or numbers where those are not there and nobody asked for them. */
static enum err open_labels(struct predict_input *input)
{
    const struct trained_network *network = input->source->network;
    const int64_t count = network->whole.num_labels;

    if (is_of_texts(network) && input->data_dir != NULL) {
        const enum err status =
            data_labels_open(input->data_dir, network->options.text_header, &input->labels);
        if (status != ERR_MISSING || input->source->data_dir != NULL) {
            ERR_TRY_AS(status, "names of classes");
            return input->labels->count == count
                       ? ERR_OK
                       : ERR_FAIL(ERR_CONFIG, "%s has %" PRId64 " classes, %s has %" PRId64,
                                  input->data_dir, input->labels->count, network->folder, count);
        }
        err_clear();
    }
    return data_labels_open_numbers(count, network->folder, &input->labels);
}

/* What the training set was normalised by: settings, or else it is measured again. */
static enum err open_normal(struct predict_input *input)
{
    const struct options *options = &input->source->network->options;
    const struct options_f64s *mean = &options->image_mean, *deviation = &options->image_std;
    const int64_t channels = input->source->network->whole.num_channels;
    struct data_set *train = NULL;

    for (int64_t c = 0; c < channels && mean->count > 0; c++) {
        input->normal.mean[c] = mean->values[mean->count == 1 ? 0 : c];
        input->normal.deviation[c] = deviation->values[deviation->count == 1 ? 0 : c];
    }
    if (mean->count > 0) {
        return ERR_OK;
    }
    if (input->data_dir == NULL) {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no config.resolved.yaml there tells what images were normalised by: "
                        "give the run's training images with --data-dir",
                        input->source->network->output_dir);
    }
    const struct data_set_source source = {.format = (enum data_format)options->data_format,
                                           .folder = input->data_dir,
                                           .part = DATA_TRAIN};
    ERR_TRY_AS(data_set_open(&source, &train), "what images are normalised by (--data-dir)");
    data_normal_measure(train, &input->normal);
    data_set_close(train);
    return ERR_OK;
}

static enum err open_tokenizer(struct predict_input *input)
{
    const struct model_config *whole = &input->source->network->whole;
    const struct options *options = input->run == NULL ? NULL : &input->run->run;
    const char *folder = input->source->tokenizer;

    if (folder == NULL && options != NULL) {
        folder = options->tokenizer[0] != '\0' ? options->tokenizer : options->init_from;
    }
    if (folder == NULL || folder[0] == '\0') {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no config.resolved.yaml there names a tokenizer: give its folder with "
                        "--tokenizer",
                        input->source->network->output_dir);
    }
    ERR_TRY_AS(data_tokenizer_open(folder, &input->tokenizer), "tokenizer");
    if (input->tokenizer->vocab_count > whole->vocab_size) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s: the tokenizer has %" PRId64 " tokens and the network knows %" PRId64
                        ": they do not belong together",
                        folder, input->tokenizer->vocab_count, whole->vocab_size);
    }
    input->texts.tokens_max = whole->max_length;
    return ERR_OK;
}

static enum err open_all(struct predict_input *input)
{
    ERR_TRY(open_run(input));
    ERR_TRY(open_labels(input));
    return is_of_texts(input->source->network) ? open_tokenizer(input) : open_normal(input);
}

enum err predict_input_open(const struct predict_source *source, struct predict_input **input_out)
{
    struct predict_input *input = calloc(1, sizeof(*input));

    if (input == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "inputs");
    }
    input->source = source;
    const enum err status = open_all(input);
    if (status != ERR_OK) {
        predict_input_close(input);
        return status;
    }
    *input_out = input;
    return ERR_OK;
}

void predict_input_close(struct predict_input *input)
{
    if (input == NULL) {
        return;
    }
    predict_texts_close(&input->texts);
    data_set_close(input->set);
    data_labels_close(input->labels);
    data_tokenizer_close(input->tokenizer);
    options_close(input->run);
    free(input);
}

enum err predict_input_next(struct predict_input *input, struct predict_portion *portion_out)
{
    const struct predict_source *source = input->source;
    const int64_t left = source->samples_max - input->done;

    data_set_close(input->set);
    input->set = NULL;
    *portion_out = (struct predict_portion){0};
    if (left == 0) {
        return ERR_OK;
    }
    if (is_of_texts(source->network)) {
        ERR_TRY(predict_texts_next(input));
    } else if (input->next < source->input_count) {
        ERR_TRY(predict_images_next(input));
    }
    if (input->set == NULL) {
        return ERR_OK;
    }
    if (input->set->shape.count > left) {
        input->set->shape.count = left;
    }
    input->done += input->set->shape.count;
    portion_out->set = input->set;
    portion_out->ids = input->texts.has_ids ? input->texts.ids : NULL;
    return ERR_OK;
}

const char *predict_input_class(const struct predict_input *input, int32_t class)
{
    return input->labels->names[class];
}

const struct data_normal *predict_input_normal(const struct predict_input *input)
{
    return &input->normal;
}
