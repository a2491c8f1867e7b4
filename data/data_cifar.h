/*
 * data/data_cifar.h - the binary version of CIFAR-10 and CIFAR-100.
 *
 * A file is a row of records without a header. A record of CIFAR-10 is 3073 bytes,
 * one of CIFAR-100 3074:
 *
 *      CIFAR-10           label   3072 pixels
 *      CIFAR-100  coarse  fine    3072 pixels: 1024 red, 1024 green, 1024 blue, by rows of 32
 *
 * Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
 * 2009, and the page the files come from, section "Binary version". The label of
 * CIFAR-100 is the fine one; the coarse one is not used.
 *
 * Threads: any. Memory: none.
 */
#ifndef DATA_DATA_CIFAR_H
#define DATA_DATA_CIFAR_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"

enum {
    DATA_CIFAR_CHANNELS = 3,
    DATA_CIFAR_SIDE = 32,
    DATA_CIFAR_PIXELS = DATA_CIFAR_CHANNELS * DATA_CIFAR_SIDE * DATA_CIFAR_SIDE,
};

/*
 * The records in a file of `count` bytes, of which `label_bytes` (1: CIFAR-10,
 * 2: CIFAR-100) precede the pixels of each; at least one. `what` names the file in
 * errors. Errors: ERR_CORRUPT if it is empty or its last record is not whole.
 */
ERR_MUST_CHECK enum err data_cifar_count(size_t count, int label_bytes, const char *what,
                                         int64_t *record_count_out);

/*
 * Takes the records apart. Cannot fail; labels are not checked.
 *
 * bytes   [record_count, label_bytes + 3072]
 * images  [record_count, 3, 32, 32]
 * labels  [record_count]  0..255
 */
void data_cifar_unpack(const uint8_t *bytes, int64_t record_count, int label_bytes,
                       uint8_t *images_out, int32_t *labels_out);

#endif
