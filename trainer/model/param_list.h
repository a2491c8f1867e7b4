/*
 * trainer/model/param_list.h - named tensors in one block of floats, and their files.
 *
 * A backbone has such a list (model_tensors.h), and so have the exits. The block itself
 * is not part of the list: parameters, gradients and moments are blocks of one layout.
 *
 * Threads: read-only once it is filled.
 */
#ifndef TRAINER_MODEL_PARAM_LIST_H
#define TRAINER_MODEL_PARAM_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/safetensors.h"
#include "comm/device/device.h"

enum { PARAM_NAME_BYTES = 112, PARAM_RANK_MAX = 4, PARAM_ALIGN_ELEMS = 64 /* 256 bytes */ };

enum param_init { PARAM_NORMAL, PARAM_XAVIER, PARAM_ZERO, PARAM_ONE };

struct param {
    char name[PARAM_NAME_BYTES];
    int rank; /* 1 .. PARAM_RANK_MAX */
    int64_t shape[PARAM_RANK_MAX];
    int64_t offset; /* elements from the start of the block */
    int64_t count;  /* elements */
    int part;       /* which bucket of gradients it belongs to; never falls along the list */
    int group;      /* which learning rate it follows: the owner's numbering */
    bool decays;
    enum param_init init;
    bool joined; /* follows its predecessor without a gap */
};

struct param_list {
    struct param *params;
    int64_t count, capacity;
    int64_t block_elems; /* a multiple of PARAM_ALIGN_ELEMS */
};

/*
 * Appends `param`: takes everything but offset and count from it, computes those.
 * Errors: ERR_NO_MEMORY; ERR_CONFIG if a dimension is < 1 or the block overflows.
 */
ERR_MUST_CHECK enum err param_list_add(struct param_list *list, const struct param *param);

void param_list_close(struct param_list *list); /* an empty list is allowed */

/* The elements [*begin_out, *end_out) of a part, gaps included; empty if there is no such part. */
void param_list_part(const struct param_list *list, int part, int64_t *begin_out, int64_t *end_out);

/*
 * Initial values of all tensors, gaps zero. NORMAL: truncated at two standard
 * deviations; XAVIER: uniform, X. Glorot and Y. Bengio, 2010, equation 16, with the
 * first dimension as fan-out and the rest as fan-in. A function of (seed, salt, list).
 *
 * block [block_elems] out; `salt` tells one block's numbers from another's.
 */
void param_list_init(const struct param_list *list, float *block, double std, uint64_t seed,
                     uint32_t salt);

/* The same of tensor `index` alone. */
void param_list_init_one(const struct param_list *list, int64_t index, float *block, double std,
                         uint64_t seed, uint32_t salt);

/* A block as the tensors of a file: tensors_out [list->count], which lend the block. */
void param_list_tensors(const struct param_list *list, const float *block,
                        struct safetensors_tensor tensors_out[]);

/*
 * Reads a block of the device's memory from a safetensors file, in which every tensor must be there, in F32, of
 * the right shape and finite, and none besides.
 *
 * Errors: ERR_MISSING, ERR_IO, ERR_CORRUPT naming the first tensor that is missing, unknown, of
 * another shape or type, or holds NaN or infinity; `block` is then undefined; those of device_view_open().
 */
ERR_MUST_CHECK enum err param_list_load(const struct param_list *list, struct device *device,
                                        float *block, const char *path);

/*
 * The same of the tensors of parts below `part_end` alone; the rest of the block is zero. Nothing else of the
 * file is read: there it may be damaged or cut off, and hold other tensors.
 */
ERR_MUST_CHECK enum err param_list_load_parts(const struct param_list *list, int part_end,
                                              struct device *device, float *block,
                                              const char *path);

#endif
