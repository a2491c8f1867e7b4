/*
 * launch/arguments.h - what the command lines of the sub-commands share: settings, and one
 * voice for N ranks that were called alike.
 *
 * Threads: main's.
 */
#ifndef LAUNCH_ARGUMENTS_H
#define LAUNCH_ARGUMENTS_H

#include <argp.h>
#include <stdint.h>

enum { ARGUMENTS_SETS_MAX = 128 };

/* "key=value" texts for options_load(), in the order they were given. */
struct arguments_sets {
    const char *texts[ARGUMENTS_SETS_MAX];
    int count;
    char *owned[ARGUMENTS_SETS_MAX]; /* those made here */
    int owned_count;
};

/* Parser of --set KEY=VALUE, a child of a command's own; its input is a struct arguments_sets. */
extern const struct argp arguments_set_argp;

/* Adds a setting that has an option of its own. Ends the program if it is too long. */
void arguments_set(struct arguments_sets *sets, struct argp_state *state, const char *key,
                   const char *value);
void arguments_close(struct arguments_sets *sets);

/* A whole number from `least` to `most`. Ends the program after anything else. */
int64_t arguments_number(const char *text, int64_t least, int64_t most, struct argp_state *state);

/*
 * argp_parse(): ends the program with EXIT_USAGE after a wrong call, and with EXIT_DONE after
 * --help. Of the ranks of a job only the first says anything.
 */
void arguments_parse(const struct argp *argp, int argc, char **argv, void *input);

#endif
