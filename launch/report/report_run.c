#define _POSIX_C_SOURCE 200809L
#include "launch/report/report_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/report/report_jsonl.h"
#include "launch/run_holder.h"
#include "launch/run_status.h"
#include "launch/train_loop.h"
#include "snapshot/snap_disk.h"

/* What no run has and no axis can show. */
static const double NUMBER_MAX = 1e30;

const char *report_text_of(const struct jdoc *object, const char *key)
{
    return jdoc_as_text(jdoc_get(object, key));
}

double report_number_of(const struct jdoc *object, const char *key)
{
    const struct jdoc *value = jdoc_get(object, key);

    if (value == NULL || !jdoc_is_number(value)) {
        return NAN;
    }
    const double number = jdoc_as_real(value);
    return fabs(number) > NUMBER_MAX ? NAN : number;
}

const struct jdoc *report_run_results(const struct report_run *run)
{
    return run->results == NULL ? run->summary : run->results;
}

/* A file that is not there is no error. */
static enum err unless_missing(enum err status)
{
    if (status == ERR_MISSING) {
        err_clear();
        return ERR_OK;
    }
    return status;
}

static enum err read_doc(const struct report_run *run, const char *name, struct jdoc **doc_out)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    ERR_TRY(file_path(path, run->path, name));
    ERR_TRY(unless_missing(jdoc_read(path, &doc)));
    if (doc != NULL && !jdoc_is_object(doc)) {
        jdoc_close(doc);
        return ERR_FAIL(ERR_CORRUPT, "%s: no JSON object", path);
    }
    *doc_out = doc;
    return ERR_OK;
}

static enum err read_lines(const struct report_run *run, const char *name, size_t lines_max,
                           struct jdoc **lines_out, size_t *every_out)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, run->path, name));
    return unless_missing(report_jsonl_read(path, lines_max, lines_out, every_out));
}

/* Settings of another version are shown, and not understood. */
static enum err read_settings(struct report_run *run)
{
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    ERR_TRY(file_path(path, run->path, "config.resolved.yaml"));
    const enum err status = file_map(path, &map);
    if (status != ERR_OK) {
        return unless_missing(status);
    }
    run->settings_text = strndup((const char *)map.bytes, map.count);
    const enum err parsed =
        options_yaml_parse((const char *)map.bytes, map.count, path, &run->settings);
    file_unmap(&map);
    if (run->settings_text == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", path);
    }
    if (parsed != ERR_OK) {
        run->settings = NULL;
        err_text(run->settings_error, sizeof(run->settings_error));
        err_clear();
    }
    return ERR_OK;
}

static enum err read_all(struct report_run *run)
{
    char name[64];
    size_t ignored = 0;

    ERR_TRY(run_status(run->path, &run->status));
    ERR_TRY(read_doc(run, TRAIN_SUMMARY_FILE, &run->summary));
    ERR_TRY(read_doc(run, "results.json", &run->results));
    ERR_TRY(read_doc(run, RUN_HOLDER_FILE, &run->holder));
    ERR_TRY(read_settings(run));
    ERR_TRY(read_lines(run, "metrics.jsonl", REPORT_STEPS_MAX, &run->metrics, &run->metrics_every));
    ERR_TRY(read_lines(run, "events.jsonl", REPORT_EVENTS_MAX, &run->events, &run->events_every));
    ERR_TRY(read_lines(run, "supervisor.jsonl", SIZE_MAX, &run->supervised, &ignored));
    run->checkpoint_step = snap_disk_newest(run->path);
    if (run->checkpoint_step >= 0) {
        snprintf(name, sizeof(name), "checkpoint-%" PRId64 "/manifest.json", run->checkpoint_step);
        ERR_TRY(read_doc(run, name, &run->manifest));
    }
    return ERR_OK;
}

enum err report_run_open(const char *path, struct report_run *run_out)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    *run_out = (struct report_run){.path = strndup(path, length), .checkpoint_step = -1};
    if (run_out->path == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s", path);
    }
    const char *slash = strrchr(run_out->path, '/');
    run_out->name = slash == NULL || slash[1] == '\0' ? run_out->path : slash + 1;
    const enum err status = read_all(run_out);
    if (status != ERR_OK) {
        report_run_close(run_out);
    }
    return status;
}

void report_run_close(struct report_run *run)
{
    jdoc_close(run->summary);
    jdoc_close(run->results);
    jdoc_close(run->status);
    jdoc_close(run->holder);
    jdoc_close(run->metrics);
    jdoc_close(run->events);
    jdoc_close(run->supervised);
    jdoc_close(run->manifest);
    options_yaml_close(run->settings);
    free(run->settings_text);
    free(run->path);
    *run = (struct report_run){0};
}
