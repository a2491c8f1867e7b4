/*
 * Fuzz target: safetensors_parse() on arbitrary bytes.
 *
 * Property: it either refuses, or the tensors it gave, written again by safetensors_write()
 * and read back, are the same tensors, all of them inside the input.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "comm/base/safetensors.h"
#include "tests/support/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void check_inside(const struct safetensors_tensor *tensor, const uint8_t *bytes,
                         size_t count)
{
    const uint8_t *const begin = tensor->bytes;
    char text[256];

    if (begin < bytes || tensor->byte_count > (size_t)(bytes + count - begin)) {
        abort();
    }
    safetensors_shape_text(tensor, text, sizeof(text));
}

static void check_same(const struct safetensors_tensor *a, const struct safetensors_tensor *b)
{
    if (b == NULL || a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->shape, b->shape, (size_t)a->rank * sizeof(a->shape[0])) != 0 ||
        a->byte_count != b->byte_count || memcmp(a->bytes, b->bytes, a->byte_count) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct safetensors *first = NULL, *second = NULL;
    char path[FILE_PATH_BYTES_MAX];

    if (safetensors_parse(bytes, count, "input", &first) != ERR_OK) {
        err_clear();
        return 0;
    }
    const size_t tensor_count = safetensors_count(first);
    struct safetensors_tensor *tensors = calloc(tensor_count + 1, sizeof(*tensors));
    if (tensors == NULL) {
        abort();
    }
    for (size_t i = 0; i < tensor_count; i++) {
        tensors[i] = *safetensors_at(first, i);
        check_inside(&tensors[i], bytes, count);
    }
    const char *const format = safetensors_metadata(first, "format");
    fuzz_folder_path(path, "tensors");
    if (safetensors_write(path, tensors, tensor_count, format == NULL ? NULL : "format", format) !=
            ERR_OK ||
        safetensors_open(path, &second) != ERR_OK || safetensors_count(second) != tensor_count) {
        abort();
    }
    for (size_t i = 0; i < tensor_count; i++) {
        check_same(&tensors[i], safetensors_find(second, tensors[i].name));
    }
    const char *const format_again = safetensors_metadata(second, "format");
    if ((format == NULL) != (format_again == NULL) ||
        (format != NULL && strcmp(format, format_again) != 0)) {
        abort();
    }
    safetensors_close(second);
    free(tensors);
    safetensors_close(first);
    return 0;
}
