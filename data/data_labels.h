/*
 * data/data_labels.h - the classes of a text set: their names, and which one a label means.
 *
 * Names are the lines of labels.txt of the folder; without that file, the labels of the
 * training file: sorted as bytes, or where all are integers, 0 to the largest.
 *
 * A label is a name or, as an integer of JSON, the number of a class. Where there is a
 * labels.txt, a text of digits that is none of the names is a number, too.
 *
 * Threads: any, once opened.
 */
#ifndef DATA_DATA_LABELS_H
#define DATA_DATA_LABELS_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_records.h"

enum { DATA_LABEL_BYTES_MAX = 256 };

struct data_labels {
    int64_t count;             /* 1..DATA_CLASSES_MAX of data_set.h */
    char **names;              /* [count], owned; NULL once another has taken them over */
    const char *origin;        /* which file they are from, for errors */
    struct data_vocab *lookup; /* name to class, owned */
};

/*
 * The classes of the set in `folder`. The caller owns *labels_out and ends it with
 * data_labels_close(). Errors: ERR_CORRUPT, with file, line, what was found and what was
 * expected: a name that is empty, too long or there twice, more classes than
 * DATA_CLASSES_MAX, a negative integer, JSON labels of both types; as data_records_open() and
 * data_records_next() where the training file is read.
 */
ERR_MUST_CHECK enum err data_labels_open(const char *folder, bool has_header,
                                         struct data_labels **labels_out);

/*
 * The same of classes whose names nobody knows: "0" to count - 1, 1..DATA_CLASSES_MAX. `origin`, which
 * errors name, is lent. Errors: ERR_INVALID, ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_labels_open_numbers(int64_t count, const char *origin,
                                                 struct data_labels **labels_out);

/* Frees the classes. NULL is allowed. */
void data_labels_close(struct data_labels *labels);

/* The class of a record of the file `path`. Errors: ERR_CORRUPT if the label is none. */
ERR_MUST_CHECK enum err data_labels_find(const struct data_labels *labels,
                                         const struct data_record *record, const char *path,
                                         int32_t *class_out);

#endif
