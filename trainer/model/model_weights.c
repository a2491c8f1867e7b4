/* Weights under any of their names, in one file or several. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "trainer/model/model_aliases.h"
#include "trainer/model/model_files.h"
#include "trainer/model/model_shards.h"

/* As much of a list of names as an error message has room for. */
enum { LIST_BYTES = 560 };

struct name_list {
    char text[LIST_BYTES];
    size_t used;
    int64_t count, left_out;
};

static void add_name(struct name_list *list, const char *name)
{
    const size_t length = strlen(name) + (list->count > 0 ? 2 : 0);

    if (list->left_out > 0 || list->used + length >= sizeof(list->text)) {
        list->left_out++;
    } else {
        list->used += (size_t)snprintf(list->text + list->used, sizeof(list->text) - list->used,
                                       "%s%s", list->count > 0 ? ", " : "", name);
    }
    list->count++;
}

/* " and 12 more", or nothing. */
static const char *rest_of(const struct name_list *list, char text[32])
{
    text[0] = '\0';
    if (list->left_out > 0) {
        snprintf(text, 32, " and %" PRId64 " more", list->left_out);
    }
    return text;
}

/* What is told of an import, line by line. */
struct notes {
    char *text; /* NULL: nothing yet */
    bool ran_out;
};

static void __attribute__((format(printf, 2, 3)))
add_note(struct notes *notes, const char *format, ...)
{
    char line[2 * LIST_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    const size_t before = notes->text == NULL ? 0 : strlen(notes->text);
    char *text = realloc(notes->text, before + strlen(line) + 2);
    if (text == NULL) {
        notes->ran_out = true;
        return;
    }
    snprintf(text + before, strlen(line) + 2, "%s%s", before > 0 ? "\n" : "", line);
    notes->text = text;
}

struct import {
    const struct model_config *config;
    const struct param_list *list;
    float *values; /* of the block, on the host */
    uint64_t seed;
    struct model_shards *shards;
    struct name_list missing;
    struct notes notes;
};

/* What a file's tensor must be like to hold `param` in that form. */
static struct safetensors_tensor wanted_of(const struct param *param, struct model_form form)
{
    struct safetensors_tensor wanted = {.rank = param->rank};

    memcpy(wanted.shape, param->shape, sizeof(param->shape));
    wanted.shape[0] *= form.parts;
    if (form.is_turned) {
        wanted.shape[0] = param->shape[1];
        wanted.shape[1] = param->shape[0] * form.parts;
    }
    return wanted;
}

static bool has_shape(const struct safetensors_tensor *tensor,
                      const struct safetensors_tensor *wanted)
{
    return tensor->rank == wanted->rank &&
           memcmp(tensor->shape, wanted->shape, (size_t)wanted->rank * sizeof(int64_t)) == 0;
}

static bool has_type(const struct safetensors_tensor *tensor)
{
    return tensor->dtype == SAFETENSORS_F32 || tensor->dtype == SAFETENSORS_F16 ||
           tensor->dtype == SAFETENSORS_BF16;
}

static float from_half(uint16_t bits)
{
    enum { MANTISSA_BITS = 10, EXPONENT_MAX = 31, BIAS = 15 };
    const int exponent = bits >> MANTISSA_BITS & EXPONENT_MAX;
    const int mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;

    if (exponent == EXPONENT_MAX) {
        return mantissa == 0 ? sign * INFINITY : NAN;
    }
    if (exponent == 0) {
        return sign * ldexpf((float)mantissa, 1 - BIAS - MANTISSA_BITS);
    }
    return sign * ldexpf((float)(mantissa + (1 << MANTISSA_BITS)), exponent - BIAS - MANTISSA_BITS);
}

static float element(const struct safetensors_tensor *tensor, int64_t at)
{
    const unsigned char *const bytes = tensor->bytes;
    uint16_t half = 0;
    uint32_t whole = 0;
    float value = 0;

    if (tensor->dtype == SAFETENSORS_F32) {
        memcpy(&value, bytes + at * (int64_t)sizeof(value), sizeof(value));
        return value;
    }
    memcpy(&half, bytes + at * (int64_t)sizeof(half), sizeof(half));
    if (tensor->dtype == SAFETENSORS_F16) {
        return from_half(half);
    }
    whole = (uint32_t)half << 16;
    memcpy(&value, &whole, sizeof(value));
    return value;
}

static enum err copy_values(const struct param *param, struct model_form form,
                            const struct safetensors_tensor *tensor, const char *path, float *to)
{
    const int64_t rows = param->shape[0], columns = param->count / rows;
    const int64_t first = form.part * rows, all = form.parts * rows;

    for (int64_t i = 0; i < param->count; i++) {
        const int64_t row = first + i / columns, column = i % columns;
        to[i] = element(tensor, form.is_turned ? column * all + row : row * columns + column);
        if (!isfinite(to[i])) {
            return ERR_FAIL(ERR_CORRUPT, "%s: tensor %s holds %g at element %" PRId64, path,
                            tensor->name, (double)to[i],
                            form.is_turned ? column * all + row : row * columns + column);
        }
    }
    return ERR_OK;
}

static bool is_of_classifier(enum model_tensor tensor)
{
    return tensor == MODEL_class_weight || tensor == MODEL_class_bias;
}

/* The first of the tensor's names that is there; *entry_out is NULL if none is. */
static void find_tensor(struct import *import, enum model_tensor kind, int64_t layer,
                        const struct param *param, struct model_alias *alias,
                        struct model_shard_entry **entry_out)
{
    *entry_out = NULL;
    for (int which = 0; *entry_out == NULL &&
                        model_alias_at(import->config, kind, layer, param->name, which, alias);
         which++) {
        *entry_out = model_shards_find(import->shards, alias->name);
    }
}

/* The classifier's, anew. */
static void draw(struct import *import, int64_t index)
{
    param_list_init_one(import->list, index, import->values, import->config->initializer_range,
                        import->seed, 0);
}

static enum err import_tensor(struct import *import, enum model_tensor kind, int64_t layer)
{
    const int64_t index = model_tensor_index(import->config, kind, layer);
    const struct param *param = &import->list->params[index];
    struct model_alias alias;
    struct model_shard_entry *entry = NULL;
    char found[96];
    char expected[96];

    find_tensor(import, kind, layer, param, &alias, &entry);
    if (entry == NULL && is_of_classifier(kind)) {
        add_note(&import->notes, "%s: there is no %s: it is initialised anew",
                 model_shards_path(import->shards), param->name);
        draw(import, index);
        return ERR_OK;
    }
    if (entry == NULL) {
        add_name(&import->missing, param->name);
        return ERR_OK;
    }
    const struct safetensors_tensor wanted = wanted_of(param, alias.form);
    const bool fits = has_shape(entry->tensor, &wanted);
    entry->is_used = true;
    safetensors_shape_text(entry->tensor, found, sizeof(found));
    safetensors_shape_text(&wanted, expected, sizeof(expected));
    if (!fits && is_of_classifier(kind)) {
        add_note(&import->notes,
                 "%s: %s is %s, of other classes than the %s asked for: it is "
                 "initialised anew",
                 entry->path, alias.name, found, expected);
        draw(import, index);
        return ERR_OK;
    }
    if (!fits || !has_type(entry->tensor)) {
        return ERR_FAIL(
            ERR_CORRUPT, "%s: tensor %s is %s %s, the configuration asks for F32, F16 or BF16 %s",
            entry->path, alias.name, safetensors_dtype_name(entry->tensor->dtype), found, expected);
    }
    return copy_values(param, alias.form, entry->tensor, entry->path,
                       import->values + param->offset);
}

static enum err refuse_missing(const struct import *import)
{
    const struct name_list *missing = &import->missing;
    const char *path = model_shards_path(import->shards);
    char rest[32];

    if (missing->count == 1) {
        return ERR_FAIL(ERR_CORRUPT, "%s: tensor %s is missing", path, missing->text);
    }
    return ERR_FAIL(ERR_CORRUPT, "%s: %" PRId64 " tensors are missing: %s%s", path, missing->count,
                    missing->text, rest_of(missing, rest));
}

static enum err import_all(struct import *import)
{
    const struct model_config *config = import->config;

    for (int t = 0; t < MODEL_TENSOR_KINDS; t++) {
        const enum model_tensor kind = (enum model_tensor)t;
        if (!model_has_tensor(config, kind)) {
            continue;
        }
        const bool is_of_layers = kind >= MODEL_norm1_gain && kind <= MODEL_down_bias;
        const int64_t layers = is_of_layers ? config->num_hidden_layers : 1;
        for (int64_t layer = 0; layer < layers; layer++) {
            ERR_TRY(import_tensor(import, kind, layer));
        }
    }
    if (import->missing.count == 0) {
        return ERR_OK;
    }
    return refuse_missing(import);
}

/* Of tensors in the file that belong to nothing here. */
static void tell_unused(struct import *import)
{
    struct name_list unused = {.count = 0};
    char rest[32];

    for (size_t i = 0; i < model_shards_count(import->shards); i++) {
        const struct model_shard_entry *entry = model_shards_at(import->shards, i);
        if (!entry->is_used && !model_alias_is_constant(import->config, entry->tensor->name)) {
            add_name(&unused, entry->tensor->name);
        }
    }
    if (unused.count > 0) {
        add_note(&import->notes, "%s: not used: %s%s", model_shards_path(import->shards),
                 unused.text, rest_of(&unused, rest));
    }
}

enum err model_files_import_weights(struct model *model, const char *folder, uint64_t seed,
                                    char **notes_out)
{
    const struct param_list *list = model_params(model);
    struct import import = {.config = model_config_of(model), .list = list, .seed = seed};
    struct device_view view;

    *notes_out = NULL;
    ERR_TRY(model_shards_open(folder, &import.shards));
    enum err status = device_view_open(model_ops(model)->device, model_block(model),
                                       (size_t)list->block_elems * sizeof(float), &view);
    if (status == ERR_OK) {
        import.values = view.host;
        status = import_all(&import);
        const enum err closed = device_view_close(&view, status == ERR_OK);
        status = status == ERR_OK ? closed : status;
    }
    if (status == ERR_OK) {
        tell_unused(&import);
    }
    model_shards_close(import.shards);
    if (status == ERR_OK && import.notes.ran_out) {
        status = ERR_FAIL(ERR_NO_MEMORY, "what is told of %s", folder);
    }
    if (status != ERR_OK) {
        free(import.notes.text);
        return status;
    }
    *notes_out = import.notes.text;
    return ERR_OK;
}
