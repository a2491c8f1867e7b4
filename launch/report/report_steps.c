#include "launch/report/report_steps.h"

#include <math.h>
#include <string.h>

enum { PARTS = 240 };

double report_quantity_of(const struct jdoc *line, const struct report_quantity *quantity)
{
    const struct jdoc *from = line;

    if (quantity->set >= 0) {
        from = jdoc_at(jdoc_get(line, "exits"), (size_t)quantity->set);
    }
    if (quantity->exit >= 0) {
        const struct jdoc *value = jdoc_at(jdoc_get(from, quantity->key), (size_t)quantity->exit);
        return value != NULL && jdoc_is_number(value) ? jdoc_as_real(value) : NAN;
    }
    return report_number_of(from, quantity->key);
}

static const struct jdoc *last_exits(const struct report_run *run)
{
    for (size_t i = jdoc_count(run->metrics); i > 0; i--) {
        const struct jdoc *exits = jdoc_get(jdoc_at(run->metrics, i - 1), "exits");
        if (jdoc_is_array(exits)) {
            return exits;
        }
    }
    return NULL;
}

int report_steps_sets(const struct report_run *run)
{
    return (int)jdoc_count(last_exits(run));
}

int report_steps_exits(const struct report_run *run)
{
    return (int)jdoc_count(jdoc_get(jdoc_at(last_exits(run), 0), "loss"));
}

double report_steps_lambda(const struct report_run *run, int set)
{
    return report_number_of(jdoc_at(last_exits(run), (size_t)set), "lambda");
}

/* The step of a line; NaN of none. */
static double step_of(const struct jdoc *line)
{
    const double step = report_number_of(line, "step");

    return step >= 1 ? step : NAN;
}

double report_steps_last(const struct report_run *run)
{
    const size_t count = jdoc_count(run->metrics);
    const double step = count == 0 ? NAN : step_of(jdoc_at(run->metrics, count - 1));

    return isfinite(step) ? step : 0;
}

static const char *stage_of(const struct report_run *run, size_t line)
{
    const char *stage = report_text_of(jdoc_at(run->metrics, line), "stage");

    return stage == NULL ? "" : stage;
}

/* Stages may have the same name, one after the other: then a fresh one begins with its first epoch. */
static bool begins_stage(const struct report_run *run, size_t line)
{
    if (line == 0) {
        return true;
    }
    return strcmp(stage_of(run, line), stage_of(run, line - 1)) != 0 ||
           report_number_of(jdoc_at(run->metrics, line), "epoch") <
               report_number_of(jdoc_at(run->metrics, line - 1), "epoch");
}

bool report_steps_curve(const struct report_run *run, const struct report_quantity *quantity,
                        bool is_log, const char *name, struct report_text *data)
{
    const size_t count = jdoc_count(run->metrics);
    const double last = report_steps_last(run);
    double sum = 0, sum_steps = 0;
    int values = 0, part = -1;
    bool has_any = false, breaks = false;

    for (size_t i = 0; i <= count; i++) {
        const struct jdoc *line = i < count ? jdoc_at(run->metrics, i) : NULL;
        const double step = line == NULL ? NAN : step_of(line);
        const double value = line == NULL ? NAN : report_quantity_of(line, quantity);
        const int now = isfinite(step) && step <= last ? (int)((step - 1) * PARTS / last) : part;
        const bool begins = i < count && begins_stage(run, i);
        if (values > 0 && (i == count || now != part || begins)) {
            if (!has_any) {
                report_text_add(data, "%s << EOD\n", name);
            }
            report_text_add(data, "%s", breaks && has_any ? "\n" : "");
            report_text_number(data, sum_steps / values);
            report_text_number(data, sum / values);
            report_text_add(data, "\n");
            has_any = true;
            breaks = false;
            sum = sum_steps = 0;
            values = 0;
        }
        breaks = breaks || begins;
        part = now;
        if (isfinite(step) && isfinite(value) && (value > 0 || !is_log)) {
            sum += value;
            sum_steps += step;
            values++;
        }
    }
    if (has_any) {
        report_text_add(data, "EOD\n");
    }
    return has_any;
}

void report_steps_stages(const struct report_run *run, struct report_text *commands)
{
    for (size_t i = 0; i < jdoc_count(run->metrics); i++) {
        const double step = step_of(jdoc_at(run->metrics, i));
        if (!begins_stage(run, i) || !isfinite(step)) {
            continue;
        }
        if (i > 0) {
            report_text_add(commands,
                            "set arrow from first %.9g, graph 0 to first %.9g, graph 1 nohead lw 1 "
                            "dt 3 lc rgb '#777777'\n",
                            step, step);
        }
        report_text_add(commands, "set label ");
        report_text_quoted(commands, stage_of(run, i));
        report_text_add(commands,
                        " at first %.9g, graph 1.035 left offset 0.4, 0 textcolor rgb '#777777'\n",
                        step);
    }
}

int report_steps_stage_end(const struct report_run *run, int after)
{
    const size_t count = jdoc_count(run->metrics);

    for (size_t i = (size_t)after + 1; i < count; i++) {
        if (i + 1 == count || begins_stage(run, i + 1)) {
            return (int)i;
        }
    }
    return -1;
}
