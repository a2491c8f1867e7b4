#define _GNU_SOURCE
#include "launch/drill/drill.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "launch/drill/drill_report.h"

/* Whether there is nothing in the folder but what a drill left there. */
static enum err check_folder(const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    bool is_empty = true;

    ERR_TRY(file_path(path, folder, DRILL_FILE));
    DIR *entries = opendir(folder);
    if (entries == NULL && errno == ENOENT) {
        return ERR_OK;
    }
    if (entries == NULL) {
        return ERR_FAIL(ERR_IO, "%s: %s", folder, strerror(errno));
    }
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        is_empty =
            is_empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    }
    closedir(entries);
    if (!is_empty && !file_exists(path)) {
        return ERR_FAIL(ERR_CONFIG, "%s is not empty, and no drill's: it has no " DRILL_FILE,
                        folder);
    }
    return ERR_OK;
}

/* DIR/NAME, new and empty. */
static enum err make_folder(const char *folder, const char *name, char path[FILE_PATH_BYTES_MAX])
{
    ERR_TRY(file_path(path, folder, name));
    ERR_TRY(file_remove_tree(path));
    return file_make_folder(path);
}

static bool is_plain_word(const char *word)
{
    return word[0] != '\0' &&
           strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789_-+=./:,@%#") == strlen(word) &&
           word[0] != '#';
}

/* A word of a shell's command line. */
static void put_word(FILE *file, const char *word)
{
    if (is_plain_word(word)) {
        fprintf(file, " %s", word);
        return;
    }
    fputs(" '", file);
    for (const char *c = word; *c != '\0'; c++) {
        fputs(*c == '\'' ? "'\\''" : (char[]){*c, '\0'}, file);
    }
    fputc('\'', file);
}

/* The command line that does this run alone. */
static enum err describe(const struct drill_plan *plan, const struct drill_case *what,
                         bool is_random, char **text_out)
{
    size_t bytes = 0;
    char text[DRILL_FAULT_BYTES];
    FILE *file = open_memstream(text_out, &bytes);

    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a command line");
    }
    fputs(plan->repeat, file);
    if (is_random) {
        fprintf(file, " --random %d --seed %" PRIu64, plan->random_count, plan->seed);
    } else {
        fputs(what->count > 1 ? " --together" : "", file);
        for (int i = 0; i < what->count; i++) {
            drill_fault_text(&what->faults[i], text);
            fprintf(file, " %s", text);
        }
    }
    fputs(" --", file);
    for (int i = 0; plan->run.train[i] != NULL; i++) {
        put_word(file, plan->run.train[i]);
    }
    return fclose(file) == 0 ? ERR_OK : ERR_FAIL(ERR_NO_MEMORY, "a command line");
}

/* Why a run failed, if it did. */
static void judge(struct drill_record *record, const char *reference, const char *output_dir)
{
    const size_t room = sizeof(record->why);

    for (int i = 0; i < record->what->count && record->why[0] == '\0'; i++) {
        const struct drill_outcome *outcome = &record->outcomes[i];
        if (!outcome->happened) {
            snprintf(record->why, room, "a fault did not happen: %s", outcome->what);
        } else if (outcome->wrong[0] != '\0') {
            snprintf(record->why, room, "%s", outcome->wrong);
        }
    }
    if (record->result.failure[0] != '\0') {
        snprintf(record->why, room, "%s", record->result.failure);
    } else if (drill_compare(reference, output_dir, &record->sum) != ERR_OK) {
        err_text(record->why, room);
        err_clear();
    }
}

/* The checkpoints of a run are its greatest part, and the same as the reference's. */
static void drop_checkpoints(const char *output_dir)
{
    DIR *entries = opendir(output_dir);
    char path[FILE_PATH_BYTES_MAX];

    for (const struct dirent *entry = entries == NULL ? NULL : readdir(entries); entry != NULL;
         entry = readdir(entries)) {
        if (strncmp(entry->d_name, "checkpoint-", 11) == 0 &&
            (file_path(path, output_dir, entry->d_name) != ERR_OK ||
             file_remove_tree(path) != ERR_OK)) {
            err_clear();
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
}

static enum err run_case(const struct drill_plan *plan, const char *reference,
                         const struct drill_case *what, struct drill_record *record)
{
    char folder[FILE_PATH_BYTES_MAX], output_dir[FILE_PATH_BYTES_MAX];
    const bool is_random =
        plan->random_count > 0 && what == &plan->cases.cases[plan->cases.count - 1];

    record->what = what;
    record->outcomes = calloc((size_t)what->count, sizeof(*record->outcomes));
    if (record->outcomes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d faults", what->count);
    }
    ERR_TRY(describe(plan, what, is_random, &record->repeat));
    ERR_TRY(make_folder(plan->folder, what->name, folder));
    ERR_TRY(file_path(output_dir, folder, DRILL_OUTPUT));
    ERR_TRY(drill_run(&plan->run, folder, what, record->outcomes, &record->result));
    judge(record, reference, output_dir);
    drill_report_run(record);
    if (record->why[0] == '\0' && !plan->keeps) {
        drop_checkpoints(output_dir);
    }
    return ERR_OK;
}

static enum err run_reference(const struct drill_plan *plan, char output_dir[FILE_PATH_BYTES_MAX],
                              int64_t *last_step_out)
{
    const struct drill_case nothing = {.name = "reference"};
    struct drill_run_result result;
    char folder[FILE_PATH_BYTES_MAX];

    ERR_TRY(make_folder(plan->folder, nothing.name, folder));
    ERR_TRY(file_path(output_dir, folder, DRILL_OUTPUT));
    ERR_TRY(drill_run(&plan->run, folder, &nothing, NULL, &result));
    if (result.failure[0] != '\0') {
        return ERR_FAIL(ERR_CONFIG, "the reference, to which nothing happened, failed: %s",
                        result.failure);
    }
    ERR_TRY_AS(drill_last_step(output_dir, last_step_out), "the reference");
    printf("reference: %d ranks on %d %s nodes, %d spares: finished after step %" PRId64
           ", %.1f s\n",
           plan->run.ranks, plan->run.nodes, plan->run.backend->name, plan->run.spares,
           *last_step_out, result.took_s);
    fflush(stdout);
    return ERR_OK;
}

/*
 * Half of a checkpoint: it does not fit, and the lines of a run that goes on meanwhile do. */
static enum err measure_room(const char *reference, int64_t *room_out)
{
    struct drill_sum sum;

    ERR_TRY(drill_compare(reference, reference, &sum));
    *room_out = sum.bytes / 2 + 1;
    return ERR_OK;
}

static enum err run_all(struct drill_plan *plan, const char *reference, bool *passed_out)
{
    const int count = plan->cases.count;
    const char *backend = plan->run.backend->name;
    struct drill_record *records = calloc((size_t)count, sizeof(*records));
    const int64_t start_ns = clock_now_ns();
    enum err status = records == NULL ? ERR_FAIL(ERR_NO_MEMORY, "%d runs", count) : ERR_OK;
    bool passed = true;

    for (int i = 0; i < count && status == ERR_OK; i++) {
        status = run_case(plan, reference, &plan->cases.cases[i], &records[i]);
        passed = passed && records[i].why[0] == '\0';
    }
    if (status == ERR_OK) {
        drill_report_end(records, count, backend, clock_since_s(start_ns));
        status = drill_report_json(plan->folder, records, count, backend);
    }
    if (status == ERR_OK && plan->junit != NULL) {
        status = drill_report_junit(plan->junit, records, count, backend);
    }
    for (int i = 0; records != NULL && i < count; i++) {
        free(records[i].outcomes);
        free(records[i].repeat);
    }
    free(records);
    *passed_out = passed;
    return status;
}

enum err drill(struct drill_plan *plan, bool *passed_out)
{
    char reference[FILE_PATH_BYTES_MAX];
    int64_t last_step = 0;

    drill_run_listen();
    ERR_TRY(check_folder(plan->folder));
    ERR_TRY(file_make_folder(plan->folder));
    char *real = realpath(plan->folder, NULL);
    if (real == NULL || strpbrk(real, " \t") != NULL || strpbrk(plan->run.program, " \t") != NULL) {
        free(real);
        return ERR_FAIL(ERR_CONFIG, "no blank may be in the path of output-dir or of this program");
    }
    plan->folder = real;
    enum err status = drill_report_json(real, NULL, 0, plan->run.backend->name);
    if (status == ERR_OK) {
        status = run_reference(plan, reference, &last_step);
    }
    if (status == ERR_OK) {
        status = measure_room(reference, &plan->run.room_bytes);
    }
    if (status == ERR_OK && plan->random_count > 0) {
        const struct drill_size size = {plan->run.ranks, plan->run.nodes,
                                        plan->run.backend->is_remote};
        status = drill_schedule_random(size, plan->seed, plan->random_count, last_step - 1,
                                       &plan->cases);
    }
    if (status == ERR_OK) {
        status = run_all(plan, reference, passed_out);
    }
    plan->folder = NULL;
    free(real);
    return status;
}
