#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_figure.h"

/* What the horizontal axis of a trade-off is. */
struct axis {
    const char *name; /* of the axis, with its unit */
    double scale;     /* from what files say */
    bool is_time;
};

static const struct axis MACS = {"multiply-adds, % of the full network", 100, false};
static const struct axis TIME = {"time of a sample, ms", 1, true};

enum { PERCENT = 100 };

static const struct report_stat *across(const struct axis *axis, const struct report_point *point)
{
    return axis->is_time ? &point->ms_per_sample : &point->macs_share;
}

/* The points of a method and a family that have a place on the axis. */
static int count_of(const struct report_source *source, const struct axis *axis, int method,
                    int family)
{
    int count = 0;

    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        count += point->method == method && point->family == family &&
                 across(axis, point)->count > 0 && point->accuracy.count > 0;
    }
    return count;
}

/* One series: its data, and how it is drawn. Spreads are bars where there are several seeds. */
static void add_series(const struct report_source *source, const struct axis *axis, int method,
                       int family, struct report_text *data, struct report_text *plot)
{
    const bool many = source->methods->count > 1;
    const char *colour = figure_colour(many ? method : family);
    bool has_spread = false;
    char name[32];

    snprintf(name, sizeof(name), "$m%df%d", method, family);
    report_text_add(data, "%s << EOD\n", name);
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        const struct report_stat *x = across(axis, point);
        if (point->method != method || point->family != family || x->count == 0 ||
            point->accuracy.count == 0) {
            continue;
        }
        const double dx = report_stat_spread(x), dy = report_stat_spread(&point->accuracy);
        has_spread = has_spread || isfinite(dy);
        report_text_number(data, axis->scale * report_stat_mean(x));
        report_text_number(data, PERCENT * report_stat_mean(&point->accuracy));
        report_text_number(data, isfinite(dx) ? axis->scale * dx : 0);
        report_text_number(data, isfinite(dy) ? PERCENT * dy : 0);
        report_text_add(data, "\n");
    }
    report_text_add(data, "EOD\n");
    if (has_spread) {
        report_text_add(plot,
                        "%s using 1:2:3:4 with xyerrorbars lw 1.2 pt 0 lc rgb '%s' notitle, \\\n",
                        name, colour);
    }
    report_text_add(plot,
                    "%s using 1:2 with linespoints lw 2 dt %d pt %d ps 0.9 lc rgb '%s' notitle, "
                    "\\\n",
                    name, report_family_is_oracle(source->points, family) ? 2 : 1,
                    figure_point(family), colour);
}

/* A line at what the whole network reaches. */
static void add_final(const struct report_source *source, struct report_text *plot)
{
    for (int m = 0; m < source->methods->count; m++) {
        const double mean = report_stat_mean(&source->points->final[m]);
        if (isfinite(mean)) {
            report_text_number(plot, PERCENT * mean);
            report_text_add(plot, " with lines lw 1.4 dt 3 lc rgb '%s' notitle, \\\n",
                            source->methods->count > 1 ? figure_colour(m) : "black");
        }
    }
}

static void add_entry(struct figure *figure, struct report_text *plot, const char *style,
                      const char *label)
{
    report_text_add(plot, "keyentry with %s title ", style);
    report_text_quoted(plot, label);
    report_text_add(plot, ", \\\n");
    figure_key(figure, label);
}

/* A family is told by its points, and its colour too where there is one method; of several each has a colour. */
static void add_key(const struct report_source *source, const struct axis *axis, bool near,
                    struct figure *figure, struct report_text *plot)
{
    const bool many = source->methods->count > 1;
    char style[96];

    for (int m = 0; many && m < source->methods->count; m++) {
        snprintf(style, sizeof(style), "lines lw 4 lc rgb '%s'", figure_colour(m));
        add_entry(figure, plot, style, source->methods->labels[m]);
    }
    for (int f = 0; f < source->points->family_count; f++) {
        int count = 0;
        for (int m = 0; m < source->methods->count; m++) {
            count += count_of(source, axis, m, f);
        }
        if (count == 0 || (near && report_family_is_oracle(source->points, f))) {
            continue;
        }
        snprintf(style, sizeof(style), "linespoints lw 2 dt %d pt %d ps 0.9 lc rgb '%s'",
                 report_family_is_oracle(source->points, f) ? 2 : 1, figure_point(f),
                 many ? "#777777" : figure_colour(f));
        add_entry(figure, plot, style, source->points->families[f]);
    }
    snprintf(style, sizeof(style), "lines lw 1.4 dt 3 lc rgb '%s'", many ? "#777777" : "black");
    add_entry(figure, plot, style, "final classifier");
}

static void add_table(const struct report_source *source, bool is_time, struct report_text *table)
{
    static const char *const names[] = {"method",         "policy",          "lambda",
                                        "runs",           "accuracy, %",     "mult-adds, M",
                                        "of the full, %", "time, ms/sample", "ECE, %"};
    char lambda[32];

    figure_head(table, names, sizeof(names) / sizeof(names[0]));
    report_text_add(table, "<tbody>\n");
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        if (is_time && point->ms_per_sample.count == 0) {
            continue;
        }
        report_text_add(table, "<tr>");
        figure_words(table, source->methods->labels[point->method]);
        figure_words(table, point->policy);
        snprintf(lambda, sizeof(lambda), "%g", point->lambda);
        figure_words(table, isfinite(point->lambda) ? lambda : "");
        figure_worth(table, point);
        report_text_add(table, "</tr>\n");
    }
    report_text_add(table, "</tbody>\n");
}

/* Where policies that are worth it lie: not far below the final classifier; bounds are not drawn. */
static void add_window(const struct report_source *source, struct report_text *commands)
{
    double least = INFINITY, most = -INFINITY;

    for (int m = 0; m < source->methods->count; m++) {
        const double mean = report_stat_mean(&source->points->final[m]);
        least = fmin(least, mean);
        most = fmax(most, mean);
    }
    double low = PERCENT * least;
    double high = PERCENT * most;
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        const double y = PERCENT * report_stat_mean(&point->accuracy);
        const double dy = PERCENT * report_stat_spread(&point->accuracy);
        const double margin = isfinite(dy) ? dy : 0;
        if (point->family > 0 && !report_family_is_oracle(source->points, point->family)) {
            low = fmin(low, fmax(y - margin, PERCENT * least - 3));
            high = fmax(high, fmin(y + margin, PERCENT * most + 3));
        }
    }
    if (isfinite(low) && isfinite(high)) {
        const double room = 0.08 * (high - low) + 0.02 + 1e-6 * fabs(high);
        report_text_add(commands,
                        "set offsets graph 0.02, graph 0.02, 0, 0\nset yrange [%.9g:%.9g]\n",
                        low - room, high + room);
    }
}

/* `near`: without bounds, and near the final classifier. */
static enum err tradeoff(const struct report_source *source, const struct axis *axis, bool near,
                         const char *id, const char *title, const char *about,
                         struct report_text *page)
{
    struct report_text data = {0}, plot = {0};
    struct figure figure;
    enum err status = ERR_OK;

    figure_begin(&figure, id, title, false, 0);
    report_text_add(&figure.about, "%s", about);
    report_text_add(&figure.commands, "set xlabel \"%s\\n\"\nset ylabel 'test accuracy, %%'\n",
                    axis->name);
    if (axis->is_time) {
        report_text_add(&figure.commands, "set xrange [0:*]\n");
    }
    if (near) {
        add_window(source, &figure.commands);
    }
    for (int m = 0; m < source->methods->count; m++) {
        for (int f = 0; f < source->points->family_count; f++) {
            if (count_of(source, axis, m, f) > 0 &&
                !(near && report_family_is_oracle(source->points, f))) {
                add_series(source, axis, m, f, &data, &plot);
            }
        }
    }
    add_final(source, &plot);
    add_key(source, axis, near, &figure, &plot);
    status = report_text_check(&data);
    if (status == ERR_OK) {
        status = report_text_check(&plot);
    }
    const bool has_any = data.count > 0;
    if (status == ERR_OK && has_any) {
        report_text_add(&figure.commands, "%splot %s 1/0 notitle\n", data.bytes, plot.bytes);
    }
    add_table(source, axis->is_time, &figure.table);
    report_text_release(&data);
    report_text_release(&plot);
    if (!has_any) { /* bounds alone, which the other figure has */
        figure_drop(&figure);
        return status;
    }
    const enum err ended = figure_end(&figure, page);
    return status == ERR_OK ? ended : status;
}

static bool has_points(const struct report_source *source, const struct axis *axis)
{
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *point = &source->points->points[i];
        if (across(axis, point)->count > 0 && point->accuracy.count > 0) {
            return true;
        }
    }
    return false;
}

enum err figure_tradeoff_macs(const struct report_source *source, struct report_text *page)
{
    if (!has_points(source, &MACS)) {
        figure_missing(page, "macs", "Accuracy against compute",
                       "No run has results of policies in its <code>summary.json</code>: it has "
                       "no exits, no validation samples, or has not finished.");
        return ERR_OK;
    }
    ERR_TRY(
        tradeoff(source, &MACS, false, "macs", "Accuracy against compute",
                 "Each point is a policy on the test set; points of a curve differ in lambda, or "
                 "in the exit that all samples take. Up and left is better.",
                 page));
    return tradeoff(source, &MACS, true, "macs_near", "Near the final classifier",
                    "The same without bounds that no policy can reach, enlarged.", page);
}

enum err figure_tradeoff_time(const struct report_source *source, struct report_text *page)
{
    if (!has_points(source, &TIME)) {
        figure_missing(page, "time", "Accuracy against time",
                       "No policy was timed: <code>timing_samples</code> is 0, or no run has "
                       "results.");
        return ERR_OK;
    }
    return tradeoff(source, &TIME, false, "time", "Accuracy against time",
                    "Really run, batch by batch, with early stopping, on one rank.", page);
}
