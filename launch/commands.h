/*
 * launch/commands.h - the sub-commands of offramp: each parses its own arguments, does the
 * work and returns the exit code of the process (exit_code.h).
 */
#ifndef LAUNCH_COMMANDS_H
#define LAUNCH_COMMANDS_H

#include "launch/arguments.h"
#include "launch/options.h"

int command_train(int argc, char **argv);  /* train a run, or go on with it */
int command_launch(int argc, char **argv); /* start a run's ranks, and again when they are lost */
int command_drill(int argc, char **argv);  /* rehearse recovery, with a verdict */
int command_drill_agent(int argc, char **argv); /* reaches a node of a drill, as ssh does */
int command_status(int argc, char **argv);      /* tell how a run does, from its files */
int command_top(int argc, char **argv);         /* the same until it ends */
int command_halt(int argc, char **argv);        /* ask a run to save and end */
int command_report(int argc, char **argv);      /* write a page of runs, for people */
int command_eval(int argc, char **argv);        /* evaluate a run's newest checkpoint */
int command_predict(int argc, char **argv);     /* predict with a network that stops early */
int command_generate(int argc, char **argv);    /* write texts by a language model */
int command_export(int argc, char **argv);      /* write a network as files of other tools */
int command_config(int argc, char **argv);      /* check settings, print them, or their reference */
int command_keeper(int argc, char **argv);      /* keep a job's snapshots on this node */
int command_verify(int argc, char **argv);      /* check a checkpoint against its manifest */
int command_inspect(int argc, char **argv); /* tell what a checkpoint, a run or its memory holds */

/*
 * The settings that `offramp train` has of this command line. Ends the program after a wrong one.
 * The options lend texts of `sets`: end them with options_close(), then that with
 * arguments_close(). Errors: as options_load().
 */
ERR_MUST_CHECK enum err train_options_load(int argc, char **argv, struct arguments_sets *sets,
                                           struct options_run **options_out);

#define OFFRAMP_VERSION "0.1.0"

#endif
