/*
 * launch/supervisor/supervisor_output.h - what a job says: passed on as it comes, the last lines kept,
 * and what mpirun says of the first process that failed, understood.
 *
 * Threads: one.
 */
#ifndef LAUNCH_SUPERVISOR_OUTPUT_H
#define LAUNCH_SUPERVISOR_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

enum { OUTPUT_LINE_BYTES = 512 };

/* Who failed first, in the words of Open MPI's mpirun. */
struct output_blame {
    int rank;       /* -1: not said */
    char host[256]; /* "": not said */
    int signal;     /* 0: not said */
};

struct output {
    int to;                            /* where it is passed on to; -1: nowhere */
    char line[OUTPUT_LINE_BYTES];      /* the one that is coming in, as far as it fits */
    size_t length;                     /* of it, what does not fit included */
    char last[OUTPUT_LINE_BYTES];      /* the last whole line of a rank */
    char complaint[OUTPUT_LINE_BYTES]; /* the last that begins with "offramp:" */
    bool in_notice;                    /* between two dashed lines, where mpirun speaks */
    struct output_blame blame;
};

void output_init(struct output *output, int to);

/* Passes the bytes on, and looks at their lines. What cannot be written is dropped. */
void output_take(struct output *output, const char *bytes, size_t count);

/* What a line says of who failed; fills what it says and leaves the rest. */
void output_blame(const char *line, struct output_blame *blame);

#endif
