#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/report/report_figure.h"

enum { BARS_MAX = 60, BAR_HEIGHT = 22, FRAME_HEIGHT = 90 };

/* Policies that choose by sample, by method, policy and lambda. */
struct bars {
    const struct report_point **points; /* [count] */
    int count, exits;                   /* the end is an exit */
};

static int by_lambda(const void *first, const void *second)
{
    const struct report_point *a = *(const struct report_point *const *)first;
    const struct report_point *b = *(const struct report_point *const *)second;

    if (a->method != b->method) {
        return a->method < b->method ? -1 : 1;
    }
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    return (a->lambda > b->lambda) - (a->lambda < b->lambda);
}

static enum err collect(const struct report_source *source, struct bars *bars_out)
{
    struct bars bars = {
        .points = calloc((size_t)source->points->count + 1, sizeof(const struct report_point *))};

    if (bars.points == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "bars of a report");
    }
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        if (point->family > 0 && point->exit_count > 0) {
            bars.points[bars.count++] = point;
            bars.exits = point->exit_count > bars.exits ? point->exit_count : bars.exits;
        }
    }
    qsort(bars.points, (size_t)bars.count, sizeof(const struct report_point *), by_lambda);
    *bars_out = bars;
    return ERR_OK;
}

static const char *exit_name(int exit, int count, char name[32])
{
    snprintf(name, 32, exit + 1 == count ? "end" : "exit %d", exit + 1);
    return name;
}

static void add_name(const struct report_source *source, const struct report_point *point,
                     struct report_text *commands)
{
    char name[REPORT_LABEL_BYTES + 128], lambda[40] = "";

    if (isfinite(point->lambda)) {
        snprintf(lambda, sizeof(lambda), ", lambda %g", point->lambda);
    }
    snprintf(name, sizeof(name), "%s%s%s%s", source->methods->count > 1 ? "" : point->policy,
             source->methods->count > 1 ? source->methods->labels[point->method] : "",
             source->methods->count > 1 ? ": " : "",
             source->methods->count > 1 ? point->policy : "");
    const size_t length = strlen(name);
    snprintf(name + length, sizeof(name) - length, "%s", lambda);
    report_text_quoted(commands, name);
}

/* Boxes of one exit: where it begins and ends in each bar. */
static void add_boxes(const struct bars *bars, int drawn, int exit, struct report_text *commands)
{
    report_text_add(commands, "$e%d << EOD\n", exit);
    for (int i = 0; i < drawn; i++) {
        const struct report_point *point = bars->points[i];
        double from = 0;
        for (int g = 0; g < exit && g < point->exit_count; g++) {
            from += fmax(0, point->shares[g].mean);
        }
        const double share = exit < point->exit_count ? point->shares[exit].mean : 0;
        report_text_number(commands, 100 * from);
        report_text_number(commands, 100 * (from + share));
        report_text_add(commands, " %d\n", i + 1);
    }
    report_text_add(commands, "EOD\n");
}

static void add_plot(const struct report_source *source, const struct bars *bars, int drawn,
                     struct report_text *commands)
{
    char colour[8], name[32];

    report_text_add(commands,
                    "set xrange [0:100]\nset yrange [%g:0.4]\nset offsets 0, 0, 0, 0\n"
                    "set xlabel \"samples that leave there, %%\\n\"\nunset grid\nset border 1\n"
                    "set ytics scale 0 (",
                    drawn + 0.6);
    for (int i = 0; i < drawn; i++) {
        report_text_add(commands, "%s", i == 0 ? "" : ", ");
        add_name(source, bars->points[i], commands);
        report_text_add(commands, " %d", i + 1);
    }
    report_text_add(commands, ")\n");
    for (int g = 0; g < bars->exits; g++) {
        add_boxes(bars, drawn, g, commands);
    }
    report_text_add(commands, "plot ");
    for (int g = 0; g < bars->exits; g++) {
        figure_ordered_colour(g, bars->exits, colour);
        report_text_add(commands,
                        "$e%d using (0.5*($1+$2)):3:1:2:($3-0.36):($3+0.36) with boxxyerror "
                        "fs solid 1 noborder lc rgb '%s' title '%s'%s",
                        g, colour, exit_name(g, bars->exits, name),
                        g + 1 == bars->exits ? "\n" : ", \\\n");
    }
}

static void add_table(const struct report_source *source, const struct bars *bars,
                      struct report_text *table)
{
    char name[32], lambda[32];

    report_text_add(table, "<thead><tr><th>method</th><th>policy</th><th>lambda</th>");
    for (int g = 0; g < bars->exits; g++) {
        report_text_add(table, "<th>%s, %%</th>", exit_name(g, bars->exits, name));
    }
    report_text_add(table, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < bars->count; i++) {
        const struct report_point *point = bars->points[i];
        report_text_add(table, "<tr>");
        figure_words(table, source->methods->labels[point->method]);
        figure_words(table, point->policy);
        snprintf(lambda, sizeof(lambda), "%g", point->lambda);
        figure_words(table, isfinite(point->lambda) ? lambda : "");
        for (int g = 0; g < bars->exits; g++) {
            figure_stat(table, &point->shares[g], 100, 1);
        }
        report_text_add(table, "</tr>\n");
    }
    report_text_add(table, "</tbody>\n");
}

enum err figure_exits(const struct report_source *source, struct report_text *page)
{
    struct figure figure;
    struct bars bars;

    ERR_TRY(collect(source, &bars));
    if (bars.count == 0) {
        free(bars.points);
        figure_missing(page, "exits", "Where samples leave",
                       "No run has results of a policy that chooses by sample.");
        return ERR_OK;
    }
    const int drawn = bars.count < BARS_MAX ? bars.count : BARS_MAX;
    figure_begin(&figure, "exits", "Where samples leave", true, FRAME_HEIGHT + drawn * BAR_HEIGHT);
    report_text_add(&figure.about, "Test samples by the exit they take, cheapest exit first.");
    if (bars.count > drawn) {
        report_text_add(&figure.about, " The first %d of %d policies; the table has all.", drawn,
                        bars.count);
    }
    for (int g = 0; g < bars.exits; g++) {
        figure_key(&figure, "exit 00");
    }
    add_plot(source, &bars, drawn, &figure.commands);
    add_table(source, &bars, &figure.table);
    free(bars.points);
    return figure_end(&figure, page);
}
