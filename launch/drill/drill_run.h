/*
 * launch/drill/drill_run.h - one run under `offramp launch`, with what is to happen to it.
 *
 *      FOLDER/out/        output_dir of the run
 *      FOLDER/launch.log  what launch and the ranks said, over all starts
 *      FOLDER/hosts, fired, fired.done
 *
 * Threads: one.
 */
#ifndef LAUNCH_DRILL_DRILL_RUN_H
#define LAUNCH_DRILL_DRILL_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "launch/drill/drill_nodes.h"
#include "launch/drill/drill_schedule.h"

#define DRILL_OUTPUT "out"
#define DRILL_LOG_FILE "launch.log"

struct drill_options {
    const char *program; /* this one */
    const struct drill_backend *backend;
    const char *vcluster;                       /* the command of a virtual cluster */
    const char *shares[DRILL_NODES_SHARES + 1]; /* folders that its nodes see; NULL at the end */
    const char **train; /* "train", RECIPE and the rest, for every run the same; NULL at the end */
    int ranks, nodes, spares; /* nodes: without the spares; they have the same number of ranks */
    int hang_s;
    int64_t room_bytes;  /* on a disk that is full: less than a checkpoint needs */
    int64_t deadline_ms; /* of a run; each fault more gives it as much again */
};

/* What came of one fault. Times are -1 where there is none. */
struct drill_outcome {
    bool happened;
    char what[192];  /* "rank 3 (process 812) was killed at step 120"; or why nothing happened */
    int64_t at_ns;   /* when it happened */
    int64_t step;    /* the newest then; -1: none */
    double detect_s; /* until launch noticed it */
    double repair_s; /* until the first step of the next start */
    int64_t redone;  /* steps; -1: not known */
    int64_t rebuilt; /* segments of snapshots that were made good; -1: none was taken from memory */
    char wrong[256]; /* what should not have been; "": nothing */
};

struct drill_run_result {
    char failure[512]; /* "": it finished */
    double took_s;
};

/*
 * Runs `what` in the folder, which is there and empty, to its end; outcomes [what->count], of
 * what->faults; all processes are gone then, and memory is removed. Not to finish is a result. Errors:
 * ERR_IO, ERR_NO_MEMORY, ERR_HALTED on a signal.
 */
ERR_MUST_CHECK enum err drill_run(const struct drill_options *options, const char *folder,
                                  const struct drill_case *what, struct drill_outcome outcomes[],
                                  struct drill_run_result *result_out);

/* SIGINT and SIGTERM end a drill, with all it started. To be called once, before. */
void drill_run_listen(void);

#endif
