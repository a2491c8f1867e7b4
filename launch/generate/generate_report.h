/*
 * launch/generate/generate_report.h - texts that were written, and what they cost, for people and programs.
 *
 * Threads: any.
 */
#ifndef LAUNCH_GENERATE_GENERATE_REPORT_H
#define LAUNCH_GENERATE_GENERATE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_generate.h"
#include "launch/generate/language_model.h"

struct generated {
    int32_t *tokens;      /* [prompt_count + count] */
    int64_t prompt_count; /* of the prompt */
    int64_t count;        /* written behind it */
    double prompt_s, writing_s;
    double writing_cpu_s; /* less of it is the machine's other work */
    bool has_ended;       /* by the end token */
    struct exits_generate_counts counts;
};

struct generate_report {
    const struct language_model *model;
    const struct exits_generate_settings *settings;
    const struct generated *texts; /* [text_count] */
    int64_t text_count;
};

/* To stdout: one text; what all of them cost, in a line or two; all as one document. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err generate_report_text(const struct language_model *model,
                                             const struct generated *text);
ERR_MUST_CHECK enum err generate_report_total(const struct generate_report *report);
ERR_MUST_CHECK enum err generate_report_json(const struct generate_report *report);

#endif
