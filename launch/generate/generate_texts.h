/*
 * launch/generate/generate_texts.h - continues prompts, and tells how fast.
 *
 * Printed to stdout: every text, prompt and continuation, and behind all of them a line of what they cost; or one JSON
 * document (docs/generate.md).
 *
 * Threads: any.
 */
#ifndef LAUNCH_GENERATE_GENERATE_TEXTS_H
#define LAUNCH_GENERATE_GENERATE_TEXTS_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_generate.h"
#include "launch/generate/language_model.h"

struct generate_wish {
    const char *prompt;  /* NULL: those of the file */
    const char *prompts; /* path of a file, a prompt a line; else NULL */
    int64_t new_tokens_max;
    /*
     * How to write. Those below decide set and end_token, and draft_exit and thresholds where an
     * exit is named.
     */
    struct exits_generate_settings settings;
    bool has_lambda; /* else the first */
    double lambda;
    int64_t exit;             /* 1 .. G; 0: all exits */
    const double *thresholds; /* [threshold_count], 1 or G; NULL: those of the policy */
    int threshold_count;
    bool decays;        /* over the tokens that may be written */
    const char *policy; /* of the run's evaluation */
    bool ignores_end;   /* write on behind the end token */
    bool as_json;
};

/*
 * Errors: ERR_CONFIG for a wish that does not go with the model's exits; ERR_MISSING for thresholds of a policy
 * that are not there; ERR_CORRUPT for a prompt that leaves no room in the model's context, or is empty and the
 * tokenizer has no end-of-text token; ERR_MISSING, ERR_IO for the file; those of exits_generator_run().
 */
ERR_MUST_CHECK enum err generate_texts(const struct language_model *model,
                                       const struct generate_wish *wish);

#endif
