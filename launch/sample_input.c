#include "launch/sample_input.h"

#include <assert.h>
#include <stdlib.h>

#include "data/data_augment.h"
#include "data/data_pack.h"

struct sample_input {
    const struct data_set *set;
    struct device *device;
    int64_t samples_max;
    struct data_augment render; /* normalises, changes nothing */
    float *images;              /* [samples_max, pixels], on the host; NULL: texts */
    int32_t *tokens;            /* [samples_max, tokens_max of the set]; NULL: images */
    int32_t *lengths;           /* [samples_max] */
};

static enum err open_images(const struct data_normal *normal, struct sample_input *input)
{
    const size_t bytes =
        (size_t)(input->samples_max * input->set->image_pixels) * sizeof(*input->images);
    void *images = NULL;

    ERR_TRY(data_augment_init(&input->render, NULL, normal, input->set->shape.channels));
    ERR_TRY(device_pinned_open(input->device, bytes, "images", &images));
    input->images = images;
    return ERR_OK;
}

static enum err open_texts(struct sample_input *input)
{
    const size_t n = (size_t)input->samples_max;

    input->tokens = calloc(n * (size_t)input->set->tokens_max, sizeof(*input->tokens));
    input->lengths = calloc(n, sizeof(*input->lengths));
    return input->tokens != NULL && input->lengths != NULL
               ? ERR_OK
               : ERR_FAIL(ERR_NO_MEMORY, "a batch of texts");
}

enum err sample_input_open(struct device *device, const struct data_normal *normal,
                           const struct data_set *set, int64_t samples_max,
                           struct sample_input **input_out)
{
    struct sample_input *input = calloc(1, sizeof(*input));

    if (input == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a batch of samples");
    }
    input->set = set;
    input->device = device;
    input->samples_max = samples_max;
    const enum err status =
        set->kind == DATA_TEXTS ? open_texts(input) : open_images(normal, input);
    if (status != ERR_OK) {
        sample_input_close(input);
        return status;
    }
    *input_out = input;
    return ERR_OK;
}

void sample_input_close(struct sample_input *input)
{
    if (input == NULL) {
        return;
    }
    device_pinned_close(input->device, input->images);
    free(input->tokens);
    free(input->lengths);
    free(input);
}

struct model_input sample_input_fill(struct sample_input *input, const uint32_t samples[],
                                     int64_t n)
{
    const struct data_set *set = input->set;

    assert(n <= input->samples_max);
    if (set->kind == DATA_TEXTS) {
        data_pack_rows(set, samples, n, set->tokens_max, input->tokens, input->lengths);
        return (struct model_input){
            .tokens = input->tokens, .lengths = input->lengths, .token_stride = set->tokens_max};
    }
    for (int64_t i = 0; i < n; i++) {
        data_render(&input->render, set, samples[i], 0, input->images + i * set->image_pixels);
    }
    return (struct model_input){.images = input->images};
}
