#include "launch/report/report_page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/hash.h"
#include "launch/commands.h"
#include "launch/report/report_figure.h"

static void add_title(const struct report_source *source, struct report_text *page)
{
    report_text_add(page,
                    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'\">\n"
                    "<meta name=\"generator\" content=\"offramp " OFFRAMP_VERSION "\">\n<title>");
    report_text_escaped(page, source->run_count == 1 ? source->runs[0].name : "Runs");
    report_text_add(page, " - offramp report</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>",
                    report_style);
    if (source->run_count == 1) {
        report_text_escaped(page, source->runs[0].name);
    } else {
        report_text_add(page, "%d runs, methods: %d", source->run_count, source->methods->count);
    }
    report_text_add(page, "</h1>\n<p class=\"by\">Report of offramp " OFFRAMP_VERSION
                          ". Spreads (\xc2\xb1, bars) are standard deviations over the seeds of a "
                          "method.</p>\n");
}

/* A number of a document as a cell; "" where it is not known. */
static void add_int(struct report_text *page, const struct jdoc *doc, const char *key)
{
    figure_number(page, report_number_of(doc, key), 1, 0);
}

static void add_verdict(struct report_text *page, const struct report_run *run)
{
    const char *told = report_text_of(run->summary, "verdict");
    const char *state = told == NULL ? report_text_of(run->status, "state") : told;
    const char *verdict = report_text_of(run->status, "verdict");
    const char *kind = "";

    if (verdict != NULL) {
        kind = strcmp(verdict, "finished") == 0                                  ? "good"
               : strcmp(verdict, "failed") == 0 || strcmp(verdict, "retry") == 0 ? "bad"
                                                                                 : "";
    }
    report_text_add(page, "<td class=\"%s\">", kind);
    report_text_escaped(page, state == NULL ? "" : state);
    report_text_add(page, "</td>");
}

static void add_machine(struct report_text *page, const struct report_run *run)
{
    static const char *const keys[] = {"host", "device", "cpu", "kernels"};
    const char *between = "";

    report_text_add(page, "<td class=\"words\">");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *words = report_text_of(run->holder, keys[i]);
        if (words != NULL) {
            report_text_add(page, "%s", between);
            report_text_escaped(page, words);
            between = "; ";
        }
    }
    report_text_add(page, "</td>");
}

static void add_hash(struct report_text *page, const char *hash)
{
    report_text_add(page, "<td class=\"hash\">");
    report_text_escaped(page, hash == NULL ? "" : hash);
    report_text_add(page, "</td>");
}

static void add_summary(const struct report_source *source, struct report_text *page)
{
    static const char *const names[] = {"run",        "method", "verdict",          "step",
                                        "ranks",      "starts", "test accuracy, %", "test samples",
                                        "state hash", "machine"};

    report_text_add(page, "<h2>Runs</h2>\n<div class=\"scroll\"><table id=\"summary\">\n");
    figure_head(page, names, sizeof(names) / sizeof(names[0]));
    report_text_add(page, "<tbody>\n");
    for (int r = 0; r < source->run_count; r++) {
        const struct report_run *run = &source->runs[r];
        const struct jdoc *summary = run->summary;
        report_text_add(page, "<tr>");
        figure_words(page, run->path);
        figure_words(page, source->methods->labels[run->method]);
        add_verdict(page, run);
        add_int(page, jdoc_get(summary, "step") == NULL ? run->status : summary, "step");
        add_int(page, jdoc_get(summary, "world_size") == NULL ? run->holder : summary,
                jdoc_get(summary, "world_size") == NULL ? "ranks" : "world_size");
        add_int(page, run->holder, "incarnation");
        figure_number(page, report_number_of(summary, "test_accuracy"), 100, 2);
        add_int(page, summary, "test_samples");
        add_hash(page, report_text_of(summary, "state_hash"));
        add_machine(page, run);
        report_text_add(page, "</tr>\n");
    }
    report_text_add(page, "</tbody></table></div>\n");
    for (int r = 0; r < source->run_count; r++) {
        const char *error = report_text_of(source->runs[r].summary, "error");
        if (source->runs[r].summary == NULL || error != NULL) {
            report_text_add(page, "<p class=\"missing\"><b>");
            report_text_escaped(page, source->runs[r].name);
            report_text_add(page, ".</b> ");
            report_text_escaped(page, error == NULL
                                          ? "There is no summary.json: the run has not ended, or "
                                            "was killed. What it has written so far is shown."
                                          : error);
            report_text_add(page, "</p>\n");
        }
    }
}

/* Files of the newest checkpoint, as its manifest names them. */
static void add_manifest(const struct report_run *run, struct report_text *page)
{
    static const char *const names[] = {"file", "bytes", "XXH3-128"};
    const struct jdoc *files = jdoc_get(run->manifest, "files");

    if (jdoc_count(files) == 0) {
        report_text_add(page, "<p class=\"missing\">There is no checkpoint with a manifest.</p>\n");
        return;
    }
    report_text_add(page, "<p>Files of checkpoint-%" PRId64 ", as its manifest has them:</p>\n",
                    run->checkpoint_step);
    report_text_add(page, "<div class=\"scroll\"><table>\n");
    figure_head(page, names, sizeof(names) / sizeof(names[0]));
    report_text_add(page, "<tbody>\n");
    for (void *m = jdoc_first(files); m != NULL; m = jdoc_next(files, m)) {
        const struct jdoc *file = jdoc_member_value(m);
        report_text_add(page, "<tr>");
        figure_words(page, jdoc_member_key(m));
        add_int(page, file, "bytes");
        add_hash(page, report_text_of(file, "xxh128"));
        report_text_add(page, "</tr>\n");
    }
    report_text_add(page, "</tbody></table></div>\n");
}

static void add_settings(const struct report_run *run, struct report_text *page)
{
    char digits[HASH_TEXT_BYTES];

    report_text_add(page, "<details><summary>");
    report_text_escaped(page, run->path);
    report_text_add(page, "</summary>\n");
    if (run->settings_text == NULL) {
        report_text_add(page, "<p class=\"missing\">There is no config.resolved.yaml.</p>\n");
    } else {
        hash_text(hash_bytes(run->settings_text, strlen(run->settings_text)), digits);
        report_text_add(page, "<p>config.resolved.yaml, XXH3-128 <code>%s</code>%s", digits,
                        run->settings_error[0] == '\0' ? "" : "; not understood: ");
        report_text_escaped(page, run->settings_error);
        report_text_add(page, "</p>\n<pre>");
        report_text_escaped(page, run->settings_text);
        report_text_add(page, "</pre>\n");
    }
    add_manifest(run, page);
    report_text_add(page, "</details>\n");
}

static enum err add_section(const struct report_source *source, const char *title,
                            figure_fn *const *figures, int count, struct report_text *page)
{
    report_text_add(page, "<h2>%s</h2>\n<div class=\"figures\">\n", title);
    for (int i = 0; i < count; i++) {
        ERR_TRY(figures[i](source, page));
    }
    report_text_add(page, "</div>\n");
    return ERR_OK;
}

static enum err add_all(const struct report_source *source, struct report_text *page)
{
    static figure_fn *const results[] = {
        figure_tradeoff_macs, figure_tradeoff_time, figure_reliability, figure_rules,
        figure_promises,      figure_exits,         figure_classes};
    static figure_fn *const training[] = {figure_losses, figure_throughput};
    static figure_fn *const life[] = {figure_timeline};

    add_title(source, page);
    add_summary(source, page);
    ERR_TRY(add_section(source, "Results", results, sizeof(results) / sizeof(results[0]), page));
    ERR_TRY(
        add_section(source, "Training", training, sizeof(training) / sizeof(training[0]), page));
    ERR_TRY(add_section(source, "Time line", life, sizeof(life) / sizeof(life[0]), page));
    report_text_add(page, "<h2>Settings and hashes</h2>\n");
    for (int r = 0; r < source->run_count; r++) {
        add_settings(&source->runs[r], page);
    }
    report_text_add(page, "</body>\n</html>\n");
    return report_text_check(page);
}

enum err report_page(struct report_run *runs, int run_count, struct report_text *page_out)
{
    struct report_text page = {0};
    struct report_methods methods;
    struct report_points points, rules;

    report_methods_find(runs, run_count, &methods);
    ERR_TRY(report_points_find(runs, run_count, "rows", &points));
    enum err status = report_points_find(runs, run_count, "policies", &rules);
    if (status == ERR_OK) {
        const struct report_source source = {runs, run_count, &methods, &points, &rules};
        status = add_all(&source, &page);
        report_points_release(&rules);
    }
    report_points_release(&points);
    if (status != ERR_OK) {
        report_text_release(&page);
        return status;
    }
    *page_out = page;
    return ERR_OK;
}
