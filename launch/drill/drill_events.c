#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"
#include "launch/drill/drill_run_priv.h"
#include "launch/jsonl_tail.h"

enum { TAIL_BYTES = 1 << 16 };

/* The lines of DIR/NAME, one by one; a line that is no document is passed over. */
typedef void (*line_fn)(void *with, const struct jdoc *line);

static void walk(const char *folder, const char *name, line_fn each, void *with)
{
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;
    size_t room = 0;
    ssize_t length = 0;

    FILE *file = file_path(path, folder, name) == ERR_OK ? fopen(path, "re") : NULL;
    while (file != NULL && (length = getline(&text, &room, file)) > 0) {
        struct jdoc *line = NULL;
        if (jdoc_parse(text, (size_t)length, name, &line) == ERR_OK) {
            each(with, line);
        }
        err_clear();
        jdoc_close(line);
    }
    err_clear();
    free(text);
    if (file != NULL) {
        fclose(file);
    }
}

static bool is_event(const struct jdoc *line, const char *name)
{
    const char *event = jdoc_as_text(jdoc_get(line, "event"));

    return event != NULL && strcmp(event, name) == 0;
}

struct newest {
    const char *name, *host;
    double begun_s; /* of the launch that wrote the line */
    int64_t at_ns;
};

static void take_newest(void *with, const struct jdoc *line)
{
    struct newest *newest = with;
    const char *host = jdoc_as_text(jdoc_get(line, "host"));

    if (is_event(line, "run.begun")) {
        newest->begun_s = jdoc_as_real(jdoc_get(line, "monotonic_s"));
    }
    if (is_event(line, newest->name) &&
        (newest->host == NULL || (host != NULL && strcmp(host, newest->host) == 0))) {
        newest->at_ns = (int64_t)(1e9 * (newest->begun_s + jdoc_as_real(jdoc_get(line, "at_s"))));
    }
}

int64_t drill_events_newest_ns(const char *output_dir, const char *name, const char *host)
{
    struct newest newest = {.name = name, .host = host, .at_ns = -1};

    walk(output_dir, "supervisor.jsonl", take_newest, &newest);
    return newest.at_ns;
}

struct use {
    char host[DRILL_HOST_BYTES + 1]; /* "n1:" */
    bool is_used;
};

static void take_hosts(void *with, const struct jdoc *line)
{
    struct use *use = with;
    const char *hosts = jdoc_as_text(jdoc_get(line, "hosts"));

    if (is_event(line, "job.started") && hosts != NULL) {
        use->is_used = strstr(hosts, use->host) != NULL;
    }
}

bool drill_events_is_used(const char *output_dir, int n)
{
    struct use use = {.is_used = false};
    char host[DRILL_HOST_BYTES];

    drill_nodes_host(n, host);
    snprintf(use.host, sizeof(use.host), "%s:", host);
    walk(output_dir, "supervisor.jsonl", take_hosts, &use);
    return use.is_used;
}

struct resumptions {
    int seen;
    struct drill_resumed told;
};

static void take_resumed(void *with, const struct jdoc *line)
{
    struct resumptions *resumptions = with;
    struct drill_resumed *told = &resumptions->told;

    if (is_event(line, "run.resumed")) {
        const char *from = jdoc_as_text(jdoc_get(line, "from"));
        told->count++;
        if (told->count > resumptions->seen && from != NULL && strcmp(from, "memory") == 0) {
            told->of_memory++;
            told->rebuilt += jdoc_as_int(jdoc_get(line, "segments_rebuilt"));
        }
    }
}

struct drill_resumed drill_events_resumed(const char *output_dir, int seen)
{
    struct resumptions resumptions = {.seen = seen};

    walk(output_dir, "events.jsonl", take_resumed, &resumptions);
    return resumptions.told;
}

static void take_recovered(void *with, const struct jdoc *line)
{
    struct progress *progress = with;

    if (is_event(line, "run.begun")) { /* kept here until the end of the file */
        progress->at_ns = (int64_t)(1e9 * jdoc_as_real(jdoc_get(line, "monotonic_s")));
    }
    if (is_event(line, "job.recovered")) {
        progress->from = jdoc_as_int(jdoc_get(line, "from"));
        progress->first_step_ns =
            progress->at_ns + (int64_t)(1e9 * jdoc_as_real(jdoc_get(line, "first_step_at_s")));
        progress->since_ns[PROGRESS_BEGUN] = progress->first_step_ns;
    }
}

/* The "step" of the newest line of OUT/NAME that has one, of that event or any; -1: none is near the end. */
static int64_t newest_step(const char *folder, const char *name, const char *event)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jsonl_tail tail = {0};
    struct jdoc *line = NULL;
    int64_t step = -1;

    if (file_path(path, folder, name) != ERR_OK ||
        jsonl_tail_read(path, TAIL_BYTES, &tail) != ERR_OK) {
        err_clear();
        return -1;
    }
    while (step < 0 && (line = jsonl_tail_previous(&tail)) != NULL) {
        if (jdoc_get(line, "step") != NULL && (event == NULL || is_event(line, event))) {
            step = jdoc_as_int(jdoc_get(line, "step"));
        }
        jdoc_close(line);
    }
    jsonl_tail_release(&tail);
    return step;
}

struct progress drill_events_progress(const char *output_dir)
{
    struct progress progress = {.from = -1};

    walk(output_dir, "supervisor.jsonl", take_recovered, &progress);
    progress.step = newest_step(output_dir, "metrics.jsonl", NULL);
    progress.kept = newest_step(output_dir, "events.jsonl", "snapshot.committed");
    progress.process = progress.step >= 0 ? 1 : 0;
    return progress;
}

struct tally {
    const char *name;
    int count;
};

static void take_named(void *with, const struct jdoc *line)
{
    struct tally *tally = with;

    tally->count += is_event(line, tally->name);
}

int drill_events_count(const char *output_dir, const char *name)
{
    struct tally tally = {name, 0};

    walk(output_dir, "events.jsonl", take_named, &tally);
    return tally.count;
}

int drill_events_survives(const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    char line[512];
    int lost = 0, nodes = 0, found = 0;

    FILE *file = file_path(path, folder, DRILL_LOG_FILE) == ERR_OK ? fopen(path, "re") : NULL;
    while (file != NULL && found == 0 && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "snapshots survive the loss of any %d of %d nodes", &lost, &nodes) == 2) {
            found = lost;
        }
    }
    err_clear();
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

struct measure {
    const struct drill_case *what;
    struct drill_outcome *outcomes;
    double begun_s;
    int64_t recovered_ns;
};

/* The clock has a finer grain than a time that went through seconds. */
enum { GRAIN_NS = 1000000 };

static void take_loss(struct measure *measure, int64_t noticed_ns)
{
    for (int i = 0; i < measure->what->count; i++) {
        struct drill_outcome *outcome = &measure->outcomes[i];
        const int64_t repaired_ns = outcome->at_ns + (int64_t)(1e9 * outcome->repair_s);
        if (outcome->happened && outcome->detect_s < 0 &&
            drill_fault_loses_job(&measure->what->faults[i]) &&
            noticed_ns >= outcome->at_ns - GRAIN_NS &&
            (outcome->repair_s < 0 || noticed_ns <= repaired_ns)) {
            const double detect_s = 1e-9 * (double)(noticed_ns - outcome->at_ns);
            outcome->detect_s = detect_s > 0 ? detect_s : 0;
        }
    }
}

/* Of all faults since the recovery before. */
static void take_redone(struct measure *measure, int64_t first_step_ns, int64_t redone)
{
    for (int i = 0; i < measure->what->count; i++) {
        struct drill_outcome *outcome = &measure->outcomes[i];
        if (outcome->detect_s >= 0 && outcome->at_ns > measure->recovered_ns &&
            outcome->at_ns < first_step_ns) {
            outcome->redone = redone;
        }
    }
    measure->recovered_ns = first_step_ns;
}

static void take_event(void *with, const struct jdoc *line)
{
    struct measure *measure = with;

    if (is_event(line, "run.begun")) {
        measure->begun_s = jdoc_as_real(jdoc_get(line, "monotonic_s"));
    } else if (is_event(line, "job.lost")) {
        const double at_s = jdoc_as_real(jdoc_get(line, "noticed_at_s"));
        take_loss(measure, (int64_t)(1e9 * (measure->begun_s + at_s)));
    } else if (is_event(line, "job.recovered")) {
        const double at_s = jdoc_as_real(jdoc_get(line, "first_step_at_s"));
        take_redone(measure, (int64_t)(1e9 * (measure->begun_s + at_s)),
                    jdoc_as_int(jdoc_get(line, "redone")));
    }
}

void drill_events_measure(const char *output_dir, const struct drill_case *what,
                          struct drill_outcome outcomes[])
{
    struct measure measure = {.what = what, .outcomes = outcomes};

    walk(output_dir, "supervisor.jsonl", take_event, &measure);
}
