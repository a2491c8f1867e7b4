#define _GNU_SOURCE
#include "launch/metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "launch/report/metrics_exports.h"

struct metrics {
    FILE *metrics, *events;          /* NULL on all ranks but the writer, and after a failure */
    struct metrics_exports *exports; /* NULL: none */
    int64_t start_ns;
    bool is_writer;
    bool is_terminal;
    bool line_open; /* a redrawn line waits for its end */
};

/* The step of a line of metrics.jsonl; -1 if it has none or is cut off. */
static int64_t step_of(const char *line, size_t length)
{
    struct jdoc *doc = NULL;
    int64_t step = -1;

    if (jdoc_parse(line, length, "metrics.jsonl", &doc) != ERR_OK) {
        err_clear();
        return -1;
    }
    if (jdoc_is_int(jdoc_get(doc, "step"))) {
        step = jdoc_as_int(jdoc_get(doc, "step"));
    }
    jdoc_close(doc);
    return step;
}

/*
 * Keeps the whole lines of steps up to `step`: a resumed run writes the later ones again. Looks for
 * them from the end: a long run has millions of lines, and redoes few.
 */
static enum err cut_after(const char *path, int64_t step)
{
    struct file_map map;
    enum err status = ERR_OK;

    if (!file_exists(path)) {
        return ERR_OK;
    }
    ERR_TRY(file_map(path, &map));
    const char *const text = (const char *)map.bytes;
    size_t kept = map.count;
    while (kept > 0) {
        const char *before = memrchr(text, '\n', kept - 1);
        const size_t begin = before == NULL ? 0 : (size_t)(before - text) + 1;
        const int64_t line_step =
            text[kept - 1] == '\n' ? step_of(text + begin, kept - 1 - begin) : -1;
        if (line_step >= 0 && line_step <= step) {
            break;
        }
        kept = begin;
    }
    if (kept < map.count && truncate(path, (off_t)kept) != 0) {
        status = ERR_FAIL(ERR_IO, "%s: truncate: %s", path, strerror(errno));
    }
    file_unmap(&map);
    return status;
}

bool metrics_had_event(const char *output_dir, const char *name)
{
    char path[FILE_PATH_BYTES_MAX];
    char wanted[96];
    struct file_map map;

    snprintf(wanted, sizeof(wanted), "\"event\":\"%s\"", name);
    if (file_path(path, output_dir, "events.jsonl") != ERR_OK || file_map(path, &map) != ERR_OK) {
        err_clear();
        return false;
    }
    const bool found = memmem(map.bytes, map.count, wanted, strlen(wanted)) != NULL;
    file_unmap(&map);
    return found;
}

static enum err open_log(const char *output_dir, const char *name, FILE **file_out)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, output_dir, name));
    FILE *file = fopen(path, "ae");
    if (file == NULL) {
        return ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
    }
    *file_out = file;
    return ERR_OK;
}

enum err metrics_open(const char *output_dir, bool is_writer, bool is_alone, int64_t step,
                      struct metrics **metrics_out)
{
    char path[FILE_PATH_BYTES_MAX];
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    enum err status = ERR_OK;

    if (metrics == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "metrics");
    }
    metrics->is_writer = is_writer;
    metrics->start_ns = clock_now_ns();
    /* mpirun gives its ranks a terminal whatever its own output is: lines are safe there. */
    metrics->is_terminal = is_alone && isatty(STDOUT_FILENO) == 1;
    if (is_writer) {
        ERR_GOTO(err_close, status, file_path(path, output_dir, "metrics.jsonl"));
        ERR_GOTO(err_close, status, cut_after(path, step));
        ERR_GOTO(err_close, status, open_log(output_dir, "metrics.jsonl", &metrics->metrics));
        ERR_GOTO(err_close, status, open_log(output_dir, "events.jsonl", &metrics->events));
    }
    *metrics_out = metrics;
    return ERR_OK;

err_close:
    metrics_close(metrics);
    return status;
}

void metrics_export_to(struct metrics *metrics, struct metrics_exports *exports)
{
    metrics->exports = exports;
}

void metrics_close(struct metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    if (metrics->line_open) {
        putchar('\n');
    }
    metrics_exports_close(metrics->exports);
    if (metrics->metrics != NULL) {
        fclose(metrics->metrics);
    }
    if (metrics->events != NULL) {
        fclose(metrics->events);
    }
    free(metrics);
}

static void put_line(FILE **file, struct jdoc *doc)
{
    char *text = NULL;

    if (*file != NULL && jdoc_text(doc, 0, &text) == ERR_OK) {
        if (fprintf(*file, "%s\n", text) < 0 || fflush(*file) != 0) {
            fprintf(stderr, "offramp: metrics: write: %s; no more are written\n", strerror(errno));
            fclose(*file);
            *file = NULL;
        }
    }
    free(text);
    jdoc_close(doc);
}

void metrics_record(struct metrics *metrics, struct jdoc *record)
{
    metrics_exports_step(metrics->exports, record);
    put_line(&metrics->metrics, record);
}

void metrics_event(struct metrics *metrics, const char *name, struct jdoc *details)
{
    struct jdoc *doc = details == NULL ? jdoc_object() : details;

    jdoc_set_text(doc, "event", name);
    jdoc_set_real(doc, "at_s", clock_since_s(metrics->start_ns));
    metrics_exports_event(metrics->exports, doc);
    put_line(&metrics->events, doc);
}

void metrics_show(struct metrics *metrics, bool keeps, const char *format, ...)
{
    va_list args;

    if (!metrics->is_writer || (!keeps && !metrics->is_terminal)) {
        return;
    }
    if (metrics->line_open) {
        printf("\r\033[K");
    }
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    metrics->line_open = !keeps;
    if (keeps) {
        putchar('\n');
    }
    fflush(stdout);
}
