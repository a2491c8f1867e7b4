/*
 * launch/export/onnx_exits.h - heads, gates and scores of exits as nodes of an ONNX graph.
 *
 * What they compute is in exits/exits_net.h and exits/exits_score.h. There is one function for each
 * kind of head and of gate; a kind that has none is refused by onnx_exits_check().
 *
 * Threads: as the graph.
 */
#ifndef LAUNCH_EXPORT_ONNX_EXITS_H
#define LAUNCH_EXPORT_ONNX_EXITS_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "exits/exits_net.h"
#include "exits/exits_score.h"
#include "launch/export/onnx_graph.h"
#include "trainer/model/param_list.h"

/* All lent. */
struct onnx_exits {
    const struct exits_net_config *config;
    const struct param_list *params;
    const float *block;
    int set;                /* whose heads and gates */
    enum exits_score score; /* that lets a sample leave */
    enum exits_form form;
};

/* What goes from exit to exit. Values are NULL in front of the first, and where nobody reads them. */
struct onnx_exits_carry {
    onnx_value logits; /* [n, K] of the head before: onnx_exits_carry_logits() */
    onnx_value heads;  /* [n, l, K], logits of the l heads before: onnx_exits_carry_heads() */
    onnx_value mass;   /* [n, 1], the probability that has not left: onnx_exits_carry_mass() */
};

bool onnx_exits_carry_logits(const struct onnx_exits *exits);
bool onnx_exits_carry_heads(const struct onnx_exits *exits);
bool onnx_exits_carry_mass(const struct onnx_exits *exits);

/* Errors: ERR_CONFIG for exits that cannot be exported, naming what of them. */
ERR_MUST_CHECK enum err onnx_exits_check(const struct onnx_exits *exits);

/* Names of what can be exported, as in exits.json; NULL for another. Static storage. */
const char *onnx_exits_head_name(enum exits_head_kind kind);
const char *onnx_exits_heads_name(enum exits_heads heads);
const char *onnx_exits_gate_name(enum exits_gate_kind kind);
const char *onnx_exits_score_name(enum exits_score score);

struct onnx_exits_answer {
    onnx_value logits; /* [n, K] */
    onnx_value score;  /* [n] */
};

/* One exit on pooled [n, D], in the scope as it is; *carry becomes that behind it. */
struct onnx_exits_answer onnx_exits_add(struct onnx_graph *graph, const struct onnx_exits *exits,
                                        int exit, onnx_value pooled,
                                        struct onnx_exits_carry *carry);

#endif
