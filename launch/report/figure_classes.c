#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/report/report_figure.h"

/* Bars a class, and classes that have room with their names. */
enum { SERIES_MAX = 4, CLASSES_MAX = 60, NAMES_MAX = 48 };

/* Accuracy of the full network less that of the policy: > 0 is harm. */
static double harm_of(const struct jdoc *class_doc)
{
    const double n = report_number_of(class_doc, "n");

    return n > 0 ? (report_number_of(class_doc, "full_correct") -
                    report_number_of(class_doc, "early_correct")) /
                       n
                 : NAN;
}

/* NULL if there is nothing to draw in them. */
static const struct jdoc *classes_of(const struct report_point *point)
{
    const struct jdoc *classes = jdoc_get(point->row, "classes");

    for (size_t c = 0; c < jdoc_count(classes) && c < CLASSES_MAX; c++) {
        if (isfinite(harm_of(jdoc_at(classes, c)))) {
            return classes;
        }
    }
    return NULL;
}

static bool is_shown(const struct report_source *source, const struct report_point *point)
{
    return classes_of(point) != NULL && point->family > 0 &&
           !report_family_is_oracle(source->points, point->family);
}

/* The dearest lambda of a policy: there harm is greatest. Those of the first method alone. */
static bool is_drawn(const struct report_source *source, const struct report_point *point)
{
    if (!is_shown(source, point) || point->method != 0) {
        return false;
    }
    for (int i = 0; i < source->points->count; i++) {
        const struct report_point *other = &source->points->points[i];
        if (other->method == point->method && other->family == point->family &&
            is_shown(source, other) && other->lambda > point->lambda) {
            return false;
        }
    }
    return true;
}

static void class_name(const struct jdoc *class_doc, size_t index, char name[64])
{
    const char *told = report_text_of(class_doc, "name");

    if (told != NULL) {
        snprintf(name, 64, "%s", told);
    } else {
        snprintf(name, 64, "%zu", index);
    }
}

static void add_series(const struct report_point *point, int index, struct report_text *data)
{
    const struct jdoc *classes = classes_of(point);

    report_text_add(data, "$h%d << EOD\n", index);
    for (size_t c = 0; c < jdoc_count(classes) && c < CLASSES_MAX; c++) {
        report_text_add(data, " %zu", c);
        report_text_number(data, 100 * harm_of(jdoc_at(classes, c)));
        report_text_add(data, "\n");
    }
    report_text_add(data, "EOD\n");
}

static void add_names(const struct jdoc *classes, struct report_text *commands)
{
    char name[64];

    if (jdoc_count(classes) > NAMES_MAX) {
        return;
    }
    report_text_add(commands, "set xtics scale 0 (");
    for (size_t c = 0; c < jdoc_count(classes); c++) {
        class_name(jdoc_at(classes, c), c, name);
        report_text_add(commands, "%s", c == 0 ? "" : ", ");
        report_text_quoted(commands, name);
        report_text_add(commands, " %zu", c);
    }
    report_text_add(commands, ")\n");
}

static void add_rows(const struct report_source *source, const struct report_point *point,
                     struct report_text *table)
{
    static const char *const keys[] = {"n", "full_correct", "early_correct", "lost", "gained"};
    const struct jdoc *classes = classes_of(point);
    char name[64];

    for (size_t c = 0; c < jdoc_count(classes); c++) {
        const struct jdoc *class_doc = jdoc_at(classes, c);
        class_name(class_doc, c, name);
        report_text_add(table, "<tr>");
        figure_words(table, source->methods->labels[point->method]);
        figure_words(table, point->policy);
        figure_number(table, point->lambda, 1, 3);
        figure_words(table, name);
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            figure_number(table, report_number_of(class_doc, keys[k]), 1, 0);
        }
        figure_number(table, harm_of(class_doc), 100, 2);
        report_text_add(table, "</tr>\n");
    }
}

/* Bars of all series beside each other, in every class. */
static void add_plot(const struct report_source *source, struct figure *figure)
{
    struct report_text *commands = &figure->commands;
    const struct report_point *drawn[SERIES_MAX];
    char label[160];
    int count = 0;

    for (int i = 0; i < source->points->count && count < SERIES_MAX; i++) {
        if (is_drawn(source, &source->points->points[i])) {
            drawn[count++] = &source->points->points[i];
        }
    }
    const double width = 0.8 / (count == 0 ? 1 : count);
    report_text_add(commands,
                    "set xlabel \"class\\n\"\nset ylabel 'lost accuracy, points'\nunset grid\n"
                    "set grid y back lt 1 lc rgb '#D0D0D0' lw 0.6\nset offsets 0.5, 0.5, "
                    "graph 0.03, graph 0.03\nset style fill solid 1 noborder\n"
                    "set xzeroaxis lt 1 lw 1 lc rgb 'black'\n");
    for (int s = 0; s < count; s++) {
        add_series(drawn[s], s, commands);
    }
    if (count > 0) {
        add_names(classes_of(drawn[0]), commands);
    }
    report_text_add(commands, "plot ");
    for (int s = 0; s < count; s++) {
        snprintf(label, sizeof(label), isnan(drawn[s]->lambda) ? "%s" : "%s, lambda %g",
                 drawn[s]->policy, drawn[s]->lambda);
        report_text_add(commands, "$h%d using ($1%+.6g):2:(%.6g) with boxes lc rgb '%s' title ", s,
                        (s - 0.5 * (count - 1)) * width, 0.92 * width,
                        figure_colour(drawn[s]->family));
        report_text_quoted(commands, label);
        figure_key(figure, label);
        report_text_add(commands, ", ");
    }
    report_text_add(commands, "NaN notitle\n");
}

enum err figure_classes(const struct report_source *source, struct report_text *page)
{
    static const char *const names[] = {
        "method",        "policy",         "lambda", "class",  "samples",
        "right in full", "right, leaving", "lost",   "gained", "lost accuracy, points"};
    struct figure figure;
    bool has_any = false;

    for (int i = 0; i < source->points->count; i++) {
        has_any = has_any || is_drawn(source, &source->points->points[i]);
    }
    if (!has_any) {
        figure_missing(page, "classes", "Harm to classes",
                       "No results count the classes: they are of an older version, or have no "
                       "policies.");
        return ERR_OK;
    }
    figure_begin(&figure, "classes", "Harm to classes", true, 0);
    report_text_add(
        &figure.about,
        "Accuracy that early exit takes from each class of the test set, at the highest "
        "lambda%s: above 0 the class is better off with the full network.",
        source->methods->count > 1 ? " of the first method" : "");
    add_plot(source, &figure);
    figure_head(&figure.table, names, sizeof(names) / sizeof(names[0]));
    report_text_add(&figure.table, "<tbody>\n");
    for (int i = 0; i < source->points->count; i++) {
        if (is_shown(source, &source->points->points[i])) {
            add_rows(source, &source->points->points[i], &figure.table);
        }
    }
    report_text_add(&figure.table, "</tbody>\n");
    return figure_end(&figure, page);
}
