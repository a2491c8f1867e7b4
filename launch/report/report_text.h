/*
 * launch/report/report_text.h - a text that grows, and HTML in it: whatever a run's files say is
 * escaped on its way in.
 *
 * Memory that runs out is remembered: later calls do nothing, and report_text_check() tells.
 *
 * Threads: a text belongs to one.
 */
#ifndef LAUNCH_REPORT_REPORT_TEXT_H
#define LAUNCH_REPORT_REPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/base/err.h"

/* All zero is an empty text. End it with report_text_release(). */
struct report_text {
    char *bytes; /* [count + 1], NUL-terminated; NULL while it is empty */
    size_t count, room;
    bool is_short; /* memory ran out */
};

void report_text_release(struct report_text *text);

/* Errors: ERR_NO_MEMORY if anything is missing of it. */
ERR_MUST_CHECK enum err report_text_check(const struct report_text *text);

/* As it is: our own HTML, numbers, gnuplot's commands. */
void report_text_add(struct report_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void report_text_bytes(struct report_text *text, const char *bytes, size_t count);

/*
 * Escaped, good in a text and in an attribute in double quotes: & < > " ' as references, control
 * characters but tab and newline as U+FFFD, and so bytes that are no UTF-8.
 */
void report_text_escaped(struct report_text *text, const char *words);

/* A string of gnuplot's: in single quotes, where it replaces nothing. Control characters are spaces. */
void report_text_quoted(struct report_text *text, const char *words);

/* A number for gnuplot; NaN where it is not finite. With a space in front. */
void report_text_number(struct report_text *text, double value);

#endif
