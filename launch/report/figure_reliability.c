#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_figure.h"

enum { SERIES_MAX = 8 };

static bool is_point(const struct jdoc *bin)
{
    return report_number_of(bin, "n") > 0 && isfinite(report_number_of(bin, "confidence")) &&
           isfinite(report_number_of(bin, "accuracy"));
}

/* NULL if there is nothing to draw in them. */
static const struct jdoc *bins_of(const struct report_point *point)
{
    const struct jdoc *bins = jdoc_get(point->row, "reliability");

    for (size_t b = 0; b < jdoc_count(bins); b++) {
        if (is_point(jdoc_at(bins, b))) {
            return bins;
        }
    }
    return NULL;
}

/* The end, and what chooses by sample at the lambda in the middle. */
static bool is_drawn(const struct report_source *source, const struct report_point *point)
{
    if (bins_of(point) == NULL || report_family_is_oracle(source->points, point->family)) {
        return false;
    }
    if (point->family == 0) {
        return strcmp(point->policy, "end") == 0;
    }
    return isnan(point->lambda) ||
           point->lambda == report_points_middle(source->points, point->method);
}

static double bin_share(const struct jdoc *bins, size_t bin)
{
    double all = 0;

    for (size_t b = 0; b < jdoc_count(bins); b++) {
        all += fmax(0, report_number_of(jdoc_at(bins, b), "n"));
    }
    return report_number_of(jdoc_at(bins, bin), "n") / all;
}

static void add_series(const struct report_source *source, const struct report_point *point,
                       int index, struct figure *figure, struct report_text *data,
                       struct report_text *plot)
{
    const struct jdoc *bins = bins_of(point);
    char label[REPORT_LABEL_BYTES + 128], lambda[40] = "";

    report_text_add(data, "$r%d << EOD\n", index);
    for (size_t b = 0; b < jdoc_count(bins); b++) {
        const struct jdoc *bin = jdoc_at(bins, b);
        if (is_point(bin)) {
            report_text_number(data, 100 * report_number_of(bin, "confidence"));
            report_text_number(data, 100 * report_number_of(bin, "accuracy"));
            report_text_add(data, "\n");
        }
    }
    report_text_add(data, "EOD\n");
    if (isfinite(point->lambda)) {
        snprintf(lambda, sizeof(lambda), ", lambda %g", point->lambda);
    }
    snprintf(label, sizeof(label), "%s%s%s%s", point->policy, lambda,
             source->methods->count > 1 ? ": " : "",
             source->methods->count > 1 ? source->methods->labels[point->method] : "");
    report_text_add(plot,
                    ", $r%d using 1:2 with linespoints lw 1.6 pt %d ps 0.8 lc rgb '%s' title ",
                    index, figure_point(index), figure_colour(index));
    report_text_quoted(plot, label);
    figure_key(figure, label);
}

static void add_rows(const struct report_source *source, const struct report_point *point,
                     struct report_text *table)
{
    const struct jdoc *bins = bins_of(point);

    for (size_t b = 0; b < jdoc_count(bins); b++) {
        const struct jdoc *bin = jdoc_at(bins, b);
        report_text_add(table, "<tr>");
        figure_words(table, source->methods->labels[point->method]);
        figure_words(table, point->policy);
        figure_number(table, point->lambda, 1, 3);
        figure_number(table, report_number_of(bin, "n"), 1, 0);
        figure_number(table, bin_share(bins, b), 100, 1);
        figure_number(table, report_number_of(bin, "confidence"), 100, 2);
        figure_number(table, report_number_of(bin, "accuracy"), 100, 2);
        report_text_add(table, "</tr>\n");
    }
}

enum err figure_reliability(const struct report_source *source, struct report_text *page)
{
    static const char *const names[] = {
        "method", "policy", "lambda", "samples", "of all, %", "mean confidence, %", "accuracy, %"};
    struct report_text data = {0}, plot = {0};
    struct figure figure;
    int drawn = 0;

    figure_begin(&figure, "reliability", "Reliability", false, 0);
    report_text_add(&figure.about,
                    "Accuracy of answers against the confidence they are given with, "
                    "in bins of equal mass, of each method's first run. On the "
                    "diagonal confidence can be believed; below it is too high.");
    figure_head(&figure.table, names, sizeof(names) / sizeof(names[0]));
    report_text_add(&figure.table, "<tbody>\n");
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        if (is_drawn(source, point) && drawn < SERIES_MAX) {
            add_series(source, point, drawn++, &figure, &data, &plot);
        }
        if (bins_of(point) != NULL) {
            add_rows(source, point, &figure.table);
        }
    }
    report_text_add(&figure.table, "</tbody>\n");
    enum err status = report_text_check(&data);
    if (status == ERR_OK) {
        status = report_text_check(&plot);
    }
    if (status == ERR_OK && drawn > 0) {
        figure_key(&figure, "as it should be");
        report_text_add(
            &figure.commands,
            "set xlabel \"confidence, %%\\n\"\nset ylabel 'accuracy, %%'\n"
            "set xrange [*:100]\nset yrange [*:100]\nset offsets 2, 0, 0, 2\n"
            "%splot x with lines dt 3 lw 1.4 lc rgb 'black' title 'as it should be'%s\n",
            data.bytes, plot.bytes);
    }
    report_text_release(&data);
    report_text_release(&plot);
    if (status == ERR_OK && drawn == 0) {
        figure_missing(page, "reliability", "Reliability",
                       "No results have bins of confidence: they are of an older version, or have "
                       "no policies.");
        figure_drop(&figure);
        return ERR_OK;
    }
    const enum err ended = figure_end(&figure, page);
    return status == ERR_OK ? ended : status;
}
