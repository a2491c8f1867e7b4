#include "trainer/model/model_aliases.h"

#include <stdio.h>
#include <string.h>

#define VIT MODEL_FAMILY_VIT
#define BERT MODEL_FAMILY_BERT
#define GPT2 MODEL_FAMILY_GPT2

#define WHOLE                                                                                      \
    {                                                                                              \
        1, 0, false                                                                                \
    }
#define THIRD_0                                                                                    \
    {                                                                                              \
        3, 0, false                                                                                \
    }
#define THIRD_1                                                                                    \
    {                                                                                              \
        3, 1, false                                                                                \
    }
#define THIRD_2                                                                                    \
    {                                                                                              \
        3, 2, false                                                                                \
    }
#define TURNED                                                                                     \
    {                                                                                              \
        1, 0, true                                                                                 \
    }
#define TURNED_THIRD_0                                                                             \
    {                                                                                              \
        3, 0, true                                                                                 \
    }
#define TURNED_THIRD_1                                                                             \
    {                                                                                              \
        3, 1, true                                                                                 \
    }
#define TURNED_THIRD_2                                                                             \
    {                                                                                              \
        3, 2, true                                                                                 \
    }

static const struct prefix {
    enum model_family family;
    const char *text;
} prefixes[] = {
#define PREFIX(family, text) {family, text},
#define ALIAS(...)
#define CONSTANT(...)
#include "trainer/model/model_aliases.def"
#undef PREFIX
#undef ALIAS
#undef CONSTANT
};

static const struct alias {
    enum model_family family;
    enum model_tensor tensor;
    struct model_form form;
    const char *name;
} aliases[] = {
#define PREFIX(...)
#define ALIAS(family, tensor, form, name) {family, MODEL_##tensor, form, name},
#define CONSTANT(...)
#include "trainer/model/model_aliases.def"
#undef PREFIX
#undef ALIAS
#undef CONSTANT
};

static const struct constant {
    enum model_family family;
    const char *name;
} constants[] = {
#define PREFIX(...)
#define ALIAS(...)
#define CONSTANT(family, name) {family, name},
#include "trainer/model/model_aliases.def"
#undef PREFIX
#undef ALIAS
#undef CONSTANT
};

enum {
    PREFIXES = sizeof(prefixes) / sizeof(prefixes[0]),
    ALIASES = sizeof(aliases) / sizeof(aliases[0]),
    CONSTANTS = sizeof(constants) / sizeof(constants[0]),
};

/* A name behind the prefix of its family that it begins with. */
static const char *behind_prefix(enum model_family family, const char *name)
{
    for (int p = 0; p < PREFIXES; p++) {
        const size_t length = strlen(prefixes[p].text);
        if (prefixes[p].family == family && strncmp(name, prefixes[p].text, length) == 0) {
            return name + length;
        }
    }
    return name;
}

/* The `which`-th of the prefixes, followed by `rest` with the layer's number; false: none is left. */
static bool with_prefix(enum model_family family, int *which, const char *rest, int64_t layer,
                        char name[PARAM_NAME_BYTES])
{
    char pattern[PARAM_NAME_BYTES];

    for (int p = 0; p < PREFIXES; p++) {
        if (prefixes[p].family == family && (*which)-- == 0) {
            snprintf(pattern, sizeof(pattern), "%s%s", prefixes[p].text, rest);
            model_tensor_name(name, pattern, layer);
            return true;
        }
    }
    return false;
}

bool model_alias_at(const struct model_config *config, enum model_tensor tensor, int64_t layer,
                    const char *own, int which, struct model_alias *alias_out)
{
    const enum model_family family = model_config_family(config);

    *alias_out = (struct model_alias){.form = WHOLE};
    if (which == 0) {
        snprintf(alias_out->name, sizeof(alias_out->name), "%s", own);
        return true;
    }
    which--;
    if (with_prefix(family, &which, behind_prefix(family, own), layer, alias_out->name)) {
        return true;
    }
    for (int a = 0; a < ALIASES; a++) {
        if (aliases[a].family == family && aliases[a].tensor == tensor) {
            alias_out->form = aliases[a].form;
            if (with_prefix(family, &which, aliases[a].name, layer, alias_out->name)) {
                return true;
            }
        }
    }
    return false;
}

void model_alias_saved(const struct model_config *config, enum model_tensor tensor, int64_t layer,
                       const char *own, struct model_alias *alias_out)
{
    const enum model_family family = model_config_family(config);
    int first = 0;

    *alias_out = (struct model_alias){.form = WHOLE};
    snprintf(alias_out->name, sizeof(alias_out->name), "%s", own);
    for (int a = 0; a < ALIASES && family == GPT2; a++) {
        if (aliases[a].family == family && aliases[a].tensor == tensor) {
            alias_out->form = aliases[a].form;
            (void)with_prefix(family, &first, aliases[a].name, layer, alias_out->name);
            return;
        }
    }
}

/* Whether `name` is `pattern` with any number for its %d. */
static bool is_of_pattern(const char *name, const char *pattern)
{
    const char *const number = strstr(pattern, "%d");

    if (number == NULL) {
        return strcmp(name, pattern) == 0;
    }
    const size_t before = (size_t)(number - pattern);
    if (strncmp(name, pattern, before) != 0) {
        return false;
    }
    const size_t digits = strspn(name + before, "0123456789");
    return digits > 0 && strcmp(name + before + digits, number + 2) == 0;
}

bool model_alias_is_constant(const struct model_config *config, const char *name)
{
    const enum model_family family = model_config_family(config);
    const char *const rest = behind_prefix(family, name);

    for (int c = 0; c < CONSTANTS; c++) {
        if (constants[c].family == family && is_of_pattern(rest, constants[c].name)) {
            return true;
        }
    }
    return false;
}
