#include "trainer/model/param_list.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/rng.h"
#include "comm/base/safetensors.h"

enum err param_list_add(struct param_list *list, const struct param *param)
{
    enum { FIRST_CAPACITY = 32 };
    struct param added = *param;

    if (list->count == list->capacity) {
        const int64_t capacity = list->capacity == 0 ? FIRST_CAPACITY : 2 * list->capacity;
        struct param *params = realloc(list->params, (size_t)capacity * sizeof(*params));
        if (params == NULL) {
            return ERR_FAIL(ERR_NO_MEMORY, "a list of %" PRId64 " tensors", capacity);
        }
        list->params = params;
        list->capacity = capacity;
    }
    added.count = 1;
    for (int d = 0; d < added.rank; d++) {
        if (added.shape[d] < 1 ||
            __builtin_mul_overflow(added.count, added.shape[d], &added.count)) {
            return ERR_FAIL(ERR_CONFIG, "tensor %s: dimension %d is %" PRId64, added.name, d,
                            added.shape[d]);
        }
    }
    const struct param *last = list->count > 0 ? &list->params[list->count - 1] : NULL;
    assert(!added.joined || last != NULL);
    assert(last == NULL || added.part >= last->part);
    added.offset = added.joined && last != NULL ? last->offset + last->count : list->block_elems;
    int64_t end = 0;
    if (__builtin_add_overflow(added.offset, added.count, &end) ||
        __builtin_add_overflow(end, PARAM_ALIGN_ELEMS - 1, &end)) {
        return ERR_FAIL(ERR_CONFIG, "tensor %s: the block is too large", added.name);
    }
    list->block_elems = end - end % PARAM_ALIGN_ELEMS;
    list->params[list->count++] = added;
    return ERR_OK;
}

void param_list_close(struct param_list *list)
{
    free(list->params);
    *list = (struct param_list){0};
}

void param_list_part(const struct param_list *list, int part, int64_t *begin_out, int64_t *end_out)
{
    int64_t i = 0;

    while (i < list->count && list->params[i].part < part) {
        i++;
    }
    *begin_out = i < list->count ? list->params[i].offset : list->block_elems;
    while (i < list->count && list->params[i].part == part) {
        i++;
    }
    *end_out = i < list->count ? list->params[i].offset : list->block_elems;
}

/* Draws again beyond two standard deviations; the 64th draw is taken as it is. */
static double truncated_normal(uint64_t seed, uint64_t index, uint32_t sub)
{
    enum { TRIES = 64, TRY_SHIFT = 48 };
    double x = 0;

    for (uint64_t attempt = 0; attempt < TRIES; attempt++) {
        x = rng_normal(seed, RNG_INIT, index | attempt << TRY_SHIFT, sub);
        if (fabs(x) <= 2) {
            break;
        }
    }
    return x;
}

void param_list_init_one(const struct param_list *list, int64_t index, float *block, double std,
                         uint64_t seed, uint32_t salt)
{
    const struct param *param = &list->params[index];
    const uint32_t sub = salt << 20 | (uint32_t)index;
    float *const to = block + param->offset;
    const double fan_out = (double)param->shape[0];
    const double bound = sqrt(6.0 / (fan_out + (double)param->count / fan_out));

    for (int64_t i = 0; i < param->count; i++) {
        switch (param->init) {
        case PARAM_NORMAL: to[i] = (float)(std * truncated_normal(seed, (uint64_t)i, sub)); break;
        case PARAM_XAVIER:
            to[i] = (float)(bound * (2 * rng_uniform(seed, RNG_INIT, (uint64_t)i, sub) - 1));
            break;
        case PARAM_ZERO: to[i] = 0; break;
        case PARAM_ONE: to[i] = 1; break;
        }
    }
}

void param_list_init(const struct param_list *list, float *block, double std, uint64_t seed,
                     uint32_t salt)
{
    memset(block, 0, (size_t)list->block_elems * sizeof(float));
    for (int64_t t = 0; t < list->count; t++) {
        param_list_init_one(list, t, block, std, seed, salt);
    }
}

void param_list_tensors(const struct param_list *list, const float *block,
                        struct safetensors_tensor tensors_out[])
{
    for (int64_t t = 0; t < list->count; t++) {
        const struct param *param = &list->params[t];
        tensors_out[t] = (struct safetensors_tensor){
            .name = param->name,
            .dtype = SAFETENSORS_F32,
            .rank = param->rank,
            .bytes = block + param->offset,
            .byte_count = (size_t)param->count * sizeof(float),
        };
        memcpy(tensors_out[t].shape, param->shape, sizeof(param->shape));
    }
}

static bool fits(const struct param *param, const struct safetensors_tensor *tensor)
{
    return tensor->dtype == SAFETENSORS_F32 && tensor->rank == param->rank &&
           memcmp(tensor->shape, param->shape, (size_t)param->rank * sizeof(int64_t)) == 0;
}

static enum err load_one(const struct param *param, const struct safetensors *file,
                         const char *path, float *to)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, param->name);
    char found[96];
    char expected[96];

    if (tensor == NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: tensor %s is missing", path, param->name);
    }
    if (!fits(param, tensor)) {
        struct safetensors_tensor wanted = {.rank = param->rank};
        memcpy(wanted.shape, param->shape, sizeof(param->shape));
        safetensors_shape_text(tensor, found, sizeof(found));
        safetensors_shape_text(&wanted, expected, sizeof(expected));
        return ERR_FAIL(ERR_CORRUPT, "%s: tensor %s is %s %s, the configuration asks for F32 %s",
                        path, param->name, safetensors_dtype_name(tensor->dtype), found, expected);
    }
    if (tensor->bytes == NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: tensor %s is cut off: the file ends before it does", path,
                        param->name);
    }
    memcpy(to, tensor->bytes, tensor->byte_count);
    for (int64_t i = 0; i < param->count; i++) {
        if (!isfinite(to[i])) {
            return ERR_FAIL(ERR_CORRUPT, "%s: tensor %s holds %g at element %" PRId64, path,
                            param->name, (double)to[i], i);
        }
    }
    return ERR_OK;
}

static enum err refuse_strangers(const struct param_list *list, const struct safetensors *file,
                                 const char *path)
{
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const char *name = safetensors_at(file, i)->name;
        bool known = false;
        for (int64_t t = 0; t < list->count && !known; t++) {
            known = strcmp(name, list->params[t].name) == 0;
        }
        if (!known) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: tensor %s is not one of the %" PRId64
                            " that the configuration describes",
                            path, name, list->count);
        }
    }
    return ERR_OK;
}

/* The first `count` tensors; the rest of the block is zero. */
static enum err load_first(const struct param_list *list, int64_t count,
                           const struct safetensors *file, const char *path, struct device *device,
                           float *block)
{
    const size_t bytes = (size_t)list->block_elems * sizeof(float);
    struct device_view view;

    enum err status = device_view_open(device, block, bytes, &view);
    ERR_TRY(status);
    float *values = view.host;
    memset(values, 0, bytes);
    for (int64_t t = 0; t < count && status == ERR_OK; t++) {
        status = load_one(&list->params[t], file, path, values + list->params[t].offset);
    }
    const enum err closed = device_view_close(&view, status == ERR_OK);
    return status == ERR_OK ? closed : status;
}

enum err param_list_load(const struct param_list *list, struct device *device, float *block,
                         const char *path)
{
    struct safetensors *file = NULL;

    ERR_TRY(safetensors_open(path, &file));
    enum err status = load_first(list, list->count, file, path, device, block);
    if (status == ERR_OK) {
        status = refuse_strangers(list, file, path);
    }
    safetensors_close(file);
    return status;
}

enum err param_list_load_parts(const struct param_list *list, int part_end, struct device *device,
                               float *block, const char *path)
{
    struct safetensors *file = NULL;
    int64_t count = 0;

    while (count < list->count && list->params[count].part < part_end) {
        count++; /* parts never fall along the list */
    }
    ERR_TRY(safetensors_open_cut(path, &file));
    const enum err status = load_first(list, count, file, path, device, block);
    safetensors_close(file);
    return status;
}
