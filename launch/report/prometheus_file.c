#define _DEFAULT_SOURCE
#include "launch/report/prometheus_file.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/base/file.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/report/report_run.h"
#include "launch/report/report_text.h"

enum { LABELS_BYTES = 2 * PATH_MAX + 128 };

struct prometheus_file {
    char path[FILE_PATH_BYTES_MAX];
    char run[2 * PATH_MAX]; /* output_dir, escaped */
    uint64_t restarts;
    int64_t step, snapshot_step, checkpoint_step; /* -1: none */
    uint64_t samples, snapshots, skipped, checkpoints, failures;
    double stall_s, step_at_s; /* seconds since 1970, of the newest step; 0: none */
    struct report_text gauges; /* of the newest step that was written */
    bool is_broken;
};

/* The value of a label: \ " and newlines are escaped. */
static void escape(const char *from, char *to, size_t bytes)
{
    size_t used = 0;

    for (; *from != '\0' && used + 3 < bytes; from++) {
        if (*from == '\n') {
            to[used++] = '\\';
            to[used++] = 'n';
            continue;
        }
        if (*from == '\\' || *from == '"') {
            to[used++] = '\\';
        }
        to[used++] = *from;
    }
    to[used] = '\0';
}

static void begin(struct report_text *text, const char *name, const char *type, const char *help)
{
    report_text_add(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `labels`: what follows that of the run, as ",exit=\"3\""; "". */
static void sample(const struct prometheus_file *file, struct report_text *text, const char *name,
                   const char *labels, double value)
{
    report_text_add(text, "%s{run=\"%s\"%s} ", name, file->run, labels);
    if (isnan(value)) {
        report_text_add(text, "NaN\n");
    } else if (isinf(value)) {
        report_text_add(text, value > 0 ? "+Inf\n" : "-Inf\n");
    } else {
        report_text_add(text, "%.17g\n", value);
    }
}

static void single(const struct prometheus_file *file, struct report_text *text, const char *name,
                   const char *type, const char *help, double value)
{
    begin(text, name, type, help);
    sample(file, text, name, "", value);
}

/* Nothing is told of a step that is not there. */
static void single_step(const struct prometheus_file *file, struct report_text *text,
                        const char *name, const char *help, int64_t step)
{
    if (step >= 0) {
        single(file, text, name, "gauge", help, (double)step);
    }
}

static void add_counters(const struct prometheus_file *file, struct report_text *text)
{
    single_step(file, text, "offramp_step", "Newest optimizer step of the run.", file->step);
    single_step(file, text, "offramp_snapshot_step", "Newest step whose snapshot was committed.",
                file->snapshot_step);
    single_step(file, text, "offramp_checkpoint_step",
                "Newest step of which this start wrote a checkpoint to disk.",
                file->checkpoint_step);
    if (file->step_at_s > 0) {
        single(file, text, "offramp_last_step_timestamp_seconds", "gauge",
               "When the newest step was done, since 1970.", file->step_at_s);
    }
    single(file, text, "offramp_restarts_total", "counter",
           "Starts of the run after the first, whoever started it.", (double)file->restarts);
    single(file, text, "offramp_samples_total", "counter", "Training samples since this start.",
           (double)file->samples);
    single(file, text, "offramp_snapshots_total", "counter",
           "Snapshots that were committed to the memory of the nodes since this start.",
           (double)file->snapshots);
    single(file, text, "offramp_snapshots_skipped_total", "counter",
           "Snapshots that were not begun, for an earlier one was under way.",
           (double)file->skipped);
    single(file, text, "offramp_snapshot_stall_seconds_total", "counter",
           "Time that training waited for snapshots since this start.", file->stall_s);
    single(file, text, "offramp_checkpoints_total", "counter",
           "Checkpoints that were written to disk since this start.", (double)file->checkpoints);
    single(file, text, "offramp_checkpoint_failures_total", "counter",
           "Checkpoints that could not be written since this start.", (double)file->failures);
}

/* A list of each set of exits: "loss" of exits 1 .. G, and of the end if `has_end`. */
static void add_list(const struct prometheus_file *file, struct report_text *text, const char *name,
                     const struct jdoc *record, const char *key, bool has_end)
{
    const struct jdoc *sets = jdoc_get(record, "exits");
    char labels[128];

    for (size_t s = 0; s < jdoc_count(sets); s++) {
        const struct jdoc *set = jdoc_at(sets, s);
        const struct jdoc *values = jdoc_get(set, key);
        const size_t count = jdoc_count(values);
        for (size_t g = 0; g < count; g++) {
            const struct jdoc *value = jdoc_at(values, g);
            const double lambda = report_number_of(set, "lambda");
            if (g + 1 < count) {
                snprintf(labels, sizeof(labels), ",lambda=\"%.9g\",exit=\"%zu\"", lambda, g + 1);
            } else {
                snprintf(labels, sizeof(labels), ",lambda=\"%.9g\",exit=\"end\"", lambda);
            }
            if (g + 1 < count || has_end) {
                sample(file, text, name, labels, jdoc_is_number(value) ? jdoc_as_real(value) : NAN);
            }
        }
    }
}

/* A number of each set of exits. */
static void add_sets(const struct prometheus_file *file, struct report_text *text, const char *name,
                     const char *help, const struct jdoc *record, const char *key)
{
    const struct jdoc *sets = jdoc_get(record, "exits");
    char labels[64];

    if (jdoc_count(sets) > 0) {
        begin(text, name, "gauge", help);
    }
    for (size_t s = 0; s < jdoc_count(sets); s++) {
        const struct jdoc *set = jdoc_at(sets, s);
        snprintf(labels, sizeof(labels), ",lambda=\"%.9g\"", report_number_of(set, "lambda"));
        sample(file, text, name, labels, report_number_of(set, key));
    }
}

/* Of what the step updated: "learning_rate", "head_learning_rate", "gate_learning_rate". */
static void add_groups(const struct prometheus_file *file, struct report_text *text,
                       const char *name, const char *help, const struct jdoc *record,
                       const char *key)
{
    static const char *const groups[][2] = {
        {"", ",group=\"backbone\""}, {"head_", ",group=\"heads\""}, {"gate_", ",group=\"gates\""}};
    char full[64];
    bool has_begun = false;

    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        snprintf(full, sizeof(full), "%s%s", groups[i][0], key);
        if (jdoc_get(record, full) == NULL) {
            continue;
        }
        if (!has_begun) {
            begin(text, name, "gauge", help);
        }
        has_begun = true;
        sample(file, text, name, groups[i][1], report_number_of(record, full));
    }
}

static void add_gauges(struct prometheus_file *file, const struct jdoc *record)
{
    struct report_text *text = &file->gauges;
    const char *stage = report_text_of(record, "stage");
    const bool has_exits = jdoc_count(jdoc_get(record, "exits")) > 0;
    char labels[160];

    report_text_release(text);
    snprintf(labels, sizeof(labels), ",stage=\"%.100s\",version=\"" OFFRAMP_VERSION "\"",
             stage == NULL ? "" : stage); /* one of ours: nothing to escape */
    begin(text, "offramp_run_info", "gauge", "What trains, as labels; always 1.");
    sample(file, text, "offramp_run_info", labels, 1);
    single(file, text, "offramp_samples_per_second", "gauge",
           "Training samples a second, wall clock.", report_number_of(record, "samples_per_s"));
    begin(text, "offramp_loss", "gauge",
          "Mean cross entropy of an exit over the step's samples, in nats.");
    sample(file, text, "offramp_loss", ",exit=\"end\"", report_number_of(record, "loss"));
    add_list(file, text, "offramp_loss", record, "loss", false);
    begin(text, "offramp_accuracy_ratio", "gauge",
          "Accuracy of an exit over the step's samples, 0 to 1.");
    sample(file, text, "offramp_accuracy_ratio", ",exit=\"end\"",
           report_number_of(record, "accuracy"));
    add_list(file, text, "offramp_accuracy_ratio", record, "accuracy", false);
    if (has_exits) {
        begin(text, "offramp_exit_share_ratio", "gauge",
              "Share of the step's samples that leave at an exit, 0 to 1.");
        add_list(file, text, "offramp_exit_share_ratio", record, "share", true);
    }
    add_sets(file, text, "offramp_head_loss", "Loss of the heads that is minimised.", record,
             "head_loss");
    add_sets(file, text, "offramp_gate_loss", "Loss of the gates that is minimised.", record,
             "gate_loss");
    add_sets(file, text, "offramp_cost_ratio",
             "Mean compute of a sample, as a share of that of leaving at the end.", record, "cost");
    add_groups(file, text, "offramp_learning_rate", "Learning rate of what the step updated.",
               record, "learning_rate");
    add_groups(file, text, "offramp_gradient_norm", "Norm of the gradient before it is clipped.",
               record, "grad_norm");
}

static enum err write_file(const struct prometheus_file *file)
{
    struct report_text text = {0};

    add_counters(file, &text);
    report_text_bytes(&text, file->gauges.bytes == NULL ? "" : file->gauges.bytes,
                      file->gauges.count);
    enum err status = report_text_check(&text);
    if (status == ERR_OK) {
        status = report_text_check(&file->gauges);
    }
    if (status == ERR_OK) {
        const struct file_piece piece = {text.bytes, text.count};
        status = file_write(file->path, &piece, 1);
    }
    report_text_release(&text);
    return status;
}

static void write_or_tell(struct prometheus_file *file)
{
    char text[1024];

    if (!file->is_broken && write_file(file) != ERR_OK) {
        err_text(text, sizeof(text));
        err_clear();
        fprintf(stderr, "offramp: prometheus_file: %s; no more is written\n", text);
        file->is_broken = true;
    }
}

enum err prometheus_file_open(const char *output_dir, const char *name, uint64_t incarnation,
                              int64_t step, struct prometheus_file **file_out)
{
    struct prometheus_file *file = calloc(1, sizeof(*file));
    enum err status = ERR_OK;

    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "prometheus_file");
    }
    char *whole = realpath(output_dir, NULL);
    escape(whole == NULL ? output_dir : whole, file->run, sizeof(file->run));
    free(whole);
    file->step = step > 0 ? step : -1;
    file->snapshot_step = file->checkpoint_step = -1;
    file->restarts = incarnation > 0 ? incarnation - 1 : 0;
    if (strchr(name, '/') == NULL) {
        ERR_GOTO(err_free, status, file_path(file->path, output_dir, name));
    } else {
        snprintf(file->path, sizeof(file->path), "%s", name);
    }
    status = write_file(file);
    if (status != ERR_OK) {
        status = err_failed_(err_context_(status, "prometheus_file"));
        goto err_free;
    }
    *file_out = file;
    return ERR_OK;

err_free:
    report_text_release(&file->gauges);
    free(file);
    return status;
}

void prometheus_file_close(struct prometheus_file *file)
{
    if (file == NULL) {
        return;
    }
    write_or_tell(file);
    report_text_release(&file->gauges);
    free(file);
}

void prometheus_file_step(struct prometheus_file *file, const struct jdoc *record, bool writes)
{
    struct timespec now;

    file->step = jdoc_as_int(jdoc_get(record, "step"));
    file->samples += (uint64_t)jdoc_as_int(jdoc_get(record, "samples"));
    clock_gettime(CLOCK_REALTIME, &now);
    file->step_at_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    if (writes) {
        add_gauges(file, record);
        write_or_tell(file);
    }
}

void prometheus_file_event(struct prometheus_file *file, const struct jdoc *event)
{
    const char *name = report_text_of(event, "event");
    const int64_t step = jdoc_as_int(jdoc_get(event, "step"));

    if (name == NULL) {
        return;
    }
    if (strcmp(name, "snapshot.committed") == 0) {
        const double stall_s = report_number_of(event, "stall_s");
        file->snapshots++;
        file->skipped += (uint64_t)jdoc_as_int(jdoc_get(event, "skipped"));
        file->stall_s += isfinite(stall_s) ? stall_s : 0;
        file->snapshot_step = step > file->snapshot_step ? step : file->snapshot_step;
    } else if (strcmp(name, "checkpoint.saved") == 0) {
        file->checkpoints++;
        file->checkpoint_step = step > file->checkpoint_step ? step : file->checkpoint_step;
    } else if (strcmp(name, "checkpoint.failed") == 0) {
        file->failures++;
    }
}
