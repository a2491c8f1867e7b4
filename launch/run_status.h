/*
 * launch/run_status.h - how a run does, told from the files of its output_dir alone, and on the machine
 * that it is on also from the pages of its ranks. Looks only, and costs some hundred KiB of reading
 * however long the run is.
 *
 *      {"path", "state", "verdict", "next",
 *       "launch": {"process", "host"}, of one that lives,
 *       "process", "host", "since", "incarnation", "ranks", of the newest start: "rank_lives": true,
 *       "step", "steps", "stage", "stage_step", "stage_steps", "loss", "accuracy",
 *       "steps_per_s", "samples_per_s", "step_age_s", "phase", "pages": folder of the ranks', here,
 *       "memory_step", "memory_age_s", "checkpoint_step", "checkpoint_age_s",
 *       "halt_after_step", "halt_by", "restarts", "exit_code", "error",
 *       "losses": [oldest first: {"what", "step", "from", "down_s"}]}
 *
 * What is not known is left out. Ages compare the clock of this machine with that of the disk.
 *
 * Threads: main's.
 */
#ifndef LAUNCH_RUN_STATUS_H
#define LAUNCH_RUN_STATUS_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"

/* What is seen of a run. */
struct run_signs {
    bool launch_lives;   /* an `offramp launch` has it */
    bool start_lives;    /* rank 0 of some start */
    bool rank_lives;     /* rank 0 of a start that got so far */
    bool is_between;     /* that launch has lost a job, and has not started the next */
    bool is_asked;       /* to halt after the step under way */
    bool has_begun;      /* some start got to training */
    const char *summary; /* "verdict" of summary.json; NULL: there is none */
    int exit_code;       /* and its code */
};

/*
 * One word for people: "starting", "waiting" (for the next start), "running", "halting"; of a run
 * that nobody runs what its summary says, else "lost" or "not_begun".
 */
const char *run_state_of(const struct run_signs *signs);

/*
 * One word for job scripts: "running"; "finished"; "requeue" where docs/exit_codes.md says so; "retry"
 * of a run that was lost, or that that page says to retry; "not_begun"; "failed".
 */
const char *run_verdict_of(const struct run_signs *signs);

/* Whether somebody runs it, as far as can be told from here. */
bool run_is_alive(const struct jdoc *status);

/* The caller closes *doc_out. Errors: ERR_MISSING if there is no run there; ERR_IO, ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err run_status(const char *output_dir, struct jdoc **doc_out);

#endif
