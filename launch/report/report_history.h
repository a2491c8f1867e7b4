/*
 * launch/report/report_history.h - the events of a run, of rank 0 and of its supervisor, on one clock.
 *
 * events.jsonl counts seconds anew in every start, supervisor.jsonl in every supervisor. Supervisors of one
 * machine are put together by its monotonic clock. A start is put where its supervisor tells of it: a start that went
 * on from step S where the job was recovered from S; the first where the first job was started. What nothing is told
 * of begins when the one before it ended.
 *
 * Threads: any.
 */
#ifndef LAUNCH_REPORT_REPORT_HISTORY_H
#define LAUNCH_REPORT_REPORT_HISTORY_H

#include "comm/base/err.h"
#include "launch/report/report_run.h"

enum report_happening {
    REPORT_OTHER,
    REPORT_SNAPSHOT,
    REPORT_CHECKPOINT,
    REPORT_SAVE_FAILED,
    REPORT_LOSS,
    REPORT_RECOVERY,
    REPORT_HALT,
};

struct report_moment {
    enum report_happening kind;
    double at_s;              /* since the first of them began */
    double step;              /* NaN: of none */
    int start;                /* of the run, from 0, of an event of rank 0; -1: a supervisor's */
    const struct jdoc *event; /* lent by the run */
};

struct report_history {
    struct report_moment *moments; /* [count], by time */
    int count;
};

/* End it with report_history_release(). Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err report_history_find(const struct report_run *run,
                                            struct report_history *history_out);
void report_history_release(struct report_history *history);

#endif
