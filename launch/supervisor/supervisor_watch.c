#define _GNU_SOURCE
#include "launch/supervisor/supervisor_watch.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/clock.h"

static const char HEAD[] = "offramp 1";

enum { NS_PER_MS = 1000000 };

static long long age_ms(int64_t ns, int64_t now_ns)
{
    return ns == 0 ? -1 : (long long)((now_ns - ns) / NS_PER_MS);
}

void watch_line_put(int rank, const struct progress *progress, int64_t now_ns, char *text,
                    size_t text_bytes)
{
    int used = snprintf(text, text_bytes,
                        " %d:%d:%" PRIu64 ":%" PRIu64 ":%" PRIu64 ":%d:%" PRId64 ":%" PRId64
                        ":%" PRId64 ":%" PRId64 ":%d:%" PRId64 ":%lld:%lld",
                        rank, progress->process, progress->start, progress->incarnation,
                        progress->beats, (int)progress->phase, progress->step, progress->kept,
                        progress->from, progress->stage, progress->code, progress->quiet_ms,
                        age_ms(progress->at_ns, now_ns), age_ms(progress->first_step_ns, now_ns));

    for (int phase = PROGRESS_BEGUN; phase < PROGRESS_PHASES; phase++) {
        const size_t at = used < (int)text_bytes ? (size_t)used : text_bytes;
        used += snprintf(text + at, text_bytes - at, "%c%lld", phase == PROGRESS_BEGUN ? ':' : ',',
                         age_ms(progress->since_ns[phase], now_ns));
    }
}

bool watch_line_is(const char *line)
{
    const size_t head = sizeof(HEAD) - 1;

    return strncmp(line, HEAD, head) == 0 && (line[head] == ' ' || line[head] == '\0');
}

static int64_t time_of(long long age, int64_t now_ns)
{
    return age < 0 || age > INT64_MAX / (2 * NS_PER_MS) ? 0 : now_ns - age * NS_PER_MS;
}

bool watch_line_next(const char *line, const char **at, int64_t now_ns, int *rank_out,
                     struct progress *progress_out)
{
    const char *text = *at == NULL ? line + sizeof(HEAD) - 1 : *at;
    struct progress told = {0};
    long long at_age = 0, first_age = 0, age = 0;
    int rank = 0, phase = 0, length = 0;

    if ((*at == NULL && !watch_line_is(line)) ||
        sscanf(text,
               " %d:%d:%" SCNu64 ":%" SCNu64 ":%" SCNu64 ":%d:%" SCNd64 ":%" SCNd64 ":%" SCNd64
               ":%" SCNd64 ":%d:%" SCNd64 ":%lld:%lld%n",
               &rank, &told.process, &told.start, &told.incarnation, &told.beats, &phase,
               &told.step, &told.kept, &told.from, &told.stage, &told.code, &told.quiet_ms, &at_age,
               &first_age, &length) != 14 ||
        rank < 0 || phase < 0 || phase >= PROGRESS_PHASES || told.quiet_ms < 0) {
        return false;
    }
    text += length;
    told.phase = (enum progress_phase)phase;
    told.at_ns = time_of(at_age, now_ns);
    told.first_step_ns = time_of(first_age, now_ns);
    for (int p = PROGRESS_BEGUN; p < PROGRESS_PHASES; p++) {
        if (sscanf(text, p == PROGRESS_BEGUN ? ":%lld%n" : ",%lld%n", &age, &length) != 1) {
            return false;
        }
        told.since_ns[p] = time_of(age, now_ns);
        text += length;
    }
    *rank_out = rank;
    *progress_out = told;
    *at = text;
    return true;
}

/* The ranks that have a page in the folder, after `line`. */
static void put_ranks(const char *folder, char *line)
{
    DIR *pages = opendir(folder);
    const int64_t now_ns = clock_now_ns();
    size_t used = strlen(line);

    for (struct dirent *entry = pages == NULL ? NULL : readdir(pages);
         entry != NULL && used + 512 < WATCH_LINE_BYTES; entry = readdir(pages)) {
        struct progress_view *view = NULL;
        struct progress told;
        int rank = 0;
        if (sscanf(entry->d_name, "progress-%d", &rank) != 1) {
            continue;
        }
        if (progress_view_open(folder, rank, &view) != ERR_OK) {
            err_clear();
            continue;
        }
        if (progress_view_read(view, &told)) {
            watch_line_put(rank, &told, now_ns, line + used, WATCH_LINE_BYTES - used);
            used += strlen(line + used);
        }
        progress_view_close(view);
    }
    if (pages != NULL) {
        closedir(pages);
    }
}

static volatile sig_atomic_t is_told_to_end;

static void on_signal(int number)
{
    (void)number;
    is_told_to_end = 1;
}

enum err watch_run(const char *folder)
{
    char *line = malloc(WATCH_LINE_BYTES);

    if (line == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a line");
    }
    signal(SIGPIPE, SIG_IGN); /* the end of the listener is the end of this loop */
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    while (is_told_to_end == 0) {
        snprintf(line, WATCH_LINE_BYTES, "%s", HEAD);
        put_ranks(folder, line);
        if (printf("%s\n", line) < 0 || fflush(stdout) != 0) {
            break;
        }
        clock_nap_us(1000 * WATCH_PERIOD_MS);
    }
    free(line);
    progress_tidy(folder); /* who listened sweeps its own machine only */
    return ERR_OK;
}
