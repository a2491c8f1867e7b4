#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_figure.h"

enum { METHODS_MAX = 4, HEIGHT = 460, PERCENT = 100 };

/* Told a budget of multiply-adds, or a risk, or nothing; in the set of the lambda in the middle. */
static bool is_drawn(const struct report_source *source, const struct report_point *point,
                     int method)
{
    return point->method == method && (point->unit == NULL || strcmp(point->unit, "macs") == 0) &&
           point->accuracy.count > 0 && point->macs_share.count > 0 &&
           point->lambda == report_points_middle(source->rules, method);
}

static void add_family(const struct report_source *source, int method, int family,
                       struct figure *figure, struct report_text *plot)
{
    struct report_text *data = &figure->commands;
    bool has_any = false, is_promise = false;

    for (int i = 0; i < source->rules->count; i++) {
        const struct report_point *point = &source->rules->points[i];
        if (!is_drawn(source, point, method) || point->family != family) {
            continue;
        }
        if (!has_any) {
            report_text_add(data, "$f%d << EOD\n", family);
        }
        has_any = true;
        is_promise = is_promise || isfinite(point->risk);
        report_text_number(data, PERCENT * report_stat_mean(&point->macs_share));
        report_text_number(data, PERCENT * report_stat_mean(&point->accuracy));
        report_text_add(data, "\n");
    }
    if (!has_any) {
        return;
    }
    report_text_add(data, "EOD\n");
    /* No two have both in common, of up to 64. */
    report_text_add(plot,
                    "$f%d using 1:2 with linespoints lw 1.6 dt %d pt %d ps 0.9 lc rgb '%s' title ",
                    family, is_promise ? 2 : 1, figure_point(family + family / FIGURE_COLOURS),
                    figure_colour(family));
    report_text_quoted(plot, source->rules->families[family]);
    report_text_add(plot, ", \\\n");
    figure_key(figure, source->rules->families[family]);
}

/* The same budgets without looking at samples: the best exit for all, and a mixture of exits by lot. */
static void add_baselines(const struct report_source *source, int method, struct figure *figure,
                          struct report_text *plot)
{
    static const char *const keys[][2] = {{"static_accuracy", "the best exit for all"},
                                          {"random_accuracy", "exits by lot"}};
    const struct jdoc *baselines = NULL;

    for (int r = source->run_count - 1; r >= 0; r--) {
        const struct jdoc *sets = jdoc_get(report_run_results(&source->runs[r]), "lambdas");
        if (source->runs[r].method == method && jdoc_count(sets) > 0) {
            baselines = jdoc_get(jdoc_at(sets, jdoc_count(sets) / 2), "baselines");
        }
    }
    for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]) && jdoc_count(baselines) > 0; k++) {
        report_text_add(&figure->commands, "$b%zu << EOD\n", k);
        for (size_t i = 0; i < jdoc_count(baselines); i++) {
            const struct jdoc *baseline = jdoc_at(baselines, i);
            report_text_number(&figure->commands, PERCENT * report_number_of(baseline, "budget"));
            report_text_number(&figure->commands, PERCENT * report_number_of(baseline, keys[k][0]));
            report_text_add(&figure->commands, "\n");
        }
        report_text_add(&figure->commands, "EOD\n");
        report_text_add(plot,
                        "$b%zu using 1:2 with lines lw 2 dt %zu lc rgb '#AAAAAA' title '%s', \\\n",
                        k, k + 1, keys[k][1]);
        figure_key(figure, keys[k][1]);
    }
}

/* Near the final classifier, if it is known: what is far below is not worth its place. */
static void add_window(const struct report_source *source, int method, struct report_text *commands)
{
    const double final = PERCENT * report_stat_mean(&source->rules->final[method]);
    double low = INFINITY, high = -INFINITY;

    for (int i = 0; i < source->rules->count; i++) {
        const struct report_point *point = &source->rules->points[i];
        const double y = PERCENT * report_stat_mean(&point->accuracy);
        if (is_drawn(source, point, method)) {
            low = fmin(low, isfinite(final) ? fmax(y, final - 4) : y);
            high = fmax(high, isfinite(final) ? fmax(y, final) : y);
        }
    }
    const double room = 0.06 * (high - low) + 0.02 + 1e-6 * fabs(high);
    report_text_add(commands, "set offsets graph 0.02, graph 0.02, 0, 0\nset yrange [%.9g:%.9g]\n",
                    low - room, high + room);
    if (isfinite(final)) {
        report_text_add(commands,
                        "set arrow from graph 0, first %.9g to graph 1, first %.9g nohead "
                        "dt 3 lw 1.4 lc rgb 'black'\n",
                        final, final);
    }
}

static void add_table(const struct report_source *source, int method, struct report_text *table)
{
    static const char *const names[] = {
        "rule/solver",  "lambda",         "budget",          "unit",  "risk", "runs", "accuracy, %",
        "mult-adds, M", "of the full, %", "time, ms/sample", "ECE, %"};

    figure_head(table, names, sizeof(names) / sizeof(names[0]));
    report_text_add(table, "<tbody>\n");
    for (int i = 0; i < source->rules->count; i++) {
        const struct report_point *point = &source->rules->points[i];
        if (point->method != method) {
            continue;
        }
        report_text_add(table, "<tr>");
        figure_words(table, point->policy);
        figure_number(table, point->lambda, 1, 3);
        figure_number(table, point->budget, 1, 3);
        figure_words(table, point->unit == NULL ? "" : point->unit);
        figure_number(table, point->risk, 1, 3);
        figure_worth(table, point);
        report_text_add(table, "</tr>\n");
    }
    report_text_add(table, "</tbody>\n");
}

static enum err rules_of(const struct report_source *source, int method, struct report_text *page)
{
    struct report_text plot = {0};
    struct figure figure;
    char id[32];

    snprintf(id, sizeof(id), "rules%d", method + 1);
    figure_begin(&figure, id, "Exit rules at a budget", true, HEIGHT);
    report_text_add(&figure.about,
                    "Each rule, solved on the validation samples for the same budgets of "
                    "multiply-adds, or for a promised risk (dashed), on heads and gates of "
                    "lambda %g. Dotted: the final classifier.",
                    report_points_middle(source->rules, method));
    if (source->methods->count > 1) {
        report_text_add(&figure.about, " Method: ");
        report_text_escaped(&figure.about, source->methods->labels[method]);
        report_text_add(&figure.about, ".");
    }
    report_text_add(&figure.commands, "set xlabel \"multiply-adds, %% of the full network\\n\"\n"
                                      "set ylabel 'test accuracy, %%'\n");
    add_window(source, method, &figure.commands);
    for (int f = 0; f < source->rules->family_count; f++) {
        add_family(source, method, f, &figure, &plot);
    }
    add_baselines(source, method, &figure, &plot);
    const enum err status = report_text_check(&plot);
    if (status == ERR_OK && plot.count > 0) {
        report_text_add(&figure.commands, "plot %s 1/0 notitle\n", plot.bytes);
    }
    report_text_release(&plot);
    add_table(source, method, &figure.table);
    const enum err ended = figure_end(&figure, page);
    return status == ERR_OK ? ended : status;
}

enum err figure_rules(const struct report_source *source, struct report_text *page)
{
    int drawn = 0;

    for (int m = 0; m < source->methods->count && drawn < METHODS_MAX; m++) {
        bool has_any = false;
        for (int i = 0; i < source->rules->count; i++) {
            has_any = has_any || is_drawn(source, &source->rules->points[i], m);
        }
        if (has_any) {
            drawn++;
            ERR_TRY(rules_of(source, m, page));
        }
    }
    if (drawn == 0) {
        figure_missing(page, "rules1", "Exit rules at a budget",
                       "No results compare exit rules: they are of an older version, or have no "
                       "policies.");
    }
    return ERR_OK;
}
