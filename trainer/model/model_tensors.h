/*
 * trainer/model/model_tensors.h - where each parameter lies in the one allocation.
 *
 * All parameters of a backbone are one block of floats. Gradients and optimizer moments
 * are further blocks of the same layout, so an update is one loop and a snapshot one
 * range a block. Gaps between tensors (for alignment) are zero in every block.
 *
 *      [ embedding | layer 0 | layer 1 | ... | layer L-1 | final norm and classifier ]
 *        part 0      part 1    part 2           part L      part L+1
 *
 * A part is what becomes ready at once in the backward pass: the unit of reduction.
 *
 * Threads: a layout is read-only after model_layout_open().
 */
#ifndef TRAINER_MODEL_MODEL_TENSORS_H
#define TRAINER_MODEL_MODEL_TENSORS_H

#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/model/model_config.h"
#include "trainer/model/param_list.h"

/* A tensor's place in the list of model_tensors.def; of LAYER tensors, in layer 0. */
enum model_tensor {
#define TENSOR(part, name, ...) MODEL_##name,
#include "trainer/model/model_tensors.def"
#undef TENSOR
    MODEL_TENSOR_KINDS,
};

/* Fills `list` with all tensors of a backbone. End it with param_list_close(). ERR_NO_MEMORY,
 * ERR_CONFIG if the block would not fit int64_t. */
ERR_MUST_CHECK enum err model_layout_open(const struct model_config *config,
                                          struct param_list *list_out);

/* The index of a tensor in the list; `layer` is ignored for those outside the layers. */
int64_t model_tensor_index(const struct model_config *config, enum model_tensor tensor,
                           int64_t layer);

int64_t model_part_count(const struct model_config *config); /* L + 2 */

#endif
