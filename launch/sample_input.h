/*
 * launch/sample_input.h - samples of a set as the input of a pass, as they are: images are
 * normalised and not changed at random, texts filled up to the longest of them.
 *
 * Threads: one belongs to one thread.
 */
#ifndef LAUNCH_SAMPLE_INPUT_H
#define LAUNCH_SAMPLE_INPUT_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "data/data_augment.h"
#include "data/data_set.h"
#include "trainer/model/model_input.h"

struct sample_input;

/*
 * Room for samples_max samples of `set`, which is lent, for the device; `normal` is of images. Errors: ERR_NO_MEMORY,
 * ERR_CONFIG, ERR_DEVICE.
 */
ERR_MUST_CHECK enum err sample_input_open(struct device *device, const struct data_normal *normal,
                                          const struct data_set *set, int64_t samples_max,
                                          struct sample_input **input_out);
void sample_input_close(struct sample_input *input); /* NULL is allowed */

/* n <= samples_max samples, by their numbers in the set; lent until the next call. Cannot fail. */
struct model_input sample_input_fill(struct sample_input *input, const uint32_t samples[],
                                     int64_t n);

#endif
