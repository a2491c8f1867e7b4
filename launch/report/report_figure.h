/*
 * launch/report/report_figure.h - the figures of a report: each a plot by gnuplot, what it shows, and its
 * numbers in a table beside it.
 *
 * A figure writes itself to the end of the page. One whose numbers are not in any run's files becomes a
 * sentence that says so.
 *
 * Threads: one.
 */
#ifndef LAUNCH_REPORT_REPORT_FIGURE_H
#define LAUNCH_REPORT_REPORT_FIGURE_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "launch/report/report_method.h"
#include "launch/report/report_points.h"
#include "launch/report/report_run.h"
#include "launch/report/report_text.h"

/* What a page is made of; all lent. */
struct report_source {
    const struct report_run *runs;
    int run_count;
    const struct report_methods *methods;
    const struct report_points *points; /* of the table that runs end with */
    const struct report_points *rules;  /* of every rule at every budget and risk */
};

/* Errors of all of these: those of report_gnuplot(). */
typedef enum err figure_fn(const struct report_source *source, struct report_text *page);

figure_fn figure_tradeoff_macs; /* accuracy against multiply-adds: two figures */
figure_fn figure_tradeoff_time; /* accuracy against milliseconds */
figure_fn figure_rules;         /* exit rules at budgets and risks, a figure a method */
figure_fn figure_promises;      /* whether conformal rules kept theirs: a table */
figure_fn figure_exits;         /* who leaves where */
figure_fn figure_reliability;   /* confidence against accuracy */
figure_fn figure_classes;       /* what early exit costs each class */
figure_fn figure_losses;        /* losses over steps */
figure_fn figure_throughput;    /* samples a second over steps */
figure_fn figure_timeline;      /* snapshots, failures, recoveries */

struct figure {
    const char *id; /* of the element; unique on the page */
    const char *title;
    bool is_wide;
    int height;                  /* of the picture without its key, in its units */
    int key_count, key_longest;  /* entries of the key, and letters of the longest */
    struct report_text about;    /* HTML: what is seen */
    struct report_text commands; /* of gnuplot, after those that all figures share */
    struct report_text table;    /* HTML: rows */
};

/* The words are lent; `height` of the picture without its key, in its own units, of which a line of text takes 18;
 * 0: as usual. End it with figure_end(). */
void figure_begin(struct figure *figure, const char *id, const char *title, bool is_wide,
                  int height);

/* An entry of the key, in the order of the plot's titles: room is made for it. */
void figure_key(struct figure *figure, const char *label);

/* Draws it, and writes it to the end of the page. Releases it, whatever happens. */
ERR_MUST_CHECK enum err figure_end(struct figure *figure, struct report_text *page);

void figure_drop(struct figure *figure); /* releases one that is not drawn */

/* Instead of a figure: why there is none. `why` is HTML. */
void figure_missing(struct report_text *page, const char *id, const char *title, const char *why);

/* Colours that people with colour-blindness can tell apart: "#0072B2"; from the ninth on again. */
const char *figure_colour(int index);
enum { FIGURE_COLOURS = 8 };

/* The i-th of n colours in an order, of growing lightness. */
void figure_ordered_colour(int i, int n, char colour[8]);

/* Gnuplot's point type of a kind, filled where it can be. */
int figure_point(int index);

/* Rows of a table. A cell of a number has its exact value as data-value, and its spread over seeds, if there
 * are several, as data-spread; what is not finite is a dash. */
void figure_head(struct report_text *table, const char *const *names, int count); /* <tr><th>.. */
void figure_words(struct report_text *table, const char *words);                  /* <td> */
void figure_number(struct report_text *table, double value, double scale, int digits);
void figure_stat(struct report_text *table, const struct report_stat *stat, double scale,
                 int digits);

/* What a point is worth, in the columns of every table of points: runs, accuracy, multiply-adds, their
 * share, milliseconds, ECE. */
void figure_worth(struct report_text *table, const struct report_point *point);

#endif
