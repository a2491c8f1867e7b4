#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_figure.h"

enum { BARS_MAX = 60, BAR_HEIGHT = 22, FRAME_HEIGHT = 90 };

/* A policy that chooses by sample. */
static bool is_shown(const struct report_point *point)
{
    return point->family > 0 && point->exit_count > 0;
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
static void add_boxes(const struct report_source *source, int exit, struct report_text *commands)
{
    int bar = 0;

    report_text_add(commands, "$e%d << EOD\n", exit);
    for (int i = 0; i < source->points->count && bar < BARS_MAX; i++) {
        const struct report_point *point = &source->points->points[i];
        double from = 0;
        if (!is_shown(point)) {
            continue;
        }
        bar++;
        for (int g = 0; g < exit && g < point->exit_count; g++) {
            from += fmax(0, point->shares[g].mean);
        }
        const double share = exit < point->exit_count ? point->shares[exit].mean : 0;
        report_text_number(commands, 100 * from);
        report_text_number(commands, 100 * (from + share));
        report_text_add(commands, " %d\n", bar);
    }
    report_text_add(commands, "EOD\n");
}

static void add_plot(const struct report_source *source, int bars, int exits,
                     struct report_text *commands)
{
    char colour[8], name[32];
    int bar = 0;

    report_text_add(commands,
                    "set xrange [0:100]\nset yrange [%g:0.4]\nset offsets 0, 0, 0, 0\n"
                    "set xlabel \"samples that leave there, %%\\n\"\nunset grid\nset border 1\n"
                    "set ytics scale 0 (",
                    bars + 0.6);
    for (int i = 0; i < source->points->count && bar < BARS_MAX; i++) {
        if (is_shown(&source->points->points[i])) {
            report_text_add(commands, "%s", bar == 0 ? "" : ", ");
            add_name(source, &source->points->points[i], commands);
            report_text_add(commands, " %d", ++bar);
        }
    }
    report_text_add(commands, ")\n");
    for (int g = 0; g < exits; g++) {
        add_boxes(source, g, commands);
    }
    report_text_add(commands, "plot ");
    for (int g = 0; g < exits; g++) {
        figure_ordered_colour(g, exits, colour);
        report_text_add(commands,
                        "$e%d using (0.5*($1+$2)):3:1:2:($3-0.36):($3+0.36) with boxxyerror "
                        "fs solid 1 noborder lc rgb '%s' title '%s'%s",
                        g, colour, exit_name(g, exits, name), g + 1 == exits ? "\n" : ", \\\n");
    }
}

static void add_table(const struct report_source *source, int exits, struct report_text *table)
{
    char names[REPORT_EXITS_MAX + 3][32] = {"method", "policy", "lambda"};
    const char *lent[REPORT_EXITS_MAX + 3];
    char lambda[32];

    for (int g = 0; g < exits; g++) {
        exit_name(g, exits, names[3 + g]);
        strncat(names[3 + g], ", %", sizeof(names[0]) - strlen(names[3 + g]) - 1);
    }
    for (int i = 0; i < exits + 3; i++) {
        lent[i] = names[i];
    }
    figure_head(table, lent, exits + 3);
    report_text_add(table, "<tbody>\n");
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        if (!is_shown(point)) {
            continue;
        }
        report_text_add(table, "<tr>");
        figure_words(table, source->methods->labels[point->method]);
        figure_words(table, point->policy);
        snprintf(lambda, sizeof(lambda), "%g", point->lambda);
        figure_words(table, isfinite(point->lambda) ? lambda : "");
        for (int g = 0; g < exits; g++) {
            figure_stat(table, &point->shares[g], 100, 1);
        }
        report_text_add(table, "</tr>\n");
    }
    report_text_add(table, "</tbody>\n");
}

enum err figure_exits(const struct report_source *source, struct report_text *page)
{
    struct figure figure;
    int shown = 0, exits = 0;

    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        if (is_shown(point)) {
            shown++;
            exits = point->exit_count > exits ? point->exit_count : exits;
        }
    }
    if (shown == 0) {
        figure_missing(page, "exits", "Where samples leave",
                       "No run has results of a policy that chooses by sample.");
        return ERR_OK;
    }
    const int bars = shown < BARS_MAX ? shown : BARS_MAX;
    figure_begin(&figure, "exits", "Where samples leave", true, FRAME_HEIGHT + bars * BAR_HEIGHT);
    report_text_add(&figure.about, "Test samples by the exit they take, cheapest exit first.");
    if (shown > bars) {
        report_text_add(&figure.about, " The first %d of %d policies; the table has all.", bars,
                        shown);
    }
    for (int g = 0; g < exits; g++) {
        figure_key(&figure, "exit 00");
    }
    add_plot(source, bars, exits, &figure.commands);
    add_table(source, exits, &figure.table);
    return figure_end(&figure, page);
}
