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
#include "launch/train_run.h"
#include "trainer/model/model_input.h"

struct sample_input;

/* Room for samples_max samples of `set`, which is lent. Errors: ERR_NO_MEMORY, ERR_CONFIG, ERR_DEVICE. */
ERR_MUST_CHECK enum err sample_input_open(const struct train_run *run, const struct data_set *set,
                                          int64_t samples_max, struct sample_input **input_out);
void sample_input_close(struct sample_input *input); /* NULL is allowed */

/* n <= samples_max samples, by their numbers in the set; lent until the next call. Cannot fail. */
struct model_input sample_input_fill(struct sample_input *input, const uint32_t samples[],
                                     int64_t n);

#endif
