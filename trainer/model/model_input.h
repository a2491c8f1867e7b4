/*
 * trainer/model/model_input.h - what a pass is given: images or texts, one a sample.
 *
 * Of texts a pass is as wide as its longest one, up to a multiple of MODEL_TOKENS_STEP: whoever packs
 * texts of like length together spares the padding. A sample's results depend neither on the
 * width nor on the other samples.
 *
 * A `struct model_stage` is where a device finds the input of a pass; on a CPU it stays where it is.
 *
 * Threads: a stage belongs to one thread.
 */
#ifndef TRAINER_MODEL_MODEL_INPUT_H
#define TRAINER_MODEL_MODEL_INPUT_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "trainer/model/model_config.h"

/* n samples, in the memory of the host or of the device; what the model does not read is NULL. */
struct model_input {
    const float *images; /* [n, C, height, width] */
    const int32_t
        *tokens; /* [n, token_stride], each 0 .. V-1; those beyond a length are not read */
    const int32_t
        *lengths; /* [n], R .. max_length: of GPT-2 an empty text is its end-of-text token */
    int64_t token_stride; /* >= every length */
    int64_t width;        /* T of the pass: what model_stage_put() fills in */
};

/* The samples from `first` on. */
struct model_input model_input_from(const struct model_config *config,
                                    const struct model_input *input, int64_t first);

struct model_stage;

/*
 * For inputs of 1 .. samples_max samples. End it with model_stage_close().
 * Errors: ERR_NO_MEMORY; ERR_DEVICE.
 */
ERR_MUST_CHECK enum err model_stage_open(const struct model_config *config, struct device *device,
                                         int64_t samples_max, struct model_stage **stage_out);
void model_stage_close(struct model_stage *stage); /* NULL is allowed */

/*
 * `input` of the host as the device has it, good until the next call and as long as the host's is;
 * `width` is filled in.
 * Errors: ERR_CORRUPT for a length or token out of range, naming the sample; ERR_DEVICE.
 */
ERR_MUST_CHECK enum err model_stage_put(struct model_stage *stage, const struct model_input *input,
                                        int64_t n, struct model_input *staged_out);

#endif
