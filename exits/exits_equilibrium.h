/*
 * exits/exits_equilibrium.h - exits that do not shout each other down in the backbone.
 *
 * Gradient equilibrium (H. Li et al., "Improved Techniques for Training Adaptive Deep Networks", ICCV
 * 2019, arXiv:1908.06294): with n exits behind a block, the end counted, its parameters get the mean of
 * the exits' gradients, not their sum. Published, the stream's gradient is rescaled at every exit: that
 * of the exit by 1 / n, that of the rest by (n - 1) / n. The gradient of a block is linear in that of
 * the stream behind it, so it is the plain sum's, divided once by n: which is what this says.
 *
 * With Adam only clipping and the share of weight decay feel it; with SGD early blocks step less.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_EQUILIBRIUM_H
#define EXITS_EXITS_EQUILIBRIUM_H

#include <stdint.h>

#include "trainer/kernels/kern_ops.h"
#include "trainer/model/param_list.h"

/*
 * What the gradient of layer `layer` of the backbone is multiplied by: 1 / n. -1 is what comes
 * before the first; layers [G] of the exits, ascending, as in exits_net.h.
 */
double exits_equilibrium_share(const int64_t layers[], int G, int64_t layer);

/* Multiplies the backbone's gradients, in the layout of its parameters, by their shares. */
void exits_equilibrium_apply(const struct kern_ops *ops, const int64_t layers[], int G,
                             const struct param_list *params, float *gradients);

#endif
