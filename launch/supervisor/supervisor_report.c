#define _GNU_SOURCE
#include "launch/supervisor/supervisor_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "launch/exit_code.h"
#include "launch/train_loop.h"
#include "snapshot/snap_disk.h"

struct report {
    FILE *events; /* NULL after a failure */
    char *output_dir;
    int64_t start_ns;
};

enum err report_open(const char *output_dir, int64_t start_ns, struct report **report_out)
{
    struct report *report = calloc(1, sizeof(*report));
    char path[FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;

    if (report == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a report");
    }
    report->start_ns = start_ns;
    report->output_dir = strdup(output_dir);
    ERR_GOTO(err_close, status, file_path(path, output_dir, "supervisor.jsonl"));
    report->events = fopen(path, "ae");
    if (report->events == NULL || report->output_dir == NULL) {
        status = ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
        goto err_close;
    }
    *report_out = report;
    return ERR_OK;

err_close:
    report_close(report);
    return status;
}

void report_close(struct report *report)
{
    if (report == NULL) {
        return;
    }
    if (report->events != NULL) {
        fclose(report->events);
    }
    free(report->output_dir);
    free(report);
}

static double since_start_s(const struct report *report, int64_t ns)
{
    return 1e-9 * (double)(ns - report->start_ns);
}

void report_event(struct report *report, const char *name, struct jdoc *details)
{
    struct jdoc *event = details == NULL ? jdoc_object() : details;
    char *text = NULL;

    jdoc_set_text(event, "event", name);
    jdoc_set_real(event, "at_s", since_start_s(report, clock_now_ns()));
    if (jdoc_text(event, 0, &text) != ERR_OK) {
        err_clear();
    } else if (report->events != NULL &&
               (fprintf(report->events, "%s\n", text) < 0 || fflush(report->events) != 0)) {
        report_line("supervisor.jsonl cannot be written to (%s): no more of it", strerror(errno));
        fclose(report->events);
        report->events = NULL;
    }
    free(text);
    jdoc_close(event);
}

void report_line(const char *format, ...)
{
    char text[1024];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    fprintf(stderr, "offramp launch: %s\n", text);
}

static void describe_end(const struct report_loss *loss, char *text, size_t text_bytes)
{
    const struct job_end *end = &loss->end;

    if (loss->node != NULL) {
        snprintf(text, text_bytes, "it does not answer");
    } else if (loss->hung_ms > 0) {
        snprintf(text, text_bytes, "silent for %.1f s", 1e-3 * (double)loss->hung_ms);
    } else if (end->rank_signal < 0) {
        snprintf(text, text_bytes, "it died");
    } else if (end->rank_signal > 0) {
        snprintf(text, text_bytes, "signal %d, %s", end->rank_signal, strsignal(end->rank_signal));
    } else {
        snprintf(text, text_bytes, "exit code %d", end->code);
    }
}

void report_loss_text(const struct report_loss *loss, char *text, size_t text_bytes)
{
    const struct job_end *end = &loss->end;
    char who[320] = "the job";
    char when[64] = "before its first step";
    char how[96];

    if (loss->node != NULL) {
        snprintf(who, sizeof(who), "node %s", loss->node);
    } else if (end->rank >= 0) {
        snprintf(who, sizeof(who), "rank %d (%s)", end->rank, end->host);
    }
    if (loss->step >= 0) {
        snprintf(when, sizeof(when), "at step %" PRId64, loss->step);
    }
    describe_end(loss, how, sizeof(how));
    snprintf(text, text_bytes, "%s %s %s (%s)", who,
             loss->hung_ms > 0                      ? "hung"
             : loss->node != NULL || end->rank >= 0 ? "gone"
                                                    : "ended",
             when, how);
}

/* What is common to the event and the summary. */
static void set_loss(struct jdoc *doc, const struct report_loss *loss)
{
    const struct job_end *end = &loss->end;

    jdoc_set_int(doc, "step", loss->step);
    if (loss->node != NULL) {
        jdoc_set_text(doc, "node", loss->node);
        return;
    }
    if (end->rank >= 0) {
        jdoc_set_int(doc, "rank", end->rank);
    }
    jdoc_set_text(doc, "host", end->host);
    if (loss->hung_ms > 0) {
        jdoc_set_real(doc, "silent_s", 1e-3 * (double)loss->hung_ms);
    } else if (end->rank_signal != 0) {
        jdoc_set_int(doc, "signal", end->rank_signal);
    } else {
        jdoc_set_int(doc, "code", end->code);
    }
}

void report_lost(struct report *report, const struct report_loss *loss,
                 const struct supervisor_state *state, int64_t now_ms)
{
    struct jdoc *details = jdoc_object();
    char text[512];
    char then[96] = "";

    report_loss_text(loss, text, sizeof(text));
    if (state->phase == SUPERVISOR_RUNNING) {
        snprintf(then, sizeof(then), "; starting again");
    } else if (state->phase == SUPERVISOR_WAITING) {
        snprintf(then, sizeof(then), "; starting again %s %.1f s",
                 state->waits_for_node ? "when a node is back, within" : "in",
                 1e-3 * (double)(state->until_ms - now_ms));
    }
    report_line("%s%s%s", text, loss->end.mpirun_hung ? "; mpirun hung, and was killed" : "", then);
    set_loss(details, loss);
    jdoc_set_int(details, "kept", state->kept);
    jdoc_set_bool(details, "mpirun_hung", loss->end.mpirun_hung);
    jdoc_set_int(details, "restarts", state->restart_count);
    jdoc_set_real(details, "noticed_at_s", since_start_s(report, loss->noted_ns));
    jdoc_set_text(details, "line", loss->end.line);
    report_event(report, "job.lost", details);
}

void report_recovered(struct report *report, const struct report_loss *loss,
                      const struct progress *first, int64_t over_ns, int64_t launched_ns)
{
    const int64_t *since = first->since_ns;
    const int64_t redone = loss->furthest > first->from ? loss->furthest - first->from : 0;
    const int64_t marks[] = {loss->since_ns,
                             loss->noted_ns,
                             over_ns,
                             launched_ns,
                             since[PROGRESS_BEGUN],
                             since[PROGRESS_JOINED],
                             since[PROGRESS_OPENED],
                             since[PROGRESS_RESUMED],
                             first->first_step_ns};
    static const char *const names[] = {"lost_again_s", "teardown_s", "wait_s", "mpirun_s",
                                        "join_s",       "open_s",     "load_s", "first_step_s"};
    const double down_s = 1e-9 * (double)(first->first_step_ns - loss->since_ns);
    struct jdoc *details = jdoc_object();

    report_line("going on from step %" PRId64 " after %.2f s; %" PRId64 " steps redone",
                first->from, down_s, redone);
    jdoc_set_int(details, "from", first->from);
    jdoc_set_int(details, "redone", redone);
    jdoc_set_real(details, "down_s", down_s);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        jdoc_set_real(details, names[i], 1e-9 * (double)(marks[i + 1] - marks[i]));
    }
    jdoc_set_real(details, "first_step_at_s", since_start_s(report, first->first_step_ns));
    report_event(report, "job.recovered", details);
}

/* Why it is over, and what the user does about it. */
static void explain(const struct supervisor_action *finish, const struct supervisor_state *state,
                    char *why, size_t why_bytes, const char **next_out)
{
    const char *next = "the same command goes on from what is saved";

    snprintf(why, why_bytes, "exit code %d", finish->code);
    switch (finish->verdict) {
    case SUPERVISOR_NO_PROGRESS:
        snprintf(why, why_bytes, "%d starts in a row kept no new step", state->stalls);
        next = "find out why in the lines above; then the same command goes on from what is saved";
        break;
    case SUPERVISOR_RESTARTS_USED_UP:
        snprintf(why, why_bytes, "started again %d times, %d an hour are allowed",
                 state->restart_count, state->limits.restarts_per_hour);
        next = "the same command goes on from what is saved; --max-restarts allows more";
        break;
    case SUPERVISOR_TOO_FEW_NODES:
        snprintf(why, why_bytes, "fewer than %d nodes are left", state->limits.nodes_min);
        break;
    case SUPERVISOR_BEYOND_REPAIR: next = "--set resume_from_checkpoint=none begins anew"; break;
    case SUPERVISOR_FAILED:
        next = finish->code == EXIT_IO ? "make room, or the disk writable; then the same command"
               : finish->code == EXIT_DO_NOT_RESTART
                   ? "change what makes the numbers grow, a learning rate say; the same run would "
                     "fail again"
                   : "put right what the line says; then the same command";
        break;
    case SUPERVISOR_DONE:
    case SUPERVISOR_HALTED:
    case SUPERVISOR_LEFT:
    case SUPERVISOR_IS_REFUSED: break;
    }
    *next_out = next;
}

static void print_block(const struct report *report, const struct supervisor_state *state,
                        const struct report_loss *loss, const char *why, const char *next)
{
    const int64_t on_disk = snap_disk_newest(report->output_dir);
    char text[512];

    report_line("the run has failed: %s", why);
    if (loss != NULL) {
        report_loss_text(loss, text, sizeof(text));
        fprintf(stderr, "  first to fail  %s\n", text);
    }
    if (loss != NULL && loss->end.line[0] != '\0') {
        fprintf(stderr, "  last line      %s\n", loss->end.line);
    }
    fprintf(stderr, "  saved          ");
    if (on_disk >= 0) {
        fprintf(stderr, "%s/checkpoint-%" PRId64, report->output_dir, on_disk);
    }
    if (state->kept > on_disk) {
        fprintf(stderr, "%sstep %" PRId64 " in memory, which the keeper writes to disk",
                on_disk >= 0 ? "; " : "", state->kept);
    }
    fprintf(stderr, "%s\n  next           %s\n",
            on_disk < 0 && state->kept < 0 ? "nothing yet" : "", next);
}

/* One that was there before, of a run that this one was refused to touch, is left. */
static bool may_replace(const char *path)
{
    struct jdoc *doc = NULL;

    if (jdoc_read(path, &doc) != ERR_OK) { /* there is none, or nothing that can be read */
        err_clear();
        return true;
    }
    const char *verdict = jdoc_as_text(jdoc_get(doc, "verdict"));
    const bool may = verdict != NULL && strcmp(verdict, "failed") == 0;
    jdoc_close(doc);
    return may;
}

static void write_summary(const struct report *report, const struct supervisor_action *finish,
                          const struct supervisor_state *state, const struct report_loss *loss,
                          const char *why, const char *next)
{
    const int64_t on_disk = snap_disk_newest(report->output_dir);
    struct jdoc *summary = jdoc_object();
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;

    jdoc_set_text(summary, "verdict", supervisor_verdict_name(finish->verdict));
    jdoc_set_int(summary, "exit_code", finish->code);
    jdoc_set_text(summary, "error", why);
    jdoc_set_int(summary, "restarts", state->restart_count);
    if (loss != NULL) {
        struct jdoc *first = jdoc_object();
        set_loss(first, loss);
        jdoc_set_text(first, "line", loss->end.line);
        jdoc_set(summary, "first_failure", first);
    }
    jdoc_set_int(summary, "kept_step", state->kept);
    jdoc_set_int(summary, "checkpoint_step", on_disk);
    jdoc_set_text(summary, "next", next);
    enum err status = jdoc_text(summary, 2, &text);
    if (status == ERR_OK) {
        status = file_path(path, report->output_dir, TRAIN_SUMMARY_FILE);
    }
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    if (status != ERR_OK) {
        exit_code_report(status);
    }
    free(text);
    jdoc_close(summary);
}

void report_finish(struct report *report, const struct supervisor_action *finish,
                   const struct supervisor_state *state, const struct report_loss *loss,
                   bool claimed)
{
    const bool is_good = finish->verdict == SUPERVISOR_DONE;
    const bool is_asked =
        finish->verdict == SUPERVISOR_HALTED || finish->verdict == SUPERVISOR_LEFT;
    struct jdoc *details = jdoc_object();
    char path[FILE_PATH_BYTES_MAX];
    char why[160];
    const char *next = NULL;

    explain(finish, state, why, sizeof(why), &next);
    jdoc_set_text(details, "verdict", supervisor_verdict_name(finish->verdict));
    jdoc_set_int(details, "exit_code", finish->code);
    jdoc_set_int(details, "restarts", state->restart_count);
    jdoc_set_int(details, "kept", state->kept);
    report_event(report, "run.over", details);
    if (is_asked) {
        report_line("%s, newest step that is kept: %" PRId64,
                    finish->verdict == SUPERVISOR_LEFT ? "left" : "halted", state->kept);
    } else if (!is_good) {
        print_block(report, state, loss, why, next);
    } else if (state->restart_count > 0) {
        report_line("finished, after %d restarts", state->restart_count);
    }
    if (file_path(path, report->output_dir, TRAIN_SUMMARY_FILE) != ERR_OK) {
        err_clear();
    } else if (!is_good && (is_asked ? !file_exists(path) : claimed || may_replace(path))) {
        write_summary(report, finish, state, loss, why, next);
    }
}
