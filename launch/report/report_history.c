#include "launch/report/report_history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum report_happening kind_of(const struct jdoc *event, bool is_supervised)
{
    static const struct {
        const char *name;
        enum report_happening kind;
    } kinds[] = {
        {"snapshot.committed", REPORT_SNAPSHOT},   {"checkpoint.saved", REPORT_CHECKPOINT},
        {"checkpoint.failed", REPORT_SAVE_FAILED}, {"job.lost", REPORT_LOSS},
        {"job.recovered", REPORT_RECOVERY},        {"run.asked_to_halt", REPORT_HALT},
    };
    const char *name = report_text_of(event, "event");

    for (size_t i = 0; name != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return kinds[i].kind;
        }
    }
    /* A supervisor tells more of the same. */
    return name != NULL && strcmp(name, "run.resumed") == 0 && !is_supervised ? REPORT_RECOVERY
                                                                              : REPORT_OTHER;
}

static bool is_event(const struct jdoc *event, const char *name)
{
    const char *text = report_text_of(event, "event");

    return text != NULL && strcmp(text, name) == 0;
}

static double or_zero(double value)
{
    return isfinite(value) ? value : 0;
}

static void add(struct report_history *history, struct report_moment moment)
{
    history->moments[history->count++] = moment;
}

/* Of supervisors: their moments, one clock. */
static void add_supervised(struct report_history *history, const struct report_run *run)
{
    double first_s = NAN, offset_s = 0, last_s = 0;

    for (size_t i = 0; i < jdoc_count(run->supervised); i++) {
        const struct jdoc *event = jdoc_at(run->supervised, i);
        double at_s = or_zero(report_number_of(event, "at_s"));
        if (is_event(event, "run.begun")) {
            const double clock_s = report_number_of(event, "monotonic_s");
            first_s = isnan(first_s) ? clock_s : first_s;
            offset_s = clock_s - first_s >= last_s ? clock_s - first_s : last_s;
        }
        if (is_event(event, "job.lost") && isfinite(report_number_of(event, "noticed_at_s"))) {
            at_s = report_number_of(event, "noticed_at_s");
        }
        if (is_event(event, "job.recovered") &&
            isfinite(report_number_of(event, "first_step_at_s"))) {
            at_s = report_number_of(event, "first_step_at_s");
        }
        last_s = fmax(last_s, offset_s + at_s);
        const double step = report_number_of(event, "step");
        add(history,
            (struct report_moment){.kind = kind_of(event, true),
                                   .at_s = offset_s + at_s,
                                   .step = isnan(step) ? report_number_of(event, "from") : step,
                                   .start = -1,
                                   .event = event});
    }
}

/* Where the start begins whose first event is that: NaN if no supervisor tells. */
static double begin_of(const struct report_history *history, int supervised, int start,
                       const struct jdoc *event)
{
    const double resumed = is_event(event, "run.resumed") ? report_number_of(event, "step") : NAN;

    for (int i = 0; i < supervised; i++) {
        const struct report_moment *moment = &history->moments[i];
        if (start == 0 && is_event(moment->event, "job.started")) {
            return moment->at_s;
        }
        if (start > 0 && is_event(moment->event, "job.recovered") && moment->step == resumed) {
            return moment->at_s - or_zero(report_number_of(moment->event, "first_step_s"));
        }
    }
    return NAN;
}

static void add_own(struct report_history *history, const struct report_run *run)
{
    const int supervised = history->count;
    double begin_s = 0, last_s = 0, last_at_s = 0;
    int start = -1;

    for (size_t i = 0; i < jdoc_count(run->events); i++) {
        const struct jdoc *event = jdoc_at(run->events, i);
        const double at_s = or_zero(report_number_of(event, "at_s"));
        if (start < 0 || at_s < last_at_s || is_event(event, "run.resumed")) {
            start++;
            const double told_s = begin_of(history, supervised, start, event);
            begin_s = isfinite(told_s) ? told_s : last_s;
        }
        last_at_s = at_s;
        last_s = fmax(last_s, begin_s + at_s);
        add(history, (struct report_moment){.kind = kind_of(event, supervised > 0),
                                            .at_s = begin_s + at_s,
                                            .step = report_number_of(event, "step"),
                                            .start = start,
                                            .event = event});
    }
}

static int by_time(const void *first, const void *second)
{
    const struct report_moment *a = first, *b = second;

    if (a->at_s != b->at_s) {
        return a->at_s < b->at_s ? -1 : 1;
    }
    return (a->event > b->event) - (a->event < b->event);
}

enum err report_history_find(const struct report_run *run, struct report_history *history_out)
{
    const size_t room = jdoc_count(run->events) + jdoc_count(run->supervised);
    struct report_history history = {.moments = calloc(room + 1, sizeof(*history.moments))};

    if (history.moments == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the events of a run");
    }
    add_supervised(&history, run);
    add_own(&history, run);
    if (history.count > 1) {
        qsort(history.moments, (size_t)history.count, sizeof(*history.moments), by_time);
    }
    *history_out = history;
    return ERR_OK;
}

void report_history_release(struct report_history *history)
{
    free(history->moments);
    *history = (struct report_history){0};
}
