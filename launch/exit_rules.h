/*
 * launch/exit_rules.h - the table of exit rules and solvers, as a page of the documentation.
 *
 * Threads: any.
 */
#ifndef LAUNCH_EXIT_RULES_H
#define LAUNCH_EXIT_RULES_H

/* docs/exit_rules.md, in Markdown, to stdout. */
void exit_rules_print(void);

#endif
