/*
 * exits/exits_generate.h - texts written by a language model token by token, with early exits.
 *
 * After a prompt, which goes through all layers, each token is written in one of three ways:
 *
 *      FULL         all layers, then the final head
 *      EXIT         after each exit its head tells the likeliest token; if that is sure enough the
 *                   token is written, and the layers above are not computed for it
 *      SPECULATIVE  one exit drafts k tokens, all layers above it read them at once, and as many are kept as
 *                   the final head would have written: the text is that of FULL
 *
 * EXIT. Tokens that come later attend to the keys and values of this one in the skipped layers, too.
 * They are made up for (enum exits_fill):
 *
 *      COPY         at once, of the stream at the exit (T. Schuster et al., "Confident Adaptive
 *                   Language Modeling", NeurIPS 2022, arXiv:2207.07061): 2 D^2 multiply-adds a layer and
 *                   token instead of 4 D^2 + 2 D F and attention, with keys that the model has not
 *                   been trained on.
 *      RECOMPUTE    when a later token goes that far: tokens that left wait with their stream, and
 *                   the next one that comes through a layer takes them along, rows of one product
 *                   (Y. Chen et al., "EE-LLM", ICML 2024, arXiv:2312.04916, section 4.1, "KV recomputation"). The
 *                   keys are those of the full model, to the last bit. In multiply-adds an exit then saves
 *                   nothing but the final head, unless the text ends; it saves time, where a layer with several rows
 *                   takes little longer than with one: while its weights come from memory.
 *                   With pending_max tokens waiting, the next one goes to the end.
 *
 * SPECULATIVE. A round drafts up to k tokens, fewer if the exit is less sure than draft_threshold
 * (J. Zhang et al., "Draft & Verify", ACL 2024, arXiv:2309.08168), and reads the draft and the token before by
 * the layers above the exit: what these layers want of the layers below, stream, keys and values, was made by
 * drafting (M. Elhoushi et al., "LayerSkip", ACL 2024, arXiv:2404.16710, section 4.3). Of the
 * draft the longest prefix is kept whose tokens the final head finds likeliest itself, and what it finds behind
 * that is written, too: 1 to k + 1 tokens a round. Equal logits make equal texts, and a row's bits do not depend on
 * how many are computed with it (model_decoder.h), so the text is that of FULL bit by bit and not nearly. No
 * multiply-add is saved, but for refused tokens and heads all the more are done; it is worth it where a product
 * with k + 1 rows takes less time than k + 1 of one row.
 *
 * Tokens are the likeliest, the lowest of equals; or with a temperature drawn from softmax(z / temperature), by
 * a number that depends on the seed and the token's place only.
 *
 * Threads: a generator belongs to one thread. CPU only. Nothing is allocated while it runs.
 */
#ifndef EXITS_EXITS_GENERATE_H
#define EXITS_EXITS_GENERATE_H

#include <stdint.h>

#include "comm/base/err.h"
#include "exits/exits_decay.h"
#include "exits/exits_net.h"
#include "exits/exits_score.h"
#include "trainer/model/model_decoder.h"

enum exits_writing { EXITS_WRITING_FULL, EXITS_WRITING_EXIT, EXITS_WRITING_SPECULATIVE };

enum exits_fill { EXITS_FILL_COPY, EXITS_FILL_RECOMPUTE };

enum { EXITS_DRAFT_MAX = MODEL_DECODER_ROWS - 1 };

struct exits_generate_settings {
    enum exits_writing writing;
    int set;            /* of heads, 0 .. S-1 */
    int32_t end_token;  /* ends a text when written; -1: none does */
    double temperature; /* >= 0; 0: the likeliest. Not with SPECULATIVE */
    uint64_t seed;
    /* Of EXIT. */
    enum exits_score score; /* MAX_PROB, MARGIN or ENTROPY */
    const double
        *thresholds; /* [G]; leaves if score >= threshold; +inf: that exit is not computed */
    struct exits_decay decay; /* thresholds are multiplied by it, as the text grows */
    int64_t decay_tokens;     /* to this length; 0: they stay */
    enum exits_fill fill;
    int64_t pending_max; /* >= 1, of RECOMPUTE */
    /* Of SPECULATIVE. */
    int draft_exit;       /* 0 .. G-1 */
    int64_t draft_tokens; /* k, 1 .. EXITS_DRAFT_MAX */
    double
        draft_threshold; /* a token whose largest probability is below ends the draft and is not of it */
};

/* What a text has cost so far, its prompt apart. */
struct exits_generate_counts {
    int64_t tokens; /* written */
    int64_t macs;   /* multiply-adds, counted as in exits_cost.h */
    int64_t left[MODEL_LAYERS_MAX +
                 1]; /* [G + 1], of EXIT: tokens written by each exit, the end last */
    int64_t rounds, drafted, accepted; /* of SPECULATIVE */
};

struct exits_generator;

/*
 * For texts of up to positions_max tokens, prompt and all. Model and net are lent, packed, until the close; net
 * NULL: FULL only. Errors: as model_decoder_open(); ERR_CONFIG for exits whose heads follow from those before.
 */
ERR_MUST_CHECK enum err exits_generator_open(const struct model *model, const struct exits_net *net,
                                             int64_t positions_max,
                                             struct exits_generator **generator_out);
void exits_generator_close(struct exits_generator *generator); /* NULL is allowed */

/* Begins a text: prompt [n], 1 <= n < positions_max, each 0 .. V-1. Cost: a pass over it. */
void exits_generator_begin(struct exits_generator *generator, const int32_t prompt[], int64_t n);

/*
 * Writes on: up to tokens_max tokens, fewer if one is the end token, which is told, too, or the text fills
 * positions_max. May be called again, with other settings.
 *
 * tokens_out  [tokens_max]
 *
 * Errors: ERR_NOT_FINITE, and the text is to be begun anew.
 */
ERR_MUST_CHECK enum err exits_generator_run(struct exits_generator *generator,
                                            const struct exits_generate_settings *settings,
                                            int64_t tokens_max, int32_t tokens_out[],
                                            int64_t *count_out);

/* Of this text. Lent, changing. */
const struct exits_generate_counts *exits_generator_counts(const struct exits_generator *generator);

/* Its decoder, for who looks at caches. All but the text's last token have been put. */
struct model_decoder *exits_generator_decoder(struct exits_generator *generator);

#endif
