#define _GNU_SOURCE
#include "launch/drill/drill_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"

static const char *verdict(bool passed)
{
    return passed ? "PASSED" : "FAILED";
}

/* Seconds, or "-". */
static void seconds(double value_s, char text[32])
{
    if (value_s < 0) {
        snprintf(text, 32, "-");
    } else {
        snprintf(text, 32, "%.2f s", value_s);
    }
}

static void number(int64_t value, char text[32])
{
    if (value < 0) {
        snprintf(text, 32, "-");
    } else {
        snprintf(text, 32, "%" PRId64, value);
    }
}

static void print_fault(const struct drill_fault *fault, const struct drill_outcome *outcome)
{
    char text[DRILL_FAULT_BYTES];

    drill_fault_text(fault, text);
    printf("%s: %s", text, outcome->what);
    if (outcome->happened) {
        if (outcome->step >= 0) {
            printf(", at step %" PRId64, outcome->step);
        }
        if (outcome->detect_s >= 0) {
            printf("; noticed after %.2f s", outcome->detect_s);
        }
        if (outcome->repair_s >= 0) {
            printf("; next step after %.2f s", outcome->repair_s);
        }
        if (outcome->redone >= 0) {
            printf("; %" PRId64 " steps redone", outcome->redone);
        }
        if (outcome->rebuilt >= 0) {
            printf("; %" PRId64 " segments rebuilt", outcome->rebuilt);
        }
    }
    printf("%s%s\n", outcome->wrong[0] == '\0' ? "" : "; WRONG: ", outcome->wrong);
}

void drill_report_run(const struct drill_record *record)
{
    for (int i = 0; i < record->what->count; i++) {
        print_fault(&record->what->faults[i], &record->outcomes[i]);
    }
    if (record->why[0] == '\0') {
        printf("  PASSED: %s: the same bits after step %" PRId64 ", %d files, %" PRId64
               " bytes; %.1f s\n",
               record->what->name, record->sum.step, record->sum.files, record->sum.bytes,
               record->result.took_s);
    } else {
        printf("  FAILED: %s: %s\n", record->what->name, record->why);
    }
    fflush(stdout);
}

static void print_row(const struct drill_record *record, int i)
{
    const struct drill_outcome *outcome = &record->outcomes[i];
    char text[DRILL_FAULT_BYTES], detect[32], repair[32], redone[32], rebuilt[32];

    drill_fault_text(&record->what->faults[i], text);
    seconds(outcome->detect_s, detect);
    seconds(outcome->repair_s, repair);
    number(outcome->redone, redone);
    number(outcome->rebuilt, rebuilt);
    printf("  %-48s %-9s %9s %9s %7s %8s  %s\n", text, outcome->happened ? "yes" : "NO", detect,
           repair, redone, rebuilt, verdict(record->why[0] == '\0'));
}

void drill_report_end(const struct drill_record records[], int count, const char *backend,
                      double took_s)
{
    int failed = 0, faults = 0;

    printf("\n  %-48s %-9s %9s %9s %7s %8s  %s\n", "fault", "happened", "noticed", "repaired",
           "redone", "rebuilt", "verdict");
    for (int r = 0; r < count; r++) {
        for (int i = 0; i < records[r].what->count; i++) {
            print_row(&records[r], i);
        }
        faults += records[r].what->count;
        failed += records[r].why[0] != '\0';
    }
    putchar('\n');
    for (int r = 0; r < count; r++) {
        if (records[r].why[0] != '\0') {
            printf("%s failed: %s\n  again: %s\n", records[r].what->name, records[r].why,
                   records[r].repeat);
        }
    }
    printf(
        "%s: %d of %d runs with %d faults came to the state of the reference; %s nodes, %.1f s\n",
        verdict(failed == 0), count - failed, count, faults, backend, took_s);
    fflush(stdout);
}

static void set_time(struct jdoc *object, const char *key, double value_s)
{
    if (value_s >= 0) {
        jdoc_set_real(object, key, value_s);
    }
}

static void set_number(struct jdoc *object, const char *key, int64_t value)
{
    if (value >= 0) {
        jdoc_set_int(object, key, value);
    }
}

static struct jdoc *describe_fault(const struct drill_fault *fault,
                                   const struct drill_outcome *outcome)
{
    struct jdoc *object = jdoc_object();
    char text[DRILL_FAULT_BYTES];

    drill_fault_text(fault, text);
    jdoc_set_text(object, "fault", text);
    jdoc_set_bool(object, "happened", outcome->happened);
    jdoc_set_text(object, "what", outcome->what);
    set_number(object, "step", outcome->step);
    set_time(object, "noticed_s", outcome->detect_s);
    set_time(object, "repaired_s", outcome->repair_s);
    set_number(object, "redone", outcome->redone);
    set_number(object, "rebuilt", outcome->rebuilt);
    if (outcome->wrong[0] != '\0') {
        jdoc_set_text(object, "wrong", outcome->wrong);
    }
    return object;
}

static struct jdoc *describe_run(const struct drill_record *record)
{
    struct jdoc *object = jdoc_object(), *faults = jdoc_array();

    jdoc_set_text(object, "name", record->what->name);
    jdoc_set_bool(object, "passed", record->why[0] == '\0');
    if (record->why[0] != '\0') {
        jdoc_set_text(object, "why", record->why);
    }
    jdoc_set_text(object, "again", record->repeat);
    jdoc_set_real(object, "took_s", record->result.took_s);
    for (int i = 0; i < record->what->count; i++) {
        jdoc_append(faults, describe_fault(&record->what->faults[i], &record->outcomes[i]));
    }
    jdoc_set(object, "faults", faults);
    return object;
}

enum err drill_report_json(const char *folder, const struct drill_record records[], int count,
                           const char *backend)
{
    struct jdoc *doc = jdoc_object(), *runs = jdoc_array();
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;
    bool passed = true;

    for (int r = 0; records != NULL && r < count; r++) {
        passed = passed && records[r].why[0] == '\0';
        jdoc_append(runs, describe_run(&records[r]));
    }
    jdoc_set_text(doc, "verdict", records == NULL ? "begun" : passed ? "passed" : "failed");
    jdoc_set_text(doc, "nodes", backend);
    jdoc_set(doc, "runs", runs);
    enum err status = jdoc_text(doc, 2, &text);
    jdoc_close(doc);
    ERR_TRY(status);
    status = file_path(path, folder, DRILL_FILE);
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    return status;
}

/* As the value of an attribute. XML has no place for control characters; bytes above ASCII may be no UTF-8. */
static void put_escaped(FILE *file, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '&': fputs("&amp;", file); break;
        case '<': fputs("&lt;", file); break;
        case '>': fputs("&gt;", file); break;
        case '"': fputs("&quot;", file); break;
        default: fputc(*c < ' ' || *c > '~' ? '?' : *c, file); break;
        }
    }
}

static void put_attribute(FILE *file, const char *name, const char *text)
{
    fprintf(file, " %s=\"", name);
    put_escaped(file, text);
    fputc('"', file);
}

static void put_case(FILE *file, const struct drill_record *record, int i)
{
    const struct drill_outcome *outcome = &record->outcomes[i];
    char text[DRILL_FAULT_BYTES], class[DRILL_FAULT_BYTES + 16];

    drill_fault_text(&record->what->faults[i], text);
    snprintf(class, sizeof(class), "drill.%s", record->what->name);
    fputs("  <testcase", file);
    put_attribute(file, "classname", class);
    put_attribute(file, "name", text);
    fprintf(file, " time=\"%.3f\">", record->result.took_s / record->what->count);
    if (record->why[0] != '\0') {
        fputs("\n    <failure", file);
        put_attribute(file, "message", record->why);
        fputs("/>\n    <system-out>", file);
        put_escaped(file, record->repeat);
        fputs("</system-out>\n  ", file);
    } else {
        fputs("<system-out>", file);
        put_escaped(file, outcome->what);
        fputs("</system-out>", file);
    }
    fputs("</testcase>\n", file);
}

enum err drill_report_junit(const char *path, const struct drill_record records[], int count,
                            const char *backend)
{
    FILE *file = fopen(path, "we");
    int faults = 0, failures = 0;
    double took_s = 0;

    if (file == NULL) {
        return ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
    }
    for (int r = 0; r < count; r++) {
        faults += records[r].what->count;
        failures += records[r].why[0] != '\0' ? records[r].what->count : 0;
        took_s += records[r].result.took_s;
    }
    fprintf(file,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuite name=\"offramp drill, %s nodes\" tests=\"%d\" failures=\"%d\" errors=\"0\" "
            "time=\"%.3f\">\n",
            backend, faults, failures, took_s);
    for (int r = 0; r < count; r++) {
        for (int i = 0; i < records[r].what->count; i++) {
            put_case(file, &records[r], i);
        }
    }
    fputs("</testsuite>\n", file);
    const bool is_bad = ferror(file) != 0;
    return fclose(file) == 0 && !is_bad ? ERR_OK : ERR_FAIL(ERR_IO, "%s: write", path);
}
