#define _POSIX_C_SOURCE 200809L
#include "launch/run_losses.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "launch/jsonl_tail.h"

enum { BYTES_MAX = 1024 * 1024, LOSSES_MAX = 1000 };

static bool is_event(const struct jdoc *event, const char *name)
{
    const char *text = jdoc_as_text(jdoc_get(event, "event"));

    return text != NULL && strcmp(text, name) == 0;
}

static void describe_loss(const struct jdoc *event, char *text, size_t text_bytes)
{
    const char *node = jdoc_as_text(jdoc_get(event, "node"));
    const char *host = jdoc_as_text(jdoc_get(event, "host"));
    char who[320] = "the job";
    char how[64] = "gone";

    if (node != NULL) {
        snprintf(text, text_bytes, "node %s, gone", node);
        return;
    }
    if (jdoc_is_int(jdoc_get(event, "rank"))) {
        snprintf(who, sizeof(who), "rank %" PRId64 " (%s)", jdoc_as_int(jdoc_get(event, "rank")),
                 host == NULL ? "?" : host);
    }
    const int64_t signal = jdoc_as_int(jdoc_get(event, "signal"));
    if (jdoc_get(event, "silent_s") != NULL) {
        snprintf(how, sizeof(how), "hung, silent for %.1f s",
                 jdoc_as_real(jdoc_get(event, "silent_s")));
    } else if (signal > 0) {
        snprintf(how, sizeof(how), "signal %" PRId64, signal);
    } else if (jdoc_is_int(jdoc_get(event, "code"))) {
        snprintf(how, sizeof(how), "exit code %" PRId64, jdoc_as_int(jdoc_get(event, "code")));
    }
    snprintf(text, text_bytes, "%s, %s", who, how);
}

/* `recovered`: the event that came after it; NULL: none did. */
static struct jdoc *make_loss(const struct jdoc *lost, const struct jdoc *recovered)
{
    struct jdoc *loss = jdoc_object();
    char text[400];

    describe_loss(lost, text, sizeof(text));
    jdoc_set_text(loss, "what", text);
    jdoc_set_int(loss, "step", jdoc_as_int(jdoc_get(lost, "step")));
    if (recovered != NULL) {
        jdoc_set_int(loss, "from", jdoc_as_int(jdoc_get(recovered, "from")));
        jdoc_set_real(loss, "down_s", jdoc_as_real(jdoc_get(recovered, "down_s")));
    }
    return loss;
}

struct jdoc *run_losses_read(const char *output_dir, struct run_losses *losses_out)
{
    struct run_losses losses = {.restarts = -1};
    struct jdoc *newest_first[LOSSES_MAX];
    struct jdoc *list = jdoc_array();
    struct jdoc *recovered = NULL;
    struct jdoc *event = NULL;
    struct jsonl_tail tail = {.text = NULL};
    char path[FILE_PATH_BYTES_MAX];
    bool is_newest = true; /* launch, that is: no earlier one was met */
    bool has_started = false;
    int count = 0;

    if (file_path(path, output_dir, "supervisor.jsonl") != ERR_OK ||
        jsonl_tail_read(path, BYTES_MAX, &tail) != ERR_OK) {
        err_clear();
    }
    while (count < LOSSES_MAX && (event = jsonl_tail_previous(&tail)) != NULL) {
        if (is_newest && losses.restarts < 0 && jdoc_is_int(jdoc_get(event, "restarts"))) {
            losses.restarts = jdoc_as_int(jdoc_get(event, "restarts"));
        }
        losses.is_over = losses.is_over || (is_newest && is_event(event, "run.over"));
        has_started = has_started || is_event(event, "job.started");
        if (is_event(event, "run.begun")) {
            losses.restarts = is_newest && losses.restarts < 0 ? 0 : losses.restarts;
            is_newest = false;
        } else if (is_event(event, "job.lost")) {
            losses.is_between = losses.is_between || (is_newest && !has_started);
            newest_first[count++] = make_loss(event, recovered);
        }
        /* Kept until the loss that it came after; others may lie between. */
        if (is_event(event, "job.lost") || is_event(event, "run.begun")) {
            jdoc_close(recovered);
            recovered = NULL;
        }
        if (is_event(event, "job.recovered")) {
            jdoc_close(recovered);
            recovered = event;
        } else {
            jdoc_close(event);
        }
    }
    jdoc_close(recovered);
    jsonl_tail_release(&tail);
    while (count > 0) {
        jdoc_append(list, newest_first[--count]);
    }
    *losses_out = losses;
    return list;
}
