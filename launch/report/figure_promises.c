#include <math.h>
#include <stdio.h>

#include "launch/report/report_figure.h"

/* More than anybody reads; the sentence counts all. */
enum { ROWS_MAX = 2000 };

struct count {
    int kept, all;
};

/* What was promised, and what came of it: an entry, or one exit and class of it. */
static void add_row(const struct report_run *run, double lambda, const struct jdoc *promise,
                    const struct jdoc *outcome, struct count *count, struct report_text *table)
{
    const char *rule = report_text_of(promise, "rule");
    const char *class_name = report_text_of(outcome, "class");
    const bool is_kept = jdoc_is_true(jdoc_get(outcome, "kept"));
    const double exit = report_number_of(outcome, "exit");

    if (!isfinite(report_number_of(outcome, "miscoverage"))) {
        return;
    }
    count->all++;
    count->kept += is_kept;
    if (count->all > ROWS_MAX) {
        return;
    }
    report_text_add(table, "<tr>");
    figure_words(table, run->name);
    figure_number(table, lambda, 1, 3);
    figure_words(table, rule == NULL ? "" : rule);
    figure_number(table, exit + 1, 1, 0);
    figure_words(table, class_name == NULL ? "" : class_name);
    figure_number(table, report_number_of(promise, "risk"), 100, 2);
    figure_number(table, report_number_of(outcome, "miscoverage"), 100, 2);
    figure_number(table, report_number_of(outcome, "band_low"), 100, 2);
    figure_number(table, report_number_of(outcome, "band_high"), 100, 2);
    report_text_add(table, "<td class=\"%s\">%s</td></tr>\n", is_kept ? "good" : "bad",
                    is_kept ? "kept" : "broken");
}

static void add_run(const struct report_run *run, struct count *count, struct report_text *table)
{
    const struct jdoc *sets = jdoc_get(report_run_results(run), "lambdas");

    for (size_t s = 0; s < jdoc_count(sets); s++) {
        const struct jdoc *set = jdoc_at(sets, s);
        const struct jdoc *promises = jdoc_get(set, "promises");
        const double lambda = report_number_of(set, "lambda");
        for (size_t p = 0; p < jdoc_count(promises); p++) {
            const struct jdoc *promise = jdoc_at(promises, p);
            const struct jdoc *exits = jdoc_get(promise, "exits");
            for (size_t e = 0; e < jdoc_count(exits); e++) {
                add_row(run, lambda, promise, jdoc_at(exits, e), count, table);
            }
            add_row(run, lambda, promise, promise, count, table);
        }
    }
}

enum err figure_promises(const struct report_source *source, struct report_text *page)
{
    static const char *const names[] = {"run",        "lambda",  "rule",      "exit",
                                        "class",      "risk, %", "missed, %", "band from, %",
                                        "band to, %", ""};
    struct report_text table = {0};
    struct count count = {0, 0};

    for (int r = 0; r < source->run_count; r++) {
        add_run(&source->runs[r], &count, &table);
    }
    enum err status = report_text_check(&table);
    if (status == ERR_OK && count.all > 0) {
        report_text_add(
            page,
            "<div class=\"wide\"><p class=\"by\"><b>Promises of conformal rules.</b> In random "
            "splits of the test samples, %d of %d promises were kept: what was missed is not "
            "above the central 99 %% of the binomial.</p>\n<details><summary>Numbers</summary>"
            "<div class=\"scroll\">\n<table id=\"promises\">\n",
            count.kept, count.all);
        figure_head(page, names, sizeof(names) / sizeof(names[0]));
        report_text_add(page, "<tbody>\n%s</tbody>\n", table.bytes);
        report_text_add(page, "</table></div></details></div>\n");
    }
    report_text_release(&table);
    return status;
}
