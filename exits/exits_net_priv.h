/* exits/exits_net_priv.h - what the files of the net share: places of tensors, kept rows. */
#ifndef EXITS_EXITS_NET_PRIV_H
#define EXITS_EXITS_NET_PRIV_H

#include "exits/exits_ensemble.h"
#include "exits/exits_net.h"

enum { FEATURES = KERN_XENT_FEATURES };

/* The tensors of one exit of one set, in the order of the list. */
enum exits_tensor {
    NORM_GAIN,
    NORM_BIAS,
    UP_WEIGHT,
    UP_BIAS,
    HEAD_WEIGHT,
    HEAD_BIAS,
    CASCADE_NORM_GAIN, /* of heads behind the first */
    CASCADE_NORM_BIAS,
    CASCADE_WEIGHT,
    GATE_NORM_GAIN, /* from here on the gate's */
    GATE_NORM_BIAS,
    GATE_UP_WEIGHT,
    GATE_UP_BIAS,
    GATE_WEIGHT,
    GATE_BIAS,
    ENSEMBLE_WEIGHT,
    ENSEMBLE_BIAS,
    TENSORS,
};

/* Where one exit's tensors lie in the block; -1 if its kind has no such tensor. */
struct exits_places {
    int64_t at[TENSORS];
    struct kern_linear up, head, cascade;
    struct kern_linear gate_up, gate_out; /* of gates that read the stream */
};

struct exits_net {
    struct exits_net_config config;
    struct kern_ops ops;
    struct param_list params;
    float *block;
    float *panels;
    struct exits_places *exits; /* [S, G] */
};

/* What one exit of one set keeps of its pass. */
struct exits_rows {
    float *normed, *mean, *rstd;         /* [n, D], [n], [n] */
    float *wide, *slope;                 /* [n, head_hidden], after GELU, and its derivative */
    float *logits;                       /* [n, K] */
    float *told, *told_mean, *told_rstd; /* [n, K], [n], [n]: of the head before */
    float *answer, *answer_lse;          /* [n, K], [n], of an ensemble; */
    float *own_loss;                     /* [n], then of the logits */
    const int32_t *labels;               /* lent */
    float *loss, *lse;                   /* [n], of the answer, of the logits */
    float *lesson;                       /* [n] */
    const float *teacher;                /* [n, K], lent; NULL: nobody is followed */
    struct exits_distill distill;
    float *features;                            /* [n, 4] */
    float *gate_normed, *gate_mean, *gate_rstd; /* [n, D], [n], [n] */
    float *hidden;                              /* [n, gate_hidden], after relu or GELU */
    float *gate_slope;                          /* [n, gate_hidden], of GELU */
    float *gate;                                /* [n] */
    int32_t *predicted;                         /* [n] */
    int64_t n;
};

struct exits_work {
    const struct exits_net *net;
    struct exits_rows *rows; /* [S, G] */
    int64_t row_elems, samples_max;
    float *block;
    int32_t *predicted;
    float *dlogits;                  /* [n, K] */
    float *dhidden;                  /* [n, head_hidden], or [n, gate_hidden] */
    float *dnormed;                  /* [n, D] */
    float *dtold;                    /* [n, K] */
    float *host;                     /* [n, 7], for exits_read(); NULL on a CPU */
    bool shares_heads, shares_gates; /* exits_work_share() */
    void *kept; /* where the device has the samples that go on; NULL on a CPU */
    exits_distill_fn *follow;
    exits_ensemble_fn *answer, *answer_backward;
};

/* What an exit's head computed, and its gate. */
static inline struct exits_rows *exits_head_rows(const struct exits_work *work, int set, int exit)
{
    return &work->rows[(work->shares_heads ? 0 : set) * work->net->config.count + exit];
}

static inline struct exits_rows *exits_gate_rows(const struct exits_work *work, int set, int exit)
{
    return &work->rows[(work->shares_gates ? 0 : set) * work->net->config.count + exit];
}

/* Whether exits of this kind have that tensor. */
bool exits_net_has(const struct exits_net_config *config, enum exits_tensor tensor);

/* Whether an exit needs what heads before it said. */
static inline bool exits_net_is_chained(const struct exits_net_config *config)
{
    return config->heads != EXITS_HEADS_PLAIN || config->gate == EXITS_GATE_ENSEMBLE;
}

/* The ensemble of the i-th exit, counted over all sets. */
struct exits_ensemble exits_ensemble_of(const struct exits_work *work, int i);

/* Whether gates read the pooled stream, behind a norm. */
static inline bool exits_gate_is_hidden(enum exits_gate_kind kind)
{
    return kind == EXITS_GATE_HIDDEN_LINEAR || kind == EXITS_GATE_HIDDEN_MLP ||
           kind == EXITS_GATE_SHARED;
}

/* The gate of the i-th exit, counted over all sets, behind its head: fills rows[i].gate. */
void exits_gate_forward(struct exits_work *work, int i, const float *features);

#endif
