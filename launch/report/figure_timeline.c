#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/report/report_figure.h"
#include "launch/report/report_history.h"

enum { RUNS_MAX = 8, ROWS_MAX = 500, HEIGHT = 360 };

/* How a kind of event is drawn. */
static const struct {
    enum report_happening kind;
    const char *name, *title, *style;
} marks[] = {
    {REPORT_SNAPSHOT, "$snapshots", "snapshot in memory", "pt 7 ps 0.35 lc rgb '#56B4E9'"},
    {REPORT_CHECKPOINT, "$checkpoints", "checkpoint on disk", "pt 5 ps 0.9 lc rgb '#0072B2'"},
    {REPORT_SAVE_FAILED, "$failed", "checkpoint that failed", "pt 4 ps 1.1 lw 2 lc rgb '#D55E00'"},
    {REPORT_LOSS, "$losses", "job lost", "pt 2 ps 1.4 lw 2.5 lc rgb '#D55E00'"},
    {REPORT_RECOVERY, "$recoveries", "going on", "pt 9 ps 1.2 lc rgb '#009E73'"},
    {REPORT_HALT, "$halts", "asked to halt", "pt 13 ps 1.3 lc rgb '#CC79A7'"},
};

/* The step as it grows, in every start of the run a line of its own. */
static bool add_progress(const struct report_history *history, struct report_text *commands)
{
    bool has_any = false;
    int starts = 0;

    for (int i = 0; i < history->count; i++) {
        starts = history->moments[i].start >= starts ? history->moments[i].start + 1 : starts;
    }
    report_text_add(commands, "$progress << EOD\n");
    for (int start = 0; start < starts; start++) {
        for (int i = 0; i < history->count; i++) {
            const struct report_moment *moment = &history->moments[i];
            if (moment->start == start && isfinite(moment->step)) {
                report_text_number(commands, moment->at_s);
                report_text_number(commands, moment->step);
                report_text_add(commands, "\n");
                has_any = true;
            }
        }
        report_text_add(commands, "\n");
    }
    report_text_add(commands, "EOD\n");
    return has_any;
}

static bool add_marks(const struct report_history *history, size_t mark,
                      struct report_text *commands)
{
    bool has_any = false;

    for (int i = 0; i < history->count; i++) {
        const struct report_moment *moment = &history->moments[i];
        if (moment->kind != marks[mark].kind || !isfinite(moment->step)) {
            continue;
        }
        if (!has_any) {
            report_text_add(commands, "%s << EOD\n", marks[mark].name);
        }
        has_any = true;
        report_text_number(commands, moment->at_s);
        report_text_number(commands, fmax(0, moment->step));
        report_text_add(commands, "\n");
    }
    if (has_any) {
        report_text_add(commands, "EOD\n");
    }
    return has_any;
}

/* A band from every loss until the first step after it. */
static void add_down(const struct report_history *history, struct report_text *commands)
{
    double since_s = NAN;

    for (int i = 0; i < history->count; i++) {
        const struct report_moment *moment = &history->moments[i];
        if (moment->kind == REPORT_LOSS && isnan(since_s)) {
            since_s = moment->at_s;
        } else if (moment->kind == REPORT_RECOVERY && isfinite(since_s)) {
            report_text_add(commands,
                            "set object rectangle from first %.9g, graph 0 to first %.9g, graph 1 "
                            "behind fc rgb '#F5D3BF' fs solid noborder\n",
                            since_s, moment->at_s);
            since_s = NAN;
        }
    }
}

static void plot(const struct report_history *history, struct figure *figure)
{
    struct report_text *commands = &figure->commands;
    bool has_marks[sizeof(marks) / sizeof(marks[0])];

    report_text_add(commands, "set xlabel \"time, s\\n\"\nset ylabel 'step'\nset xrange [0:*]\n"
                              "set yrange [0:*]\nset offsets 0, 0, graph 0.05, 0\n");
    add_down(history, commands);
    const bool has_progress = add_progress(history, commands);
    for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++) {
        has_marks[m] = add_marks(history, m, commands);
    }
    report_text_add(commands, "plot ");
    if (has_progress) {
        report_text_add(commands,
                        "$progress using 1:2 with lines lw 1.2 lc rgb '#777777' notitle, ");
    }
    for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++) {
        if (has_marks[m]) {
            figure_key(figure, marks[m].title);
            report_text_add(commands, "%s using 1:2 with points %s title '%s', ", marks[m].name,
                            marks[m].style, marks[m].title);
        }
    }
    report_text_add(commands, "NaN notitle\n");
}

/* What else an event says: "from memory, down_s 0.9". */
static void add_details(const struct jdoc *event, struct report_text *table)
{
    const char *between = "";

    report_text_add(table, "<td>");
    for (void *m = jdoc_first(event); m != NULL; m = jdoc_next(event, m)) {
        const char *key = jdoc_member_key(m);
        const struct jdoc *value = jdoc_member_value(m);
        const char *words = jdoc_as_text(value);
        if (strcmp(key, "event") == 0 || strcmp(key, "at_s") == 0 || strcmp(key, "step") == 0 ||
            (words == NULL && !jdoc_is_number(value))) {
            continue;
        }
        report_text_add(table, "%s", between);
        report_text_escaped(table, key);
        report_text_add(table, " ");
        if (words != NULL) {
            report_text_escaped(table, words);
        } else if (jdoc_is_int(value)) {
            report_text_add(table, "%" PRId64, jdoc_as_int(value));
        } else {
            report_text_add(table, "%.4g", jdoc_as_real(value));
        }
        between = ", ";
    }
    report_text_add(table, "</td>");
}

static void add_table(const struct report_history *history, struct report_text *table)
{
    static const char *const names[] = {"time, s", "event", "step", "details"};
    int rows = 0;

    figure_head(table, names, sizeof(names) / sizeof(names[0]));
    report_text_add(table, "<tbody>\n");
    for (int i = 0; i < history->count; i++) {
        const struct report_moment *moment = &history->moments[i];
        const char *name = report_text_of(moment->event, "event");
        if (moment->kind == REPORT_SNAPSHOT || rows >= ROWS_MAX) {
            continue;
        }
        rows++;
        report_text_add(table, "<tr>");
        figure_number(table, moment->at_s, 1, 1);
        figure_words(table, name == NULL ? "" : name);
        figure_number(table, moment->step, 1, 0);
        add_details(moment->event, table);
        report_text_add(table, "</tr>\n");
    }
    report_text_add(table, "</tbody>\n");
    if (rows == ROWS_MAX) {
        report_text_add(table, "<caption>The first %d events.</caption>\n", ROWS_MAX);
    }
}

static void describe(const struct report_history *history, const struct report_run *run,
                     struct report_text *about)
{
    double stall_s = 0, down_s = 0;
    int snapshots = 0, losses = 0;

    for (int i = 0; i < history->count; i++) {
        const struct report_moment *moment = &history->moments[i];
        const double stall = report_number_of(moment->event, "stall_s");
        const double down = report_number_of(moment->event, "down_s");
        losses += moment->kind == REPORT_LOSS;
        snapshots += moment->kind == REPORT_SNAPSHOT;
        stall_s += moment->kind == REPORT_SNAPSHOT && isfinite(stall) ? stall : 0;
        down_s += moment->kind == REPORT_RECOVERY && isfinite(down) ? down : 0;
    }
    report_text_add(about, "Run <code>");
    report_text_escaped(about, run->path);
    report_text_add(about, "</code>: ");
    if (run->events_every > 1) {
        report_text_add(about, "of its many events every %zu-th is shown; ", run->events_every);
    }
    report_text_add(about, "snapshots: %d, for which training waited %.3g s in all; ", snapshots,
                    stall_s);
    report_text_add(about, "losses of the job: %d, with %.3g s until it went on.", losses, down_s);
}

static enum err timeline(const struct report_run *run, int number, struct report_text *page)
{
    struct report_history history;
    struct figure figure;
    char id[32];

    snprintf(id, sizeof(id), "timeline%d", number);
    ERR_TRY(report_history_find(run, &history));
    figure_begin(&figure, id, "Snapshots, failures and recoveries", true, HEIGHT);
    describe(&history, run, &figure.about);
    plot(&history, &figure);
    add_table(&history, &figure.table);
    report_history_release(&history);
    return figure_end(&figure, page);
}

enum err figure_timeline(const struct report_source *source, struct report_text *page)
{
    int shown = 0;

    for (int r = 0; r < source->run_count && shown < RUNS_MAX; r++) {
        const struct report_run *run = &source->runs[r];
        if (jdoc_count(run->events) + jdoc_count(run->supervised) > 0) {
            ERR_TRY(timeline(run, ++shown, page));
        }
    }
    if (shown == 0) {
        figure_missing(page, "timeline1", "Snapshots, failures and recoveries",
                       "No run has an event in <code>events.jsonl</code> or "
                       "<code>supervisor.jsonl</code>.");
    }
    return ERR_OK;
}
