/* trainer/model/model_priv.h - what the files of this folder share about weights and work. */
#ifndef TRAINER_MODEL_MODEL_PRIV_H
#define TRAINER_MODEL_MODEL_PRIV_H

#include "trainer/model/model.h"

/* The matrices of a layer, as the kernels want them. */
struct model_layer {
    struct kern_linear qkv;         /* [3D, D] */
    struct kern_linear query;       /* [D, D], the first third: for the last layer of a cls model */
    struct kern_linear keys_values; /* [2D, D], the rest */
    struct kern_linear out;         /* [D, D] */
    struct kern_linear up;          /* [F, D] */
    struct kern_linear down;        /* [D, F] */
};

struct model {
    struct model_config config;
    struct kern_ops ops;
    struct param_list params;
    int64_t tensor_at[MODEL_TENSOR_KINDS];   /* index of each, in layer 0; -1: not there */
    int64_t tensor_step[MODEL_TENSOR_KINDS]; /* from layer to layer */
    float *block;
    float *panels;
    struct kern_linear patches, classes;
    struct model_layer *layers;    /* [L] */
    struct kern_linear **matrices; /* [matrix_count], all of the above that are in use */
    int64_t matrix_count;
};

/*
 * What a layer keeps for its backward pass; without `keeps` all layers share one. Where norms come
 * behind, normed1 and normed2 are what they are given: the sums x + attention(x) and middle + mlp(middle).
 */
struct model_kept {
    float *x;             /* [n, T, D], the stream before the layer */
    float *mean1, *rstd1; /* [n * T] */
    float *normed1;       /* [n, T, D] */
    float *qkv;           /* [n, T, 3, H, D/H] */
    float *attention;     /* what the attention kernel saves */
    float *heads;         /* [n, T, D], its output */
    float *middle;        /* [n, T, D], the stream between attention and MLP */
    float *mean2, *rstd2;
    float *normed2; /* [n, T, D] */
    float *wide;    /* [n, T, F], after the activation */
    float *slope;   /* [n, T, F], its derivative; NULL without `keeps` */
};

struct model_work {
    const struct model *model;
    bool keeps;
    int64_t samples_max, n;
    int64_t T;             /* tokens of a sample, in this pass */
    const int32_t *tokens; /* [n, token_stride] of this pass, lent */
    int64_t token_stride;
    int64_t bytes;
    float *block;                   /* all of what follows, one allocation */
    struct model_kept *layers;      /* [L] */
    float *stream;                  /* [n, T, D], where the forward pass is */
    float *last;                    /* [n, T, D], the stream after the last layer */
    float *patches;                 /* [n, patches, patch inputs]; NULL of texts */
    int32_t *lengths;               /* [n], of texts */
    float *embedded;                /* [n, T, D], before the norm of the embedding; NULL: no norm */
    float *embed_mean, *embed_rstd; /* [n * T] */
    float *head_normed;             /* [n R, D]; without a final norm, what is pooled */
    float *head_pooled;             /* [n R, D] */
    float *head_mean, *head_rstd;   /* [n R] */
    float *dx, *dmiddle, *dnormed;  /* [n, T, D] */
    float *dwide;                   /* [n, T, max(F, 3D)] */
    float *dquery;                  /* [n R, D], of the cls rows in the last layer */
    void *kept; /* where the device has the index of model_keep_samples(); NULL on a CPU */
};

/* The rows of the stream that a layer's second half works on: all, or the cls rows alone. */
struct model_rows {
    int64_t count;
    int64_t ld; /* elements from one row to the next */
};

struct model_rows model_rows_of(const struct model_work *work, int64_t layer);

/* Of n images of this model. */
struct kern_embed_shape model_embed_shape(const struct model_work *work, int64_t n);

/* Where layer `layer` puts the stream. */
float *model_output_of(const struct model_work *work, int64_t layer);

/* A tensor's place in a block of this model's layout. */
float *model_at(const struct model *model, float *block, enum model_tensor tensor, int64_t layer);

/* Who attends to whom, for the attention of `work`'s pass: NULL if all to all. */
const struct kern_attention_mask *model_mask_of(const struct model_work *work,
                                                struct kern_attention_mask *mask);

/* model_block_forward() and _backward() where norms come behind a layer's halves. */
void model_post_block_forward(struct model_work *work, int64_t layer);
void model_post_block_backward(struct model_work *work, int64_t layer, float *gradients,
                               bool accumulate);

/* True for the layer of which only the cls rows are read. */
bool model_is_cls_only(const struct model *model, int64_t layer);

#endif
