/*
 * exits/exits_cost.h - what it costs to leave at each exit, in multiply-adds of one sample.
 *
 * With N tokens of width D, an MLP of width F and K classes:
 *
 *      embedding  patches * inputs of a patch * D; words are looked up and cost nothing
 *      block      N (4 D^2 + 2 D F) + 2 N^2 D
 *      head       D K, or D hidden + hidden K with a hidden layer; of the pooled row only;
 *                 but at the first exit boosted K more, cascaded K^2; an ensemble of m heads
 *                 (m + 1) K, at all exits
 *      gate       features 9 K + 1 if it reads them, and (inputs + 1) * outputs of each of its
 *                 linear layers
 *
 * The cost of exit l is cumulative: the blocks up to it and the heads and gates of all exits
 * up to and including l, since a sample that leaves at l has been refused by the others.
 * The last entry is the end: all blocks, all exits, the final head.
 *
 * A language model's samples are the tokens: of a block each has a share of 1/N. What the layers
 * behind an exit keep of a token that left, for those to come, is not in its cost.
 *
 * Every linear map counts once per token, and both products of attention count. The counter
 * published with JEI-DNN (Regol et al., ICLR 2024) counts a linear layer once per sample and
 * attention never: its totals for a T2T-ViT-7 are 85 times too small, and so are costs quoted
 * from it; and its ratios differ as well. Only gates are counted as there, where each
 * operation of the features and each bias counts 1: a linear gate has 9 K + 6. Layer norms,
 * biases and activations of the network itself, softmax and residual sums do not count:
 * they are not multiply-adds.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_COST_H
#define EXITS_EXITS_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "exits/exits_net.h"

struct exits_cost_shape {
    int64_t tokens;       /* N, cls included; of texts the mean of the set, patches are 0 then */
    bool is_of_token;     /* a language model's: what follows is of one token among the N */
    int64_t width;        /* D */
    int64_t intermediate; /* F */
    int64_t layers;       /* L */
    int64_t patches;
    int64_t patch_inputs;  /* channels * patch height * patch width */
    int64_t classes;       /* K */
    bool pools_last_block; /* the last block is computed for the cls row alone */
    bool has_gates;        /* false: who leaves is decided without gates, by a threshold */
    enum exits_head_kind head;
    int64_t head_hidden; /* of NORM_MLP */
    enum exits_heads heads;
    enum exits_gate_kind gate;
    int64_t gate_hidden;        /* of MLP and HIDDEN_MLP */
    int exit_count;             /* G >= 0 */
    const int64_t *exit_layers; /* [G] ascending, 0 .. L-2; lent for the call */
};

/* One block for all its tokens. */
int64_t exits_cost_block(int64_t tokens, int64_t width, int64_t intermediate);

/* One block whose output is wanted for one row: keys and values of all tokens, the rest of one. */
int64_t exits_cost_block_pooled(int64_t tokens, int64_t width, int64_t intermediate);

/* macs_out [G + 1]. */
void exits_cost(const struct exits_cost_shape *shape, int64_t macs_out[]);

/* shares_out [G + 1] = macs / macs[G], the c_l of the objective; the last is 1. */
void exits_cost_shares(const int64_t macs[], int G, double shares_out[]);

#endif
