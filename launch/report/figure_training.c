#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/report/report_figure.h"
#include "launch/report/report_steps.h"

enum { DASHES = 5 };

/* Curves of one figure, while they are collected. */
struct curves {
    struct report_text data, plot;
    struct figure *figure;
    bool is_log; /* the axis they are drawn on */
    int count;
};

/* `colour` NULL: black, which is the letters' colour. */
static void add_curve(struct curves *curves, const struct report_run *run,
                      const struct report_quantity *quantity, const char *colour, int dash,
                      const char *title)
{
    char name[32];

    snprintf(name, sizeof(name), "$c%d", curves->count);
    if (report_steps_curve(run, quantity, curves->is_log, name, &curves->data)) {
        curves->count++;
        report_text_add(&curves->plot, "%s using 1:2 with lines lw 1.8 dt %d lc rgb '%s' title ",
                        name, dash, colour == NULL ? "black" : colour);
        report_text_quoted(&curves->plot, title);
        figure_key(curves->figure, title);
        report_text_add(&curves->plot, ", \\\n");
    }
}

/* Of one of several runs: methods differ in colour, and their seeds in dashes. */
static void add_run_curve(struct curves *curves, const struct report_source *source, int index,
                          const struct report_quantity *quantity)
{
    const struct report_run *run = &source->runs[index];
    const bool many = source->methods->count > 1;
    int seed = 0;

    for (int r = 0; r < index; r++) {
        seed += many && source->runs[r].method == run->method;
    }
    add_curve(curves, run, quantity, figure_colour(many ? run->method : index), 1 + seed % DASHES,
              run->name);
}

/* Adds them to the figure, if there are any, and releases them. Errors: ERR_NO_MEMORY. */
static enum err plot_curves(struct curves *curves, struct figure *figure)
{
    enum err status = report_text_check(&curves->data);

    if (status == ERR_OK) {
        status = report_text_check(&curves->plot);
    }
    if (status == ERR_OK && curves->count > 0) {
        report_text_add(&figure->commands, "%splot %s NaN notitle\n", curves->data.bytes,
                        curves->plot.bytes);
    }
    report_text_release(&curves->data);
    report_text_release(&curves->plot);
    return status;
}

/* One run: every exit, with the gates of the lambda in the middle. Several: each one's final classifier. */
static void add_losses(const struct report_source *source, struct curves *curves)
{
    const struct report_run *run = &source->runs[0];
    const int exits = report_steps_exits(run), set = report_steps_sets(run) / 2;
    char colour[8], title[64];

    if (source->run_count > 1) {
        for (int r = 0; r < source->run_count; r++) {
            add_run_curve(curves, source, r, &(struct report_quantity){"loss", -1, -1});
        }
        return;
    }
    for (int g = 0; g + 1 < exits; g++) {
        figure_ordered_colour(g, exits, colour);
        snprintf(title, sizeof(title), "exit %d", g + 1);
        add_curve(curves, run, &(struct report_quantity){"loss", set, g}, colour, 1, title);
    }
    add_curve(curves, run, &(struct report_quantity){"loss", -1, -1}, NULL, 1, "final classifier");
}

static void add_gate_losses(const struct report_source *source, struct curves *curves)
{
    const int sets = report_steps_sets(&source->runs[0]);
    char colour[8], title[64];

    if (source->run_count > 1) {
        for (int r = 0; r < source->run_count; r++) {
            const int set = report_steps_sets(&source->runs[r]) / 2;
            add_run_curve(curves, source, r, &(struct report_quantity){"gate_loss", set, -1});
        }
        return;
    }
    for (int set = 0; set < sets; set++) {
        figure_ordered_colour(set, sets, colour);
        snprintf(title, sizeof(title), "lambda %g", report_steps_lambda(&source->runs[0], set));
        add_curve(curves, &source->runs[0], &(struct report_quantity){"gate_loss", set, -1}, colour,
                  1, title);
    }
}

/* The last step of each stage of each run, as the file has it. */
static void add_loss_table(const struct report_source *source, struct report_text *table)
{
    static const char *const names[] = {"run",       "stage",     "step",
                                        "lambda",    "accuracy",  "final classifier",
                                        "head loss", "gate loss", "losses of exits"};
    const int count = sizeof(names) / sizeof(names[0]);

    figure_head(table, names, count);
    report_text_add(table, "<tbody>\n");
    for (int r = 0; r < source->run_count; r++) {
        const struct report_run *run = &source->runs[r];
        for (int i = -1; (i = report_steps_stage_end(run, i)) >= 0;) {
            const struct jdoc *line = jdoc_at(run->metrics, (size_t)i);
            const int sets = (int)jdoc_count(jdoc_get(line, "exits"));
            for (int set = sets == 0 ? -1 : 0; set < sets; set++) {
                const struct jdoc *entry =
                    set < 0 ? NULL : jdoc_at(jdoc_get(line, "exits"), (size_t)set);
                const struct jdoc *losses = jdoc_get(entry, "loss");
                const char *stage = report_text_of(line, "stage");
                report_text_add(table, "<tr>");
                figure_words(table, run->name);
                figure_words(table, stage == NULL ? "" : stage);
                figure_number(table, report_number_of(line, "step"), 1, 0);
                figure_number(table, report_number_of(entry, "lambda"), 1, 3);
                figure_number(table, report_number_of(line, "accuracy"), 1, 4);
                figure_number(table, report_number_of(line, "loss"), 1, 4);
                figure_number(table, report_number_of(entry, "head_loss"), 1, 4);
                figure_number(table, report_number_of(entry, "gate_loss"), 1, 4);
                for (size_t g = 0; g < jdoc_count(losses); g++) {
                    figure_number(table, jdoc_as_real(jdoc_at(losses, g)), 1, 4);
                }
                report_text_add(table, "</tr>\n");
            }
        }
    }
    report_text_add(table, "</tbody>\n");
}

/* `log_format`: of numbers on an axis that is logarithmic; NULL: it is not. */
static void add_axes(const struct report_source *source, const char *name, const char *log_format,
                     struct report_text *commands)
{
    report_text_add(commands, "set xlabel \"step\\n\"\nset ylabel '%s'\nset offsets 0, 0, 0, 0\n",
                    name);
    report_text_add(commands, "set xrange [0:*]\nset tmargin 2.2\n");
    if (log_format != NULL) {
        report_text_add(commands,
                        "set logscale y\nset format y '%s'\n"
                        "set ytics (",
                        log_format);
        for (int power = -4; power < 9; power++) {
            report_text_add(commands, "%s1e%d, 2e%d, 5e%d", power == -4 ? "" : ", ", power, power,
                            power);
        }
        report_text_add(commands, ")\n");
    }
    report_steps_stages(&source->runs[0], commands);
}

static enum err losses_of_gates(const struct report_source *source, struct report_text *page)
{
    struct figure figure;
    struct curves curves = {.figure = &figure};

    figure_begin(&figure, "gate_losses", "Losses of the gates", false, 0);
    add_gate_losses(source, &curves);
    if (curves.count == 0) {
        return ERR_OK; /* no gates, or no exits: the other figure tells */
    }
    report_text_add(&figure.about, "Training loss of the gates%s.",
                    source->run_count > 1 ? " of the lambda in the middle" : "");
    add_axes(source, "gate loss", NULL, &figure.commands);
    const enum err status = plot_curves(&curves, &figure);
    add_loss_table(source, &figure.table);
    const enum err ended = figure_end(&figure, page);
    return status == ERR_OK ? ended : status;
}

enum err figure_losses(const struct report_source *source, struct report_text *page)
{
    struct figure figure;
    struct curves curves = {.figure = &figure, .is_log = true};

    figure_begin(&figure, "losses", "Losses over steps", false, 0);
    add_losses(source, &curves);
    if (curves.count == 0) {
        figure_missing(page, "losses", "Losses over steps",
                       "No run has <code>metrics.jsonl</code>, or no step in it.");
        return ERR_OK;
    }
    figure_begin(&figure, "losses", "Losses over steps", false, 0);
    report_text_add(
        &figure.about,
        "Cross entropy on training samples, means of neighbouring steps%s. The table has "
        "the last step of each stage.",
        source->run_count > 1 ? ", of the final classifier" : "");
    add_axes(source, "cross entropy, nats", "%g", &figure.commands);
    const enum err status = plot_curves(&curves, &figure);
    add_loss_table(source, &figure.table);
    const enum err ended = figure_end(&figure, page);
    ERR_TRY(status == ERR_OK ? ended : status);
    return losses_of_gates(source, page);
}

static int ascending(const void *first, const void *second)
{
    const double a = *(const double *)first, b = *(const double *)second;

    return (a > b) - (a < b);
}

/* Of the lines from..to; NaN if none has it. Of an even number of values the upper of the two. */
static double median_speed(const struct report_run *run, int from, int to)
{
    double values[REPORT_STEPS_MAX];
    size_t count = 0;

    for (int i = from; i <= to && count < REPORT_STEPS_MAX; i++) {
        const double value = report_number_of(jdoc_at(run->metrics, (size_t)i), "samples_per_s");
        if (isfinite(value)) {
            values[count++] = value;
        }
    }
    if (count == 0) {
        return NAN;
    }
    qsort(values, count, sizeof(values[0]), ascending);
    return values[count / 2];
}

static void add_speed_table(const struct report_source *source, struct report_text *table)
{
    static const char *const names[] = {"run", "stage", "last step", "median, samples/s"};

    figure_head(table, names, sizeof(names) / sizeof(names[0]));
    report_text_add(table, "<tbody>\n");
    for (int r = 0; r < source->run_count; r++) {
        const struct report_run *run = &source->runs[r];
        int before = -1;
        for (int i = -1; (i = report_steps_stage_end(run, i)) >= 0;) {
            const struct jdoc *line = jdoc_at(run->metrics, (size_t)i);
            const char *stage = report_text_of(line, "stage");
            report_text_add(table, "<tr>");
            figure_words(table, run->name);
            figure_words(table, stage == NULL ? "" : stage);
            figure_number(table, report_number_of(line, "step"), 1, 0);
            figure_number(table, median_speed(run, before + 1, i), 1, 0);
            report_text_add(table, "</tr>\n");
            before = i;
        }
    }
    report_text_add(table, "</tbody>\n");
}

enum err figure_throughput(const struct report_source *source, struct report_text *page)
{
    struct figure figure;
    struct curves curves = {.figure = &figure, .is_log = true};

    figure_begin(&figure, "throughput", "Throughput", false, 0);
    for (int r = 0; r < source->run_count; r++) {
        add_run_curve(&curves, source, r, &(struct report_quantity){"samples_per_s", -1, -1});
    }
    if (curves.count == 0) {
        figure_missing(page, "throughput", "Throughput",
                       "No run has <code>metrics.jsonl</code>, or no step in it.");
        return ERR_OK;
    }
    report_text_add(&figure.about, "Samples of all ranks a second, on a logarithmic axis.");
    add_axes(source, "samples/s", "%.0s%c", &figure.commands);
    const enum err status = plot_curves(&curves, &figure);
    add_speed_table(source, &figure.table);
    const enum err ended = figure_end(&figure, page);
    return status == ERR_OK ? ended : status;
}
