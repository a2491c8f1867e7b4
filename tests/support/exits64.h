/*
 * tests/support/exits64.h - an exit's head and gate in double, by the equations of
 * exits/exits_net.h, reading the tensors one by one by their names in the list.
 *
 * Memory comes from malloc; a test that cannot have it fails.
 */
#ifndef TESTS_SUPPORT_EXITS64_H
#define TESTS_SUPPORT_EXITS64_H

#include <stdint.h>

#include "exits/exits_net.h"

enum { EXITS64_FEATURES = 4 };

struct exits64 {
    const struct exits_net_config *config; /* lent */
    const struct param_list *list;         /* lent */
    double *params;                        /* [block_elems], in the list's layout; may be varied */
};

/* A copy of the net's parameters. End it with exits64_close(). */
void exits64_open(struct exits64 *exits, struct exits_net *net);
void exits64_close(struct exits64 *exits);

/* z [K] out; h [D] in: the head of one exit of one set, for one sample. */
void exits64_head(const struct exits64 *exits, int set, int exit, const double *h, double *z);

/* Adds to z [K] what heads of the kind make of `before`, the logits [K] of the exit before. */
void exits64_chain(const struct exits64 *exits, int set, int exit, const double *before, double *z);

/* e [K] of exit `exit`, from the logits z [exit + 1, K] of all so far. */
void exits64_ensemble(const struct exits64 *exits, int set, int exit, const double *z, double *e);

/* The four features of logits z [K], entropies divided by ln K. */
void exits64_features(const double *z, int64_t K, double features_out[EXITS64_FEATURES]);

/* The gate's logit, of the four features or of h [D]. */
double exits64_gate(const struct exits64 *exits, int set, int exit,
                    const double features[EXITS64_FEATURES], const double *h);

/* T^2 KL(softmax(t / T) || softmax(z / T)); z, t [K]. */
double exits64_lesson(const double *z, const double *t, int64_t K, double T);

#endif
