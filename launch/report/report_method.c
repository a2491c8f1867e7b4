#include "launch/report/report_method.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "launch/train_settings.h"

enum { LABEL_SETTINGS_MAX = 3 }; /* named in a label */

/* A setting of a run; `stage` -1: what is the same in all of them. */
static const char *value_of(const struct options_file *file, int option, int stage)
{
    const char *text = stage < 0 ? NULL : file->stages[stage].layer.texts[option];

    text = text == NULL ? file->run.texts[option] : text;
    return text == NULL ? options_schemas[option].initial : text;
}

static bool counts(int option)
{
    return option == OPTION_init_from ||
           (option != OPTION_seed && train_settings_fix((enum options_id)option));
}

/* The first stage in which they differ, -1 where the setting is of no stage; false: they do not. */
static bool differ(const struct options_file *a, const struct options_file *b, int option,
                   int *stage_out)
{
    const bool is_staged = options_schemas[option].scope == OPTIONS_STAGE && a->stage_count > 0;

    for (int stage = is_staged ? 0 : -1; stage < (is_staged ? a->stage_count : 0); stage++) {
        if (strcmp(value_of(a, option, stage), value_of(b, option, stage)) != 0) {
            *stage_out = stage;
            return true;
        }
    }
    return false;
}

static bool same_stages(const struct options_file *a, const struct options_file *b)
{
    bool same = a->stage_count == b->stage_count;

    for (int stage = 0; same && stage < a->stage_count; stage++) {
        same = a->stages[stage].kind == b->stages[stage].kind;
    }
    return same;
}

static bool is_same_method(const struct options_file *a, const struct options_file *b)
{
    int stage = -1;

    if (a == NULL || b == NULL || !same_stages(a, b)) {
        return false;
    }
    for (int option = 0; option < OPTIONS_COUNT; option++) {
        if (counts(option) && differ(a, b, option, &stage)) {
            return false;
        }
    }
    return true;
}

/* Whether the methods' first runs, all known and of the same stages, disagree on the setting. */
static bool tells_apart(const struct report_run *runs, const int *firsts, int count, int option,
                        int *stage_out)
{
    for (int m = 1; m < count; m++) {
        if (counts(option) &&
            differ(runs[firsts[0]].settings, runs[firsts[m]].settings, option, stage_out)) {
            return true;
        }
    }
    return false;
}

/* What the setting is of this method: "exit_loss uncertainty", "learning_rate 1e-3 in exits". */
static size_t add_setting(char *label, size_t used, const struct options_file *file, int option,
                          int stage)
{
    const int length = snprintf(label + used, REPORT_LABEL_BYTES - used, "%s%s %s%s%s",
                                used == 0 ? "" : ", ", options_schemas[option].name,
                                value_of(file, option, stage), stage < 0 ? "" : " in ",
                                stage < 0 ? "" : options_stage_name(file->stages[stage].kind));

    used += (size_t)length;
    return used < REPORT_LABEL_BYTES ? used : REPORT_LABEL_BYTES - 1;
}

/* `firsts`: the first run of each method. */
static void label_all(const struct report_run *runs, const int *firsts,
                      struct report_methods *methods)
{
    bool comparable = methods->count > 1;
    size_t used[REPORT_RUNS_MAX] = {0};
    int named = 0;

    for (int m = 0; m < methods->count; m++) {
        comparable = comparable && runs[firsts[m]].settings != NULL &&
                     same_stages(runs[firsts[0]].settings, runs[firsts[m]].settings);
    }
    for (int option = 0; comparable && option < OPTIONS_COUNT; option++) {
        int stage = -1;
        if (named == LABEL_SETTINGS_MAX ||
            !tells_apart(runs, firsts, methods->count, option, &stage)) {
            continue;
        }
        named++;
        for (int m = 0; m < methods->count; m++) {
            used[m] =
                add_setting(methods->labels[m], used[m], runs[firsts[m]].settings, option, stage);
        }
    }
    for (int m = 0; m < methods->count; m++) {
        bool is_told = used[m] > 0;
        for (int other = 0; other < methods->count && is_told; other++) {
            is_told = other == m || strcmp(methods->labels[other], methods->labels[m]) != 0;
        }
        if (!is_told) { /* alone, or told apart by nothing short */
            const int others = methods->run_counts[m] - 1;
            char more[32] = "";
            if (others > 0) {
                snprintf(more, sizeof(more), " and %d other%s", others, others == 1 ? "" : "s");
            }
            snprintf(methods->labels[m] + used[m], REPORT_LABEL_BYTES - used[m], "%s%s%s",
                     used[m] == 0 ? "" : ", ", runs[firsts[m]].name, more);
        }
    }
}

void report_methods_find(struct report_run *runs, int run_count, struct report_methods *methods_out)
{
    int firsts[REPORT_RUNS_MAX] = {0};
    struct report_methods *methods = methods_out;

    memset(methods, 0, sizeof(*methods));
    for (int r = 0; r < run_count; r++) {
        int m = 0;
        while (m < methods->count && !is_same_method(runs[firsts[m]].settings, runs[r].settings)) {
            m++;
        }
        if (m == methods->count) {
            firsts[methods->count++] = r;
        }
        runs[r].method = m;
        methods->run_counts[m]++;
    }
    label_all(runs, firsts, methods);
}
