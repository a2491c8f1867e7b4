/*
 * launch/report/report_page.h - one HTML page of one or several runs: it needs no network and no script.
 *
 * Threads: one.
 */
#ifndef LAUNCH_REPORT_REPORT_PAGE_H
#define LAUNCH_REPORT_REPORT_PAGE_H

#include "comm/base/err.h"
#include "launch/report/report_run.h"
#include "launch/report/report_text.h"

/*
 * Writes the page of `runs` [run_count >= 1], which are numbered by their methods on the way. The caller
 * releases *page_out. Errors: those of report_gnuplot(); ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err report_page(struct report_run *runs, int run_count,
                                    struct report_text *page_out);

extern const char report_style[]; /* its CSS */

#endif
