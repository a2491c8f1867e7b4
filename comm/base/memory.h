/*
 * comm/base/memory.h - the large blocks of a run: allocated once, touched once.
 *
 * First touch of a page costs ten times a copy of it, so a block is zeroed when
 * it is made and never returned in a step. It is aligned to 2 MiB and advised to
 * use huge pages, which the compute kernels' strides profit from.
 *
 * Threads: any.
 */
#ifndef COMM_BASE_MEMORY_H
#define COMM_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

/*
 * A zeroed block of `bytes` >= 0; `what` names it in the error. The caller owns
 * *block_out and ends it with memory_close(). Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err memory_open(size_t bytes, const char *what, void **block_out);

/* The same for `count` floats. Errors: ERR_NO_MEMORY, also if the size overflows. */
ERR_MUST_CHECK enum err memory_open_f32(int64_t count, const char *what, float **block_out);

/* Frees a block. NULL is allowed. */
void memory_close(void *block);

/* The highest resident size this process has had, in bytes. */
int64_t memory_peak_bytes(void);

#endif
