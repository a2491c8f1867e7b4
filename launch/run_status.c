#define _GNU_SOURCE
#include "launch/run_status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "comm/base/file.h"
#include "launch/exit_code.h"
#include "launch/halt.h"
#include "launch/jsonl_tail.h"
#include "launch/progress.h"
#include "launch/run_holder.h"
#include "launch/run_losses.h"
#include "launch/train_loop.h"
#include "snapshot/snap_disk.h"

enum {
    TAIL_BYTES = 256 * 1024,
    EVENTS_MAX = 2000, /* looked at for the newest snapshot */
    SPEED_STEPS = 50,
};

static bool is_alive(const struct run_signs *signs)
{
    return signs->launch_lives || signs->start_lives || signs->rank_lives;
}

const char *run_state_of(const struct run_signs *signs)
{
    if (is_alive(signs)) {
        if (signs->is_asked) {
            return "halting";
        }
        if (signs->rank_lives) {
            return "running";
        }
        return signs->is_between && !signs->start_lives ? "waiting" : "starting";
    }
    if (signs->summary != NULL) {
        return signs->summary;
    }
    return signs->has_begun ? "lost" : "not_begun";
}

const char *run_verdict_of(const struct run_signs *signs)
{
    if (is_alive(signs)) {
        return "running";
    }
    if (signs->summary == NULL) {
        return signs->has_begun ? "retry" : "not_begun";
    }
    switch (signs->exit_code) {
    case EXIT_DONE: return strcmp(signs->summary, "finished") == 0 ? "finished" : "failed";
    case EXIT_REQUEUE: return "requeue";
    case EXIT_INTERNAL:
    case EXIT_DIFFERS: return "retry";
    default: return "failed";
    }
}

bool run_is_alive(const struct jdoc *status)
{
    const char *verdict = jdoc_as_text(jdoc_get(status, "verdict"));

    return verdict != NULL && strcmp(verdict, "running") == 0;
}

static bool has(const char *output_dir, const char *name)
{
    char path[FILE_PATH_BYTES_MAX];

    if (file_path(path, output_dir, name) != ERR_OK) {
        err_clear();
        return false;
    }
    return file_exists(path);
}

/* NULL if there is none, or none that can be read: a status never fails for one file. */
static struct jdoc *read_doc(const char *output_dir, const char *name)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;

    if (file_path(path, output_dir, name) != ERR_OK || jdoc_read(path, &doc) != ERR_OK) {
        err_clear();
        return NULL;
    }
    return doc;
}

static struct jsonl_tail read_tail(const char *output_dir, const char *name)
{
    struct jsonl_tail tail = {.text = NULL};
    char path[FILE_PATH_BYTES_MAX];

    if (file_path(path, output_dir, name) != ERR_OK ||
        jsonl_tail_read(path, TAIL_BYTES, &tail) != ERR_OK) {
        err_clear();
    }
    return tail;
}

static void copy_ints(const struct jdoc *from, const char *const *keys, int count, struct jdoc *to)
{
    for (int i = 0; i < count; i++) {
        if (jdoc_is_int(jdoc_get(from, keys[i]))) {
            jdoc_set_int(to, keys[i], jdoc_as_int(jdoc_get(from, keys[i])));
        }
    }
}

static void copy_text(const struct jdoc *from, const char *key, struct jdoc *to)
{
    const char *text = jdoc_as_text(jdoc_get(from, key));

    if (text != NULL) {
        jdoc_set_text(to, key, text);
    }
}

static int64_t int_of(const struct jdoc *doc, const char *key, int64_t otherwise)
{
    return jdoc_is_int(jdoc_get(doc, key)) ? jdoc_as_int(jdoc_get(doc, key)) : otherwise;
}

/* "process 4711 on node07" */
static void describe_launch(const char *output_dir, struct jdoc *status)
{
    char path[FILE_PATH_BYTES_MAX];
    char text[320] = "", host[256] = "";
    struct jdoc *launch = NULL;
    struct file_map map;
    int process = 0;

    if (file_path(path, output_dir, RUN_HOLDER_LAUNCH_FILE) != ERR_OK ||
        file_map(path, &map) != ERR_OK) {
        err_clear();
        return;
    }
    memcpy(text, map.bytes, map.count < sizeof(text) ? map.count : sizeof(text) - 1);
    file_unmap(&map);
    if (sscanf(text, "process %d on %255s", &process, host) == 2) {
        launch = jdoc_object();
        jdoc_set_int(launch, "process", process);
        jdoc_set_text(launch, "host", host);
        jdoc_set(status, "launch", launch);
    }
}

/* Which stage step `step` is of, and how long all are. */
static void describe_stages(const struct jdoc *holder, int64_t step, double samples_per_s,
                            struct jdoc *status)
{
    const struct jdoc *stages = jdoc_get(holder, "stages");
    const int64_t max_steps = int_of(holder, "max_steps", -1);
    int64_t before = 0, total = 0;
    bool is_found = false;

    for (size_t s = 0; s < jdoc_count(stages); s++) {
        const struct jdoc *stage = jdoc_at(stages, s);
        const int64_t steps = int_of(stage, "steps", 0);
        const int64_t batch = int_of(stage, "train_batch_size", 0);
        total += steps;
        if (is_found || step < 1 || (step > total && s + 1 < jdoc_count(stages))) {
            before = total;
            continue;
        }
        is_found = true;
        copy_text(stage, "stage", status);
        jdoc_set_int(status, "stage_step", step - before);
        jdoc_set_int(status, "stage_steps", steps);
        if (batch > 0 && samples_per_s > 0) {
            jdoc_set_real(status, "steps_per_s", samples_per_s / (double)batch);
        }
    }
    if (total > 0) {
        jdoc_set_int(status, "steps", max_steps >= 0 && max_steps < total ? max_steps : total);
    }
}

/* The newest step, and how fast the last ones were. */
static void describe_steps(const char *output_dir, const struct jdoc *holder, struct jdoc *status)
{
    struct jsonl_tail tail = read_tail(output_dir, "metrics.jsonl");
    char stage[32] = "";
    double slowness = 0; /* sum of seconds a sample */
    int64_t step = -1;
    int count = 0;

    for (struct jdoc *line = NULL;
         count < SPEED_STEPS && (line = jsonl_tail_previous(&tail)) != NULL; count++) {
        const char *name = jdoc_as_text(jdoc_get(line, "stage"));
        const double samples_per_s = jdoc_as_real(jdoc_get(line, "samples_per_s"));
        if (count == 0) {
            step = int_of(line, "step", -1);
            snprintf(stage, sizeof(stage), "%s", name == NULL ? "" : name);
            jdoc_set_int(status, "step", step);
            copy_text(line, "stage", status);
            jdoc_set_real(status, "loss", jdoc_as_real(jdoc_get(line, "loss")));
            jdoc_set_real(status, "accuracy", jdoc_as_real(jdoc_get(line, "accuracy")));
            jdoc_set_real(status, "step_age_s", tail.age_s);
        }
        const bool counts = name != NULL && strcmp(name, stage) == 0 && samples_per_s > 0;
        jdoc_close(line);
        if (!counts) {
            break;
        }
        slowness += 1 / samples_per_s;
    }
    jsonl_tail_release(&tail);
    if (slowness > 0) {
        jdoc_set_real(status, "samples_per_s", count / slowness);
    }
    describe_stages(holder, step, slowness > 0 ? count / slowness : 0, status);
}

/* The newest snapshot that rank 0 told of. Its age is told by later events of the same start alone. */
static void describe_memory(const char *output_dir, struct jdoc *status)
{
    struct jsonl_tail tail = read_tail(output_dir, "events.jsonl");
    struct jdoc *event = NULL;
    double newest_s = -1;

    for (int i = 0; i < EVENTS_MAX && (event = jsonl_tail_previous(&tail)) != NULL; i++) {
        const char *name = jdoc_as_text(jdoc_get(event, "event"));
        const char *from = jdoc_as_text(jdoc_get(event, "from"));
        const double at_s = jdoc_as_real(jdoc_get(event, "at_s"));
        const bool is_snapshot =
            name != NULL &&
            (strcmp(name, "snapshot.committed") == 0 ||
             (strcmp(name, "run.resumed") == 0 && from != NULL && strcmp(from, "memory") == 0));
        newest_s = i == 0 ? at_s : newest_s;
        if (is_snapshot) {
            const int64_t step = int_of(event, "step", -1);
            const bool is_newest = step >= int_of(status, "memory_step", -1);
            if (is_newest) {
                jdoc_set_int(status, "memory_step", step);
            }
            if (is_newest && at_s <= newest_s) {
                jdoc_set_real(status, "memory_age_s", tail.age_s + newest_s - at_s);
            }
        }
        jdoc_close(event);
        if (is_snapshot) {
            break;
        }
    }
    jsonl_tail_release(&tail);
}

static void describe_disk(const char *output_dir, struct jdoc *status)
{
    const int64_t step = snap_disk_newest(output_dir);
    char path[FILE_PATH_BYTES_MAX];
    char name[64];
    struct stat info;

    if (step < 0) {
        return;
    }
    jdoc_set_int(status, "checkpoint_step", step);
    snprintf(name, sizeof(name), "checkpoint-%" PRId64 "/manifest.json", step);
    if (file_path(path, output_dir, name) != ERR_OK) {
        err_clear();
    } else if (stat(path, &info) == 0) {
        const double age_s = difftime(time(NULL), info.st_mtime);
        jdoc_set_real(status, "checkpoint_age_s", age_s < 0 ? 0 : age_s);
    }
}

/* What ranks told of a start under launch, if they are on this machine. */
static void describe_pages(const char *output_dir, bool rank_lives, struct jdoc *status)
{
    static const char *const names[PROGRESS_PHASES] = {"",        "joining",         "opening",
                                                       "loading", "opening a stage", "training",
                                                       "saving",  "evaluating",      "leaving"};
    const int64_t rank_count = int_of(status, "ranks", 0);
    int64_t step = int_of(status, "step", -1), kept = -1;
    char folder[FILE_PATH_BYTES_MAX];
    struct progress told;

    if (progress_folder(output_dir, folder) != ERR_OK) {
        err_clear();
        return;
    }
    if (file_exists(folder)) {
        jdoc_set_text(status, "pages", folder);
    }
    for (int r = 0; rank_lives && r < (int)rank_count; r++) {
        struct progress_view *view = NULL;
        if (progress_view_open(folder, r, &view) != ERR_OK) {
            err_clear();
            return; /* that one is elsewhere, or has not begun */
        }
        if (progress_view_read(view, &told)) {
            if (r == 0) {
                jdoc_set_text(status, "phase", names[told.phase]);
            }
            step = told.step > step ? told.step : step;
            kept = told.kept > kept ? told.kept : kept;
        }
        progress_view_close(view);
    }
    if (step >= 0) {
        jdoc_set_int(status, "step", step);
    }
    if (kept > int_of(status, "checkpoint_step", -1)) { /* it may be committed, or on disk */
        jdoc_set_int(status, "memory_step", kept);
    }
}

static void describe_ask(const char *output_dir, struct run_signs *signs, struct jdoc *status)
{
    struct halt_ask ask;

    if (halt_ask_read(output_dir, &ask) != ERR_OK) {
        err_clear();
        return;
    }
    signs->is_asked = ask.after_step <= int_of(status, "step", -1) + 1;
    jdoc_set_int(status, "halt_after_step", ask.after_step);
    jdoc_set_text(status, "halt_by", ask.who);
}

/* What to type, or to wait for. */
static void describe_next(const char *output_dir, const char *state, const struct jdoc *summary,
                          struct jdoc *status)
{
    const char *told = jdoc_as_text(jdoc_get(summary, "next"));
    char text[FILE_PATH_BYTES_MAX + 128];

    if (run_is_alive(status)) {
        const bool is_asked = strcmp(state, "halting") == 0;
        snprintf(text, sizeof(text),
                 is_asked ? "it saves and ends; offramp halt %s --wait S waits for that"
                          : "offramp halt %s asks it to save and end",
                 output_dir);
    } else if (strcmp(state, "finished") == 0) {
        snprintf(text, sizeof(text), "offramp eval %s", output_dir);
    } else if (strcmp(state, "not_begun") == 0) {
        snprintf(text, sizeof(text), "offramp train RECIPE --output-dir %s", output_dir);
    } else if (told != NULL) {
        snprintf(text, sizeof(text), "%s", told);
    } else if (strcmp(state, "halted") == 0 || strcmp(state, "lost") == 0) {
        snprintf(text, sizeof(text), "the same command goes on from what is saved");
    } else {
        snprintf(text, sizeof(text), "put right what the line says; then the same command");
    }
    jdoc_set_text(status, "next", text);
}

static bool is_run(const char *output_dir)
{
    static const char *const names[] = {"config.resolved.yaml", TRAIN_SUMMARY_FILE,
                                        RUN_HOLDER_FILE,        RUN_HOLDER_START_FILE,
                                        RUN_HOLDER_LAUNCH_FILE, "incarnation"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (has(output_dir, names[i])) {
            return true;
        }
    }
    return snap_disk_newest(output_dir) >= 0;
}

static enum err check_folder(const char *output_dir)
{
    struct stat info;

    if (stat(output_dir, &info) != 0) {
        return ERR_FAIL(errno == ENOENT || errno == ENOTDIR ? ERR_MISSING : ERR_IO, "%s: %s",
                        output_dir, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode) || !is_run(output_dir)) {
        return ERR_FAIL(ERR_MISSING, "%s: no output_dir of a run", output_dir);
    }
    return ERR_OK;
}

/* Who runs it, which has to be asked before anything that a run leaves at its end. */
static void look_for_life(const char *output_dir, struct run_signs *signs)
{
    signs->launch_lives = run_holder_lives(output_dir, RUN_HOLDER_LAUNCH_FILE);
    signs->start_lives = run_holder_lives(output_dir, RUN_HOLDER_START_FILE);
    signs->rank_lives = run_holder_lives(output_dir, RUN_HOLDER_FILE);
}

static void describe(const char *output_dir, struct jdoc *status)
{
    static const char *const of_holder[] = {"process", "since", "incarnation", "ranks"};
    struct run_losses losses;
    struct run_signs signs = {0};

    look_for_life(output_dir, &signs);
    struct jdoc *holder = read_doc(output_dir, RUN_HOLDER_FILE);
    struct jdoc *summary = read_doc(output_dir, TRAIN_SUMMARY_FILE);
    if (signs.launch_lives) {
        describe_launch(output_dir, status);
    }
    copy_ints(holder, of_holder, 4, status);
    copy_text(holder, "host", status);
    jdoc_set_bool(status, "rank_lives", signs.rank_lives);
    describe_steps(output_dir, holder, status);
    describe_disk(output_dir, status);
    describe_pages(output_dir, signs.rank_lives, status);
    if (is_alive(&signs)) {
        describe_ask(output_dir, &signs, status);
    } else {
        static const char *const of_summary[] = {"exit_code", "step"};
        copy_ints(summary, of_summary, 2, status);
        copy_text(summary, "error", status);
    }
    jdoc_set(status, "losses", run_losses_read(output_dir, &losses));
    if (losses.restarts >= 0) {
        jdoc_set_int(status, "restarts", losses.restarts);
    }
    signs.is_between = losses.is_between;
    signs.has_begun = jdoc_get(status, "step") != NULL || has(output_dir, "incarnation");
    signs.summary = jdoc_as_text(jdoc_get(summary, "verdict"));
    signs.exit_code = (int)int_of(summary, "exit_code", EXIT_INTERNAL);
    const char *state = run_state_of(&signs);
    jdoc_set_text(status, "state", state);
    jdoc_set_text(status, "verdict", run_verdict_of(&signs));
    if (strcmp(state, "finished") != 0 && strcmp(state, "halted") != 0) {
        describe_memory(output_dir, status); /* else it is given back */
    }
    describe_next(output_dir, state, summary, status);
    jdoc_close(summary);
    jdoc_close(holder);
}

enum err run_status(const char *output_dir, struct jdoc **doc_out)
{
    char plain[FILE_PATH_BYTES_MAX]; /* without slashes at its end */
    size_t length = strlen(output_dir);

    while (length > 1 && output_dir[length - 1] == '/') {
        length--;
    }
    if (length >= sizeof(plain)) {
        return ERR_FAIL(ERR_INVALID, "a path of %zu bytes", length);
    }
    memcpy(plain, output_dir, length);
    plain[length] = '\0';
    ERR_TRY(check_folder(plain));
    struct jdoc *status = jdoc_object();
    jdoc_set_text(status, "path", plain);
    describe(plain, status);
    *doc_out = status;
    return ERR_OK;
}
