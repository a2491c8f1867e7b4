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
 * And, for results.json, every rule of exits_rule.def at every budget and risk, baselines, and what
 * conformal rules promise, held to random splits of the test set; printed is what each rule reaches
 * at each budget, with the lambda and the solver that are best on the validation samples.
 *
 * Costs are multiply-adds counted from the hard choices (exits_cost.h); milliseconds are
 * of runs that really stop early, on one core, whose choices are compared with the table's.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_EVALUATE_H
#define LAUNCH_EVALUATE_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "comm/base/jdoc.h"
#include "launch/train_run.h"

/*
 * Evaluates the run as it is. Collective; rank 0 prints the tables to stdout and gets the
 * results as a document (docs/files.md, results.json), others get NULL. The caller closes *results_out.
 * With `in_files` the features of both sets of samples are kept in output_dir, and those that are
 * there are used (features.h).
 * Errors: those of the parts; ERR_NOT_FINITE.
 */
ERR_MUST_CHECK enum err evaluate(struct train_run *run, bool in_files, struct jdoc **results_out);

/* Takes out of the document what is for results.json alone. What stays is for summary.json. */
void evaluate_shorten(struct jdoc *results);

#endif
