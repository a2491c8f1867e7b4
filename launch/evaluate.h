/*
 * launch/evaluate.h - accuracy against compute, of every way to leave early.
 *
 * On the test set, for each lambda's heads and gates:
 *
 *      exit l      everybody leaves at exit l
 *      gate        the learned gates decide
 *      threshold   a free threshold per exit on the largest probability, solved on the
 *                  validation samples for what the gate costs there: the fair baseline
 *      oracle      the exit with the least CE + lambda c; it knows the label
 *
 * Costs are multiply-adds counted from the hard choices (exits_cost.h); milliseconds are
 * of runs that really stop early, on one core, whose choices are compared with the table's.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_EVALUATE_H
#define LAUNCH_EVALUATE_H

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "launch/train_run.h"

/*
 * Evaluates the run as it is. Collective; rank 0 prints the tables to stdout and gets the
 * results as a document, others get NULL. The caller closes *results_out.
 * Errors: those of the parts; ERR_NOT_FINITE.
 */
ERR_MUST_CHECK enum err evaluate(struct train_run *run, struct jdoc **results_out);

#endif
