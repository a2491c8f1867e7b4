/*
 * comm/base/safetensors.h - the safetensors file format, read and written.
 *
 *      8 bytes   N, little-endian
 *      N bytes   JSON: name -> {"dtype", "shape", "data_offsets": [begin, end)}, and
 *                optionally "__metadata__": string -> string; begins with '{', may end in spaces
 *      the rest  the tensors' bytes, row-major, little-endian; offsets count from here
 *
 * A file is accepted if and only if: 2 <= N <= 100,000,000 and N + 8 <= file size; no
 * key occurs twice; the known keys are there and no others; the product of a shape and
 * its size in bytes do not overflow; end - begin is exactly that size; sorted by offset,
 * the tensors cover the buffer from 0 to its end without hole or overlap. These are the
 * rules of the reference reader (huggingface/safetensors), to which this one adds that a
 * shape has at most SAFETENSORS_RANK_MAX dimensions. Values are not looked at here.
 *
 * Threads: an open file is read-only; any thread may read it.
 */
#ifndef COMM_BASE_SAFETENSORS_H
#define COMM_BASE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum { SAFETENSORS_RANK_MAX = 8 };

/* In the order the reference writer puts them in a file. Sub-byte types are refused. */
enum safetensors_dtype {
    SAFETENSORS_U64,
    SAFETENSORS_I64,
    SAFETENSORS_F64,
    SAFETENSORS_C64,
    SAFETENSORS_F32,
    SAFETENSORS_U32,
    SAFETENSORS_I32,
    SAFETENSORS_BF16,
    SAFETENSORS_F16,
    SAFETENSORS_U16,
    SAFETENSORS_I16,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_I8,
    SAFETENSORS_U8,
    SAFETENSORS_BOOL,
    SAFETENSORS_DTYPE_COUNT,
};

struct safetensors_tensor {
    const char *name;
    enum safetensors_dtype dtype;
    int rank;                            /* 0 (a scalar) .. SAFETENSORS_RANK_MAX */
    int64_t shape[SAFETENSORS_RANK_MAX]; /* 0 is legal, and then there are no bytes */
    const void *bytes;                   /* byte_count bytes; not aligned in a file */
    size_t byte_count;
};

struct safetensors;

/*
 * Maps and checks a file. End it with safetensors_close().
 * Errors: ERR_MISSING, ERR_IO; ERR_CORRUPT with the rule that was broken and the tensor.
 */
ERR_MUST_CHECK enum err safetensors_open(const char *path, struct safetensors **file_out);

/*
 * The same of a file that may end early: tensors that it does not hold to their end have `bytes` NULL, and
 * neither hole nor overlap is looked for. For who needs a part of a file that lost the rest.
 */
ERR_MUST_CHECK enum err safetensors_open_cut(const char *path, struct safetensors **file_out);

/* The same on bytes in memory, which the caller keeps until the close; `what` names them. */
ERR_MUST_CHECK enum err safetensors_parse(const uint8_t *bytes, size_t count, const char *what,
                                          struct safetensors **file_out);

void safetensors_close(struct safetensors *file); /* NULL is allowed */

size_t safetensors_count(const struct safetensors *file);
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index);
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);
const char *safetensors_metadata(const struct safetensors *file, const char *key); /* or NULL */

const char *safetensors_dtype_name(enum safetensors_dtype dtype); /* "F32" */

/* "[10, 128]" into `text`. */
void safetensors_shape_text(const struct safetensors_tensor *tensor, char *text, size_t text_bytes);

/*
 * The head of a file as the reference writer makes it, all that stands before the tensors' bytes:
 * tensors ordered by dtype, widest first, then by name; header padded with spaces to a multiple
 * of 8. Sorts `tensors` [count] into that order, in which their bytes must follow.
 *
 * tensors   names unique; `bytes` is not looked at
 * metadata  one key and its value ("format", "pt" is what Hugging Face writes); key NULL: none
 *
 * *head_out is the caller's to free(). Errors: ERR_NO_MEMORY; ERR_INVALID for a name that is not
 * UTF-8.
 */
ERR_MUST_CHECK enum err safetensors_head(struct safetensors_tensor tensors[], size_t count,
                                         const char *metadata_key, const char *metadata_value,
                                         uint8_t **head_out, size_t *head_bytes_out);

/*
 * Writes such a file, through a temporary one and a rename, so that a reader who has the old file
 * mapped keeps it; the order of `tensors` does not matter. Errors: those, and ERR_IO.
 */
ERR_MUST_CHECK enum err safetensors_write(const char *path,
                                          const struct safetensors_tensor *tensors, size_t count,
                                          const char *metadata_key, const char *metadata_value);

#endif
