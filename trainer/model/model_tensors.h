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

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "trainer/model/model_config.h"
#include "trainer/model/param_list.h"

/* The tensors of model_tensors.def. A backbone has not all of them. */
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

/* Whether a backbone has such a tensor. */
bool model_has_tensor(const struct model_config *config, enum model_tensor tensor);

/* The index in the list of a tensor that is there; `layer` is ignored for those outside the layers. */
int64_t model_tensor_index(const struct model_config *config, enum model_tensor tensor,
                           int64_t layer);

/* A name or pattern of one with %d in it, for a layer. name [PARAM_NAME_BYTES] out. */
void model_tensor_name(char *name, const char *pattern, int64_t layer);

int64_t model_part_count(const struct model_config *config); /* L + 2 */

#endif
