/*
 * launch/commands.h - the sub-commands of offramp: each parses its own arguments, does the
 * work and returns the exit code of the process (exit_code.h).
 */
#ifndef LAUNCH_COMMANDS_H
#define LAUNCH_COMMANDS_H

int command_train(int argc, char **argv);   /* train a run, or go on with it */
int command_eval(int argc, char **argv);    /* evaluate a run's newest checkpoint */
int command_config(int argc, char **argv);  /* check settings, print them, or their reference */
int command_keeper(int argc, char **argv);  /* keep a job's snapshots on this node */
int command_verify(int argc, char **argv);  /* check a checkpoint against its manifest */
int command_inspect(int argc, char **argv); /* tell what a checkpoint, a run or its memory holds */

#define OFFRAMP_VERSION "0.1.0"

#endif
