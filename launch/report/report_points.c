#include "launch/report/report_points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"

void report_stat_add(struct report_stat *stat, double value)
{
    if (!isfinite(value)) {
        return;
    }
    stat->count++;
    const double before = value - stat->mean;
    stat->mean += before / stat->count;
    stat->squares += before * (value - stat->mean);
}

double report_stat_mean(const struct report_stat *stat)
{
    return stat->count == 0 ? NAN : stat->mean;
}

double report_stat_spread(const struct report_stat *stat)
{
    return stat->count < 2 ? NAN : sqrt(stat->squares / (stat->count - 1));
}

bool report_family_is_oracle(const struct report_points *points, int family)
{
    return strcmp(points->families[family], "oracle") == 0;
}

/* "exit 3" and "end" are one family. */
static bool is_fixed(const char *policy)
{
    return strncmp(policy, "exit ", strlen("exit ")) == 0 || strcmp(policy, "end") == 0;
}

/* What are too many become the last one's. */
static int family_of(struct report_points *points, const char *policy)
{
    int family = 1;

    if (is_fixed(policy)) {
        return 0;
    }
    while (family < points->family_count && strcmp(points->families[family], policy) != 0) {
        family++;
    }
    if (family == points->family_count && family < REPORT_FAMILIES_MAX) {
        points->families[points->family_count++] = policy;
    }
    return family < REPORT_FAMILIES_MAX ? family : REPORT_FAMILIES_MAX - 1;
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* NULL if there is no memory. */
static struct report_point *find_point(struct report_points *points, struct report_point wanted)
{
    for (int i = 0; i < points->count; i++) {
        struct report_point *point = &points->points[i];
        if (point->method == wanted.method && strcmp(point->policy, wanted.policy) == 0 &&
            same_number(point->lambda, wanted.lambda) &&
            same_number(point->budget, wanted.budget) && same_number(point->risk, wanted.risk) &&
            same_text(point->unit, wanted.unit)) {
            return point;
        }
    }
    struct report_point *more =
        realloc(points->points, ((size_t)points->count + 1) * sizeof(*points->points));
    if (more == NULL) {
        return NULL;
    }
    points->points = more;
    struct report_point *point = &points->points[points->count++];
    *point = wanted;
    point->family = family_of(points, wanted.policy);
    return point;
}

static void add_row(struct report_point *point, const struct jdoc *row)
{
    const struct jdoc *exits = jdoc_get(row, "exits");

    point->row = point->row == NULL ? row : point->row;
    point->run_count++;
    report_stat_add(&point->accuracy, report_number_of(row, "accuracy"));
    report_stat_add(&point->macs_share, report_number_of(row, "macs_share"));
    report_stat_add(&point->mean_macs, report_number_of(row, "mean_macs"));
    report_stat_add(&point->ms_per_sample, report_number_of(row, "ms_per_sample"));
    report_stat_add(&point->ece, report_number_of(row, "ece"));
    for (size_t g = 0; g < jdoc_count(exits) && g < REPORT_EXITS_MAX; g++) {
        report_stat_add(&point->shares[g], report_number_of(jdoc_at(exits, g), "share"));
        point->exit_count = (int)g + 1 > point->exit_count ? (int)g + 1 : point->exit_count;
    }
}

static enum err add_run(struct report_points *points, const struct report_run *run, const char *key)
{
    const struct jdoc *sets = jdoc_get(report_run_results(run), "lambdas");

    report_stat_add(&points->final[run->method],
                    report_number_of(report_run_results(run), "test_accuracy"));
    for (size_t s = 0; s < jdoc_count(sets); s++) {
        const struct jdoc *set = jdoc_at(sets, s);
        const struct jdoc *rows = jdoc_get(set, key);
        for (size_t r = 0; r < jdoc_count(rows); r++) {
            const struct jdoc *row = jdoc_at(rows, r);
            const char *policy = report_text_of(row, "policy");
            if (policy == NULL) {
                continue;
            }
            struct report_point *point = find_point(
                points, (struct report_point){
                            .method = run->method,
                            .policy = policy,
                            .lambda = is_fixed(policy) ? NAN : report_number_of(set, "lambda"),
                            .budget = report_number_of(row, "budget"),
                            .risk = report_number_of(row, "risk"),
                            .unit = report_text_of(row, "budget_unit")});
            if (point == NULL) {
                return ERR_FAIL(ERR_NO_MEMORY, "points of a report");
            }
            add_row(point, row);
        }
    }
    return ERR_OK;
}

static int by_place(const void *first, const void *second)
{
    const struct report_point *a = first, *b = second;
    const double x = report_stat_mean(&a->macs_share), y = report_stat_mean(&b->macs_share);

    if (a->method != b->method) {
        return a->method < b->method ? -1 : 1;
    }
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    return (x > y) - (x < y);
}

enum err report_points_find(const struct report_run *runs, int run_count, const char *key,
                            struct report_points *points_out)
{
    struct report_points points = {.families = {"one exit for all"}, .family_count = 1};

    for (int r = 0; r < run_count; r++) {
        const enum err status = add_run(&points, &runs[r], key);
        if (status != ERR_OK) {
            report_points_release(&points);
            return status;
        }
    }
    if (points.count > 1) {
        qsort(points.points, (size_t)points.count, sizeof(*points.points), by_place);
    }
    *points_out = points;
    return ERR_OK;
}

double report_points_middle(const struct report_points *points, int method)
{
    double lambdas[REPORT_RUNS_MAX];
    int count = 0;

    for (int i = 0; i < points->count; i++) { /* inserted in order, each once */
        const struct report_point *point = &points->points[i];
        int at = count;
        if (point->method != method || isnan(point->lambda) || count == REPORT_RUNS_MAX) {
            continue;
        }
        while (at > 0 && lambdas[at - 1] > point->lambda) {
            at--;
        }
        if (at > 0 && lambdas[at - 1] == point->lambda) {
            continue;
        }
        memmove(&lambdas[at + 1], &lambdas[at], (size_t)(count - at) * sizeof(lambdas[0]));
        lambdas[at] = point->lambda;
        count++;
    }
    return count == 0 ? NAN : lambdas[count / 2];
}

void report_points_release(struct report_points *points)
{
    free(points->points);
    *points = (struct report_points){0};
}
