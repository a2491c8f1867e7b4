/*
 * launch/run_data.h - the data of a run: both sets, and which samples are held out.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_RUN_DATA_H
#define LAUNCH_RUN_DATA_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "data/data_augment.h"
#include "data/data_set.h"
#include "data/data_split.h"
#include "data/data_tokenizer.h"
#include "launch/options.h"

struct run_data {
    struct data_set *train, *test;
    struct data_split *split;
    struct data_normal normal;        /* of images */
    struct data_tokenizer *tokenizer; /* of texts; NULL: images */
};

/*
 * Errors: those of data_set_open(), data_tokenizer_open() and data_split_open(); ERR_CONFIG where settings
 * and data do not go together. End it with run_data_close(), also after an error.
 */
ERR_MUST_CHECK enum err run_data_open(const struct options *options, struct run_data *data_out);
void run_data_close(struct run_data *data); /* a zeroed one is allowed */

/* Tokens of a text of the training set in the mean, rounded up; 0: images. */
int64_t run_data_mean_tokens(const struct run_data *data);

/* Whether it is a language model's: every token of a text has a label, the next one. */
bool run_data_is_language(const struct run_data *data);

/* "images", "texts" or "blocks of text". */
const char *run_data_noun(const struct run_data *data);

#endif
