/*
 * launch/drill/drill_run_priv.h - the state of a run, for what happens to it (drill_inject.c).
 *
 * Threads: one.
 */
#ifndef LAUNCH_DRILL_DRILL_RUN_PRIV_H
#define LAUNCH_DRILL_DRILL_RUN_PRIV_H

#include <sys/types.h>

#include "launch/drill/drill_processes.h"
#include "launch/drill/drill_run.h"
#include "launch/progress.h"

enum drill_phase {
    DRILL_WAITS,  /* for its step or point */
    DRILL_STRUCK, /* it happened; the run has not gone on yet */
    DRILL_PAST,
};

/* How launch is to end; after the last two it is started again. */
enum drill_end { DRILL_ENDS_DONE, DRILL_ENDS_ASKED, DRILL_ENDS_KILLED };

struct drill_run {
    const struct drill_options *options;
    const struct drill_case *what;
    struct drill_outcome *outcomes;
    enum drill_phase *phases;      /* [what->count] */
    struct drill_process *orphans; /* [what->count]; pid 0: none */
    int64_t *kept;                 /* [what->count]; the newest step that was kept by then */
    int *resumed; /* [what->count]; starts that had gone on from something by then */
    struct drill_nodes *nodes;
    bool *is_down; /* [nodes + spares + 1], by number */
    const char *folder;
    char out[FILE_PATH_BYTES_MAX];
    char fired[FILE_PATH_BYTES_MAX];
    char token[64];
    char pages[FILE_PATH_BYTES_MAX]; /* of ranks' progress; "": not known yet */
    struct progress newest;          /* of the rank that is furthest; process 0: none is seen */
    pid_t launch;
    enum drill_end expected;
    int64_t fired_ms;  /* when it was seen that a process is at the point; 0: it was not */
    int64_t looked_ms; /* at nodes that are down */
    int64_t read_ms;   /* files of a run whose pages are not seen */
    int failed_saves;  /* that were told when the disk became full */
};

/*
 * Does fault `i` now. *done_out: false if its victim is not there at this moment. What happened is
 * in the outcome. Errors: ERR_IO and the like: it did not happen, and never will.
 */
ERR_MUST_CHECK enum err drill_inject(struct drill_run *run, int i, bool *done_out);

/*
 * A disk that can be filled, in the place of a folder: memory, in a mount namespace of this process and
 * its children. Errors: ERR_CONFIG where nobody may mount; ERR_IO.
 */
ERR_MUST_CHECK enum err drill_disk_open(const char *folder);
void drill_disk_close(const char *folder); /* what is in it is gone */

/* So that `room_bytes` more can be written; 0: as much as there is memory for. Errors: ERR_IO. */
ERR_MUST_CHECK enum err drill_disk_leave(const char *folder, int64_t room_bytes);

/* What was held at a point goes on. */
void drill_inject_release(const struct drill_run *run);

/* How many events `name` there are in events.jsonl. */
int drill_events_count(const char *output_dir, const char *name);

/* How many nodes may be lost, as the run says at its start; 0: not known, or none. */
int drill_events_survives(const char *folder);

/* The newest event `name` in supervisor.jsonl whose "host" is `host`, or any; -1: none. Its time, ns. */
int64_t drill_events_newest_ns(const char *output_dir, const char *name, const char *host);

/* Whether the newest job was started on node `n`. */
bool drill_events_is_used(const char *output_dir, int n);

/* What starts told that went on from something. */
struct drill_resumed {
    int count;
    int of_memory;   /* of those behind the first `seen` */
    int64_t rebuilt; /* segments, likewise */
};

struct drill_resumed drill_events_resumed(const char *output_dir, int seen);

/* How far a run is, by the files in its output_dir: step, kept, from, and when it last recovered. */
struct progress drill_events_progress(const char *output_dir);

/* Fills in when launch noticed the faults that lose a job, and how many steps were redone. */
void drill_events_measure(const char *output_dir, const struct drill_case *what,
                          struct drill_outcome outcomes[]);

#endif
