/*
 * launch/predict/predict_input.h - what is to be predicted, portion by portion, as data sets.
 *
 *      a folder     its test set, as of a run's data_dir
 *      images       idx files, each perhaps followed by one of its labels; or CIFAR files, in the format of the run
 *      texts        a file of plain lines, TSV or JSON lines (data_records.h), by the end of its name; "-": standard input
 *
 * What images are normalised by and how classes are called follows from the settings of the checkpoint and the run's
 * data_dir, the tokenizer from the run's settings.
 *
 * Threads: one belongs to one thread.
 */
#ifndef LAUNCH_PREDICT_PREDICT_INPUT_H
#define LAUNCH_PREDICT_PREDICT_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_augment.h"
#include "data/data_set.h"
#include "launch/trained_network.h"

/* Choices of the command line; AUTO: by the run's data_format, and of texts by the name. */
enum predict_format {
    PREDICT_AUTO,
    PREDICT_IDX,
    PREDICT_CIFAR10,
    PREDICT_CIFAR100,
    PREDICT_LINES,
    PREDICT_TSV,
    PREDICT_JSONL,
    PREDICT_FORMATS,
};

struct predict_source {
    const struct trained_network *network;
    enum predict_format format;
    const char *data_dir;      /* NULL: the run's */
    const char *tokenizer;     /* NULL: the run's */
    const char *const *inputs; /* [input_count] */
    int input_count;
    int64_t batch; /* of standard input so many texts are answered at once */
    int64_t samples_max;
};

/* Of a sample whose class is not said. */
enum { PREDICT_NO_LABEL = -1 };

/* What a file calls a sample. */
struct predict_id {
    enum { PREDICT_ID_NONE, PREDICT_ID_NUMBER, PREDICT_ID_TEXT } kind;
    int64_t number;
    char *text;
};

/* Lent until the next one. */
struct predict_portion {
    const struct data_set *set;   /* labels may be PREDICT_NO_LABEL */
    const struct predict_id *ids; /* [set->shape.count]; NULL: none has one */
};

struct predict_input;

/*
 * Opens what all inputs need; `source` and what it lends stay the caller's until the close. Errors: ERR_MISSING
 * where what images are normalised by, or the tokenizer, cannot be had; ERR_CONFIG where it does not go with the network; those of
 * the loaders.
 */
ERR_MUST_CHECK enum err predict_input_open(const struct predict_source *source,
                                           struct predict_input **input_out);
void predict_input_close(struct predict_input *input); /* NULL is allowed */

/*
 * The next portion; portion_out->set is NULL at the end. Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT with the file,
 * of texts the line, what was found and what was expected.
 */
ERR_MUST_CHECK enum err predict_input_next(struct predict_input *input,
                                           struct predict_portion *portion_out);

const char *predict_input_class(const struct predict_input *input, int32_t class); /* its name */
const struct data_normal *predict_input_normal(const struct predict_input *input); /* of images */

#endif
