/*
 * launch/halt.h - the wish that a run should halt, told by a signal or by a file.
 *
 * SIGUSR1, SIGUSR2, SIGTERM and SIGINT ask for it, and so does OUT/halt, which `offramp halt` writes:
 * the run finishes its step, saves, and ends with exit code 75. One rank that was told is enough
 * (step_vote()). A second SIGINT ends the process at once.
 *
 *      {"after_step": 500, "process": 4711, "host": "node07", "user": 1000, "at": 1795683600}
 *
 * "after_step" may be left out: after the step under way. So says any file of that name, an empty
 * one too. It asks the start of the run that is under way: it is removed by who halts or finishes, and
 * one that is there when a run begins is removed by who begins it, with a line: `offramp launch`, or
 * rank 0 where there is none. No clock decides; a start that launch makes after a loss is no
 * beginning, and is asked as the one before was.
 *
 * Threads: the step's; halt_is_wanted() any.
 */
#ifndef LAUNCH_HALT_H
#define LAUNCH_HALT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/base/err.h"

#define HALT_FILE "halt"

/* Listens for those signals from now on, in place of whoever did before. */
void halt_listen(void);

/* Whether this process was told to halt. */
bool halt_is_wanted(void);

struct halt_ask {
    int64_t after_step; /* -1: the step under way */
    char who[320];      /* "process 4711 on node07", "" if it does not say so */
};

/* Asks the run of output_dir; replaces an earlier ask. Errors: ERR_IO. */
ERR_MUST_CHECK enum err halt_ask(const char *output_dir, int64_t after_step);

/* Errors: ERR_MISSING if nobody asks. */
ERR_MUST_CHECK enum err halt_ask_read(const char *output_dir, struct halt_ask *ask_out);

/* Whether there was one. */
bool halt_ask_remove(const char *output_dir);

/*
 * On rank 0 alone, of which on others nothing comes: halt_begin() before anything costly, when an
 * ask that is there already is an old one; halt_watch() once the folder is this start's.
 */
void halt_begin(const char *output_dir);
void halt_watch(void);

/*
 * Before each step, that will be number `step`: whether the ask is for it, which halt_is_wanted()
 * then tells. Returns an ask that was not known yet, else NULL. Looks at the file each 200 ms, which
 * costs 2 us; the other calls 70 ns.
 */
const struct halt_ask *halt_look(int64_t step);

/* The run has halted or finished, all saved: nothing is left to ask for. */
void halt_done(void);

#endif
