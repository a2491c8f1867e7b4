#include "data/data_cifar.h"

#include <assert.h>
#include <string.h>

enum err data_cifar_count(size_t count, int label_bytes, const char *what,
                          int64_t *record_count_out)
{
    assert(label_bytes == 1 || label_bytes == 2);
    assert(what != NULL && record_count_out != NULL);
    const size_t record_bytes = (size_t)label_bytes + DATA_CIFAR_PIXELS;

    if (count == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: empty, expected at least one record of %zu bytes", what,
                        record_bytes);
    }
    if (count % record_bytes != 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: %zu bytes, expected whole records of %zu: truncated, or %zu trailing "
                        "bytes",
                        what, count, record_bytes, count % record_bytes);
    }
    *record_count_out = (int64_t)(count / record_bytes);
    return ERR_OK;
}

void data_cifar_unpack(const uint8_t *bytes, int64_t record_count, int label_bytes,
                       uint8_t *images_out, int32_t *labels_out)
{
    assert(bytes != NULL && images_out != NULL && labels_out != NULL);
    for (int64_t i = 0; i < record_count; i++) {
        const uint8_t *record = bytes + i * (label_bytes + DATA_CIFAR_PIXELS);
        labels_out[i] = record[label_bytes - 1];
        memcpy(images_out + i * DATA_CIFAR_PIXELS, record + label_bytes, DATA_CIFAR_PIXELS);
    }
}
