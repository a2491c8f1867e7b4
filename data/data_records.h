/*
 * data/data_records.h - the texts of a file, one a line: plain lines, TSV or JSON lines.
 *
 *      PART.tsv     label TAB text                    nothing is quoted or escaped
 *      PART.jsonl   {"text": "...", "label": ...}     a string or an integer; other keys are
 *                                                     skipped
 *
 * In the folder of a data set every text has a label. A file that is opened by its own name may do without: then
 * a line of TSV may be a text alone, and of JSON the label may be missing or null, and there may be an "id", a
 * string or an integer; or every line is a text as it is.
 *
 * Lines end with LF or CR LF, the last one also without; a byte order mark before the first
 * is skipped. Plain or gzip. A folder has one of the two files.
 *
 * Memory: the file, inflated; of standard input a line. Threads: a cursor belongs to one.
 */
#ifndef DATA_DATA_RECORDS_H
#define DATA_DATA_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum data_records_kind { DATA_RECORDS_LINES, DATA_RECORDS_TSV, DATA_RECORDS_JSONL };

/* As it is written: a text, and of JSON perhaps an integer, whose text is then NULL. */
struct data_label {
    const char *text;
    size_t bytes;
    int64_t number;
};

/* Lent until the next call. */
struct data_record {
    int64_t line; /* from 1 */
    bool has_label, has_id;
    struct data_label label;
    struct data_label id; /* likewise */
    const char *text;     /* not NUL-terminated; of TSV perhaps not UTF-8 */
    size_t text_bytes;
};

struct data_records;

/*
 * Opens `part`.tsv or `part`.jsonl of `folder`; of TSV the first line is skipped if
 * `has_header`. The caller owns *records_out and ends it with data_records_close(). Errors:
 * ERR_MISSING if the folder has neither; ERR_CORRUPT if it has both, or a damaged gzip
 * stream; ERR_IO; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_records_open(const char *folder, const char *part, bool has_header,
                                          struct data_records **records_out);

/*
 * Opens the file `path`, or standard input if that is "-", which is read line by line and not inflated. Errors: as
 * above.
 */
ERR_MUST_CHECK enum err data_records_open_file(const char *path, enum data_records_kind kind,
                                               bool has_header, struct data_records **records_out);

/* Closes a cursor. NULL is allowed. */
void data_records_close(struct data_records *records);

/* The path of the file, for errors. Lent. */
const char *data_records_path(const struct data_records *records);

/* Whether labels are as JSON has them; else a number, too, is a text. */
bool data_records_are_json(const struct data_records *records);

/*
 * The next record; false in *is_there_out at the end. Errors: ERR_CORRUPT, with file, line,
 * what was found and what was expected: another number of fields, an empty line or label, no
 * JSON object, a key that is missing or of another type; ERR_IO; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_records_next(struct data_records *records,
                                          struct data_record *record_out, bool *is_there_out);

#endif
