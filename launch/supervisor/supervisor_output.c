#define _POSIX_C_SOURCE 200809L
#include "launch/supervisor/supervisor_output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void output_init(struct output *output, int to)
{
    *output = (struct output){.to = to, .blame = {.rank = -1}};
}

static void pass_on(int to, const char *bytes, size_t count)
{
    size_t done = 0;

    while (to >= 0 && done < count) {
        const ssize_t written = write(to, bytes + done, count - done);
        if (written < 0 && errno != EINTR) {
            return; /* nobody reads it any more: no reason to end a run */
        }
        done += written > 0 ? (size_t)written : 0;
    }
}

void output_blame(const char *line, struct output_blame *blame)
{
    const char *said = strstr(line, "process rank ");
    struct output_blame found = {.rank = -1};

    /* "mpirun noticed that process rank 3 with PID 0 on node n07 exited on signal 9 (Killed)." */
    if (said != NULL &&
        sscanf(said, "process rank %d with PID %*d on node %255s exited on signal %d", &found.rank,
               found.host, &found.signal) >= 2) {
        *blame = found;
        return;
    }
    /* "  Process name: [[14061,1],3]" */
    said = strstr(line, "Process name: [[");
    if (said != NULL && sscanf(said, "Process name: [[%*d,%*d],%d]", &found.rank) == 1) {
        blame->rank = found.rank;
        return;
    }
    /* "MPI_ABORT was invoked on rank 2 in communicator MPI_COMM_WORLD" */
    said = strstr(line, "MPI_ABORT was invoked on rank ");
    if (said != NULL && sscanf(said, "MPI_ABORT was invoked on rank %d", &found.rank) == 1 &&
        blame->rank < 0) {
        blame->rank = found.rank;
    }
}

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

static void end_line(struct output *output)
{
    const size_t kept =
        output->length < OUTPUT_LINE_BYTES ? output->length : (size_t)OUTPUT_LINE_BYTES - 1;

    output->line[kept] = '\0';
    output->length = 0;
    if (kept > 0 && output->line[kept - 1] == '\r') {
        output->line[kept - 1] = '\0';
    }
    if (begins(output->line, "--------------------")) {
        output->in_notice = !output->in_notice;
        return;
    }
    output_blame(output->line, &output->blame);
    if (output->in_notice || output->line[0] == '\0') {
        return;
    }
    memcpy(output->last, output->line, sizeof(output->last));
    if (begins(output->line, "offramp:")) {
        memcpy(output->complaint, output->line, sizeof(output->complaint));
    }
}

void output_take(struct output *output, const char *bytes, size_t count)
{
    pass_on(output->to, bytes, count);
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            end_line(output);
            continue;
        }
        if (output->length < OUTPUT_LINE_BYTES - 1) {
            output->line[output->length] = bytes[i];
        }
        output->length++;
    }
}
