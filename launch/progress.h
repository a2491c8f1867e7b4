/*
 * launch/progress.h - how far a rank is, in a page of memory that its supervisor reads.
 *
 * A supervisor names a folder on each node in OFFRAMP_PROGRESS; a rank that finds the variable maps
 * FOLDER/progress-<rank> there, 512 bytes, and stores into it at every step and change of phase:
 * no system call, no message, nobody waits. Without the variable nothing is told. The words, 8
 * bytes each in the order of the machine:
 *
 *      0  magic          4  sequence, odd while   8   kept        12  quiet, ms
 *      1  process           the rest changes      9   from        13  when it told last, ns
 *      2  its start      5  beats: all signs      10  stage       14  when its first step was done
 *      3  incarnation    6  phase   7  step       11  code + 1    15 + phase: when that first began,
 *                                                                     ns; 0: not yet
 *
 * Times are CLOCK_MONOTONIC. A page outlives its rank: that is how it is known who was there, and
 * whether it left by itself.
 *
 * Threads: of a rank, the step's; a view belongs to one thread. The reader is another process.
 */
#ifndef LAUNCH_PROGRESS_H
#define LAUNCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/base/file.h"

#define PROGRESS_VARIABLE "OFFRAMP_PROGRESS"

/* What a rank is at. */
enum progress_phase {
    PROGRESS_BEGUN = 1, /* joining the others */
    PROGRESS_JOINED,    /* opening data and model */
    PROGRESS_OPENED,    /* finding and loading what the run goes on from */
    PROGRESS_RESUMED,   /* opening a stage, and in its first step */
    PROGRESS_STEPS,
    PROGRESS_SAVES, /* while steps wait */
    PROGRESS_EVALUATES,
    PROGRESS_LEAVES,
    PROGRESS_PHASES,
};

/*
 * Where offramp launch has its ranks tell, on each node: a folder in memory that the user and the
 * place of output_dir give its name. Errors: ERR_MISSING if there is no output_dir; ERR_INVALID.
 */
ERR_MUST_CHECK enum err progress_folder(const char *output_dir, char path[FILE_PATH_BYTES_MAX]);

/* Begins to tell, if somebody listens. Never fails: a rank that cannot tell trains all the same. */
void progress_open(int rank);

void progress_phase(enum progress_phase phase);

/* A sign from inside a phase: for every batch of a pass over a data set. Steps give their own. */
void progress_beat(void);

/*
 * So many bytes are read, written or sent now, without a sign until that is done: it may take as
 * long as they do at 20 MB/s, or at mb_per_s_max where that is less and not 0. Until the next sign.
 */
void progress_moves(int64_t bytes, double mb_per_s_max);

/* The state is that of `step`, of start `incarnation` of the run. */
void progress_resumed(uint64_t incarnation, int64_t step);

/* That stage is being opened. */
void progress_stage(int64_t stage);

/* That step is done; the newest that is committed or on disk is `kept`, -1: none. */
void progress_step(int64_t step, int64_t stage, int64_t kept);

/* The last word: the process ends with `code`. */
void progress_left(int code);

/* What a rank told. */
struct progress {
    int process;
    uint64_t start; /* of the process: process_open() */
    uint64_t incarnation, beats;
    enum progress_phase phase;
    int64_t step, stage, kept, from;   /* -1: not known yet; `from`: what the run went on from */
    int code;                          /* it left with; -1: it did not say so */
    int64_t quiet_ms;                  /* it may be silent for so long now: progress_moves() */
    int64_t at_ns;                     /* when it told last */
    int64_t since_ns[PROGRESS_PHASES]; /* when each phase first began; 0: not yet */
    int64_t first_step_ns;             /* when the first step of this start was done; 0: not yet */
};

struct progress_view;

/* Errors: ERR_MISSING if the rank has no page there yet; ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err progress_view_open(const char *folder, int rank,
                                           struct progress_view **view_out);
void progress_view_close(struct progress_view *view); /* NULL is allowed */

/* False if the page is being written to all the time, or no rank has begun to. */
bool progress_view_read(const struct progress_view *view, struct progress *progress_out);

/*
 * Removes the pages of ranks that run no more, and the folder, if nothing else is there. Ranks may
 * begin meanwhile.
 */
void progress_tidy(const char *folder);

#endif
