/*
 * launch/supervisor/supervisor_report.h - what a supervisor tells: a line on stderr for every event,
 * the same as JSON in OUT/supervisor.jsonl, and at a final failure one block and OUT/summary.json.
 *
 * events.jsonl is rank 0's alone: two writers would need a lock on whatever file system that is.
 *
 * Threads: one.
 */
#ifndef LAUNCH_SUPERVISOR_REPORT_H
#define LAUNCH_SUPERVISOR_REPORT_H

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "launch/supervisor/supervisor_job.h"
#include "launch/supervisor/supervisor_policy.h"

struct report;

/* Appends to OUT/supervisor.jsonl. Errors: ERR_IO, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err report_open(const char *output_dir, int64_t start_ns,
                                    struct report **report_out);
void report_close(struct report *report); /* NULL is allowed */

/* One line of supervisor.jsonl: "event": name, "at_s", and `details` (taken over; may be NULL). */
void report_event(struct report *report, const char *name, struct jdoc *details);

/* One line on stderr, "offramp launch: ...". */
void report_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How a job was lost. */
struct report_loss {
    struct job_end end;
    const char *node; /* that is gone, and the job with it; NULL: none. Lent */
    int64_t hung_ms;  /* it was silent for so long; 0: it did not hang */
    int64_t step;     /* the newest that was done; -1: none */
    int64_t noted_ns; /* when it was noticed */
    int64_t furthest; /* newest step that any job of the run has done; -1: none */
    int64_t since_ns; /* when the first loss was noticed since a step was made */
};

/* "rank 3 (node07) gone at step 812 (signal 9, Killed)" */
void report_loss_text(const struct report_loss *loss, char *text, size_t text_bytes);
void report_lost(struct report *report, const struct report_loss *loss,
                 const struct supervisor_state *state, int64_t now_ms);

/* `first` is what a rank told after its first step; `over_ns`, `launched_ns`: of the job before and
 * of this one. */
void report_recovered(struct report *report, const struct report_loss *loss,
                      const struct progress *first, int64_t over_ns, int64_t launched_ns);

/* The end. `loss`: of the last job, NULL if none was lost; `claimed`: a start got to training. */
void report_finish(struct report *report, const struct supervisor_action *finish,
                   const struct supervisor_state *state, const struct report_loss *loss,
                   bool claimed);

#endif
