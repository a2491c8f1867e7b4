/*
 * trainer/step/layer_dropout.h - which layers a micro-batch of training leaves out.
 *
 *      p_l = highest (2^(l / (L - 1)) - 1),   l = 0 .. L - 1
 *
 * so that the first layer always runs, and the last is left out with the probability `highest`: early exits
 * must do without what is behind them. M. Elhoushi et al., "LayerSkip", ACL 2024 (arXiv:2404.16710), equation
 * 1, with its curriculum over the steps constant. There every sample draws for itself; here all samples of a
 * micro-batch do together, so that the work is spared too.
 *
 * A draw is a function of the seed, the number of the micro-batch in the whole run and the layer: the
 * same on any number of ranks, and in a run that resumes.
 *
 * Threads: any.
 */
#ifndef TRAINER_STEP_LAYER_DROPOUT_H
#define TRAINER_STEP_LAYER_DROPOUT_H

#include <stdbool.h>
#include <stdint.h>

/* p of layer l of L; 0 if there is only one. */
double layer_dropout_rate(double highest, int64_t layer, int64_t layer_count);

/* skips_out [layer_count]: whether micro-batch `micro` leaves the layer out. 0 <= highest < 1. */
void layer_dropout_draw(uint64_t seed, uint64_t micro, double highest, int64_t layer_count,
                        bool skips_out[]);

#endif
