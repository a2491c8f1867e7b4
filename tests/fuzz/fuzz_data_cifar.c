/*
 * Fuzz target: data_cifar_count() and data_cifar_unpack() on arbitrary bytes, as CIFAR-10
 * and as CIFAR-100.
 *
 * Property: it either refuses, or the records put together again from the images and
 * labels it gave are the very same bytes, but for the coarse label.
 */
#include <stdlib.h>
#include <string.h>

#include "data/data_cifar.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void unpack(const uint8_t *bytes, size_t count, int label_bytes)
{
    int64_t record_count = 0;

    if (data_cifar_count(count, label_bytes, "input", &record_count) != ERR_OK) {
        err_clear();
        return;
    }
    uint8_t *images = malloc((size_t)record_count * DATA_CIFAR_PIXELS);
    int32_t *labels = malloc((size_t)record_count * sizeof(*labels));
    const uint8_t *at = bytes;
    if (images == NULL || labels == NULL) {
        abort();
    }
    data_cifar_unpack(bytes, record_count, label_bytes, images, labels);
    for (int64_t i = 0; i < record_count; i++) {
        at += label_bytes;
        if (labels[i] != at[-1] ||
            memcmp(images + i * DATA_CIFAR_PIXELS, at, DATA_CIFAR_PIXELS) != 0) {
            abort();
        }
        at += DATA_CIFAR_PIXELS;
    }
    if (at != bytes + count) {
        abort();
    }
    free(images);
    free(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    unpack(bytes, count, 1);
    unpack(bytes, count, 2);
    return 0;
}
