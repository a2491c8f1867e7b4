#define _POSIX_C_SOURCE 200809L
#include "launch/report/tensorboard_file.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tensorboard.pb-c.h>

#include "comm/base/file.h"
#include "launch/report/report_run.h"
#include "launch/report/tfrecord.h"

enum { TAG_BYTES = 96, NAMES_MAX = 100 };

/* A scalar with its name. */
struct scalar {
    struct Offramp__Tensorboard__Value value;
    char tag[TAG_BYTES];
};

struct tensorboard_file {
    FILE *file;                                  /* NULL after a failure */
    struct scalar *scalars;                      /* [room]; of the event that is being made */
    struct Offramp__Tensorboard__Value **values; /* [room] */
    uint8_t *packed;                             /* [packed_bytes] */
    size_t count, room, packed_bytes;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void give_up(struct tensorboard_file *file, const char *why)
{
    fprintf(stderr, "offramp: tensorboard: %s; no more is written\n", why);
    fclose(file->file);
    file->file = NULL;
}

/* Appends the event as a record. */
static enum err put(struct tensorboard_file *file, const struct Offramp__Tensorboard__Event *event)
{
    const size_t count = offramp__tensorboard__event__get_packed_size(event);
    uint8_t head[TFRECORD_HEAD_BYTES], tail[TFRECORD_TAIL_BYTES];

    if (count > file->packed_bytes) {
        uint8_t *packed = realloc(file->packed, count);
        if (packed == NULL) {
            return ERR_FAIL(ERR_NO_MEMORY, "an event of %zu bytes", count);
        }
        file->packed = packed;
        file->packed_bytes = count;
    }
    offramp__tensorboard__event__pack(event, file->packed);
    tfrecord_frame(file->packed, count, head, tail);
    if (fwrite(head, sizeof(head), 1, file->file) != 1 ||
        fwrite(file->packed, 1, count, file->file) != count ||
        fwrite(tail, sizeof(tail), 1, file->file) != 1 || fflush(file->file) != 0) {
        return ERR_FAIL(ERR_IO, "write: %s", strerror(errno));
    }
    return ERR_OK;
}

static struct Offramp__Tensorboard__Event make_event(int64_t step)
{
    struct Offramp__Tensorboard__Event event = OFFRAMP__TENSORBOARD__EVENT__INIT;

    event.has_wall_time = 1;
    event.wall_time = now_s();
    event.has_step = 1;
    event.step = step;
    return event;
}

static bool make_room(struct tensorboard_file *file)
{
    const size_t room = file->room == 0 ? 64 : 2 * file->room;

    if (file->count < file->room) {
        return true;
    }
    struct scalar *scalars = realloc(file->scalars, room * sizeof(*scalars));
    if (scalars == NULL) {
        return false;
    }
    file->scalars = scalars;
    struct Offramp__Tensorboard__Value **values =
        realloc(file->values, room * sizeof(struct Offramp__Tensorboard__Value *));
    if (values == NULL) {
        return false;
    }
    file->values = values;
    file->room = room;
    return true;
}

/* A number that is not there, or not finite, is left out: there is no place for it on an axis. */
static void add(struct tensorboard_file *file, double number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(struct tensorboard_file *file, double number, const char *format, ...)
{
    va_list list;

    if (!isfinite(number) || !make_room(file)) {
        return;
    }
    struct scalar *scalar = &file->scalars[file->count++];
    va_start(list, format);
    vsnprintf(scalar->tag, sizeof(scalar->tag), format, list);
    va_end(list);
    scalar->value = (struct Offramp__Tensorboard__Value)OFFRAMP__TENSORBOARD__VALUE__INIT;
    scalar->value.has_simple_value = 1;
    scalar->value.simple_value = (float)number;
}

/* Writes what was added, as one event. */
static void put_scalars(struct tensorboard_file *file, int64_t step)
{
    struct Offramp__Tensorboard__Summary summary = OFFRAMP__TENSORBOARD__SUMMARY__INIT;
    struct Offramp__Tensorboard__Event event = make_event(step);
    char text[512];

    for (size_t i = 0; i < file->count; i++) { /* they do not move any more */
        file->scalars[i].value.tag = file->scalars[i].tag;
        file->values[i] = &file->scalars[i].value;
    }
    summary.n_value = file->count;
    summary.value = file->values;
    event.what_case = OFFRAMP__TENSORBOARD__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    if (file->count > 0 && put(file, &event) != ERR_OK) {
        err_text(text, sizeof(text));
        err_clear();
        give_up(file, text);
    }
    file->count = 0;
}

/* What a reader must know before the first scalar. */
static enum err put_start(struct tensorboard_file *file, int64_t step)
{
    char version[] = "brain.Event:2";
    struct Offramp__Tensorboard__Event event = make_event(0);
    struct Offramp__Tensorboard__SessionLog log = OFFRAMP__TENSORBOARD__SESSION_LOG__INIT;

    event.what_case = OFFRAMP__TENSORBOARD__EVENT__WHAT_FILE_VERSION;
    event.file_version = version;
    ERR_TRY(put(file, &event));
    event = make_event(step + 1);
    log.has_status = 1;
    log.status = OFFRAMP__TENSORBOARD__SESSION_LOG__STATUS__START;
    event.what_case = OFFRAMP__TENSORBOARD__EVENT__WHAT_SESSION_LOG;
    event.session_log = &log;
    return put(file, &event);
}

/* TensorBoard reads files in the order of their names: the time is in front, and grows. */
static enum err create(const char *folder, FILE **file_out)
{
    char host[128] = "", name[256], path[FILE_PATH_BYTES_MAX];

    gethostname(host, sizeof(host) - 1);
    for (int i = 0; i < NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "events.out.tfevents.%010lld.%s.%ld.%d", (long long)now_s(),
                 host, (long)getpid(), i);
        ERR_TRY(file_path(path, folder, name));
        FILE *file = fopen(path, "wxe");
        if (file != NULL) {
            *file_out = file;
            return ERR_OK;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return ERR_FAIL(ERR_IO, "%s: open: %s", path, strerror(errno));
}

enum err tensorboard_file_open(const char *output_dir, int64_t step,
                               struct tensorboard_file **file_out)
{
    struct tensorboard_file *file = calloc(1, sizeof(*file));
    char folder[FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;

    if (file == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "tensorboard");
    }
    ERR_GOTO(err_close, status, file_path(folder, output_dir, "tensorboard"));
    ERR_GOTO(err_close, status, file_make_folder(folder));
    ERR_GOTO(err_close, status, create(folder, &file->file));
    ERR_GOTO(err_close, status, put_start(file, step));
    *file_out = file;
    return ERR_OK;

err_close:
    tensorboard_file_close(file);
    return status;
}

void tensorboard_file_close(struct tensorboard_file *file)
{
    if (file == NULL) {
        return;
    }
    if (file->file != NULL) {
        fclose(file->file);
    }
    free(file->scalars);
    free(file->values);
    free(file->packed);
    free(file);
}

/* A list of a set of exits: of exits 1 .. G, and of the end if `has_end`. */
static void add_list(struct tensorboard_file *file, const struct jdoc *set, const char *key,
                     const char *name, bool has_end)
{
    const struct jdoc *values = jdoc_get(set, key);
    const double lambda = report_number_of(set, "lambda");
    const size_t count = jdoc_count(values);

    for (size_t g = 0; g < count; g++) {
        const struct jdoc *value = jdoc_at(values, g);
        const double number = jdoc_is_number(value) ? jdoc_as_real(value) : NAN;
        if (g + 1 < count) {
            add(file, number, "%s/lambda_%.9g/exit_%zu", name, lambda, g + 1);
        } else if (has_end) {
            add(file, number, "%s/lambda_%.9g/end", name, lambda);
        }
    }
}

static void add_set(struct tensorboard_file *file, const struct jdoc *set)
{
    static const char *const keys[] = {"head_loss", "gate_loss", "cost"};
    const double lambda = report_number_of(set, "lambda");

    add_list(file, set, "loss", "loss", false);
    add_list(file, set, "accuracy", "accuracy", false);
    add_list(file, set, "share", "exit_share", true);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        add(file, report_number_of(set, keys[i]), "%s/lambda_%.9g", keys[i], lambda);
    }
}

void tensorboard_file_step(struct tensorboard_file *file, const struct jdoc *record)
{
    static const char *const groups[][2] = {
        {"", "backbone"}, {"head_", "heads"}, {"gate_", "gates"}};
    static const char *const of_groups[] = {"learning_rate", "grad_norm"};
    const struct jdoc *sets = jdoc_get(record, "exits");
    char key[64];

    if (file->file == NULL) {
        return;
    }
    add(file, report_number_of(record, "loss"), "loss/end");
    add(file, report_number_of(record, "accuracy"), "accuracy/end");
    add(file, report_number_of(record, "samples_per_s"), "throughput/samples_per_s");
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (size_t k = 0; k < sizeof(of_groups) / sizeof(of_groups[0]); k++) {
            snprintf(key, sizeof(key), "%s%s", groups[g][0], of_groups[k]);
            add(file, report_number_of(record, key), "%s/%s", of_groups[k], groups[g][1]);
        }
    }
    for (size_t s = 0; s < jdoc_count(sets); s++) {
        add_set(file, jdoc_at(sets, s));
    }
    put_scalars(file, jdoc_as_int(jdoc_get(record, "step")));
}

void tensorboard_file_event(struct tensorboard_file *file, const struct jdoc *event)
{
    const char *name = report_text_of(event, "event");

    if (file->file != NULL && name != NULL && strcmp(name, "snapshot.committed") == 0) {
        add(file, report_number_of(event, "stall_s"), "snapshot/stall_s");
        add(file, report_number_of(event, "lag_s"), "snapshot/lag_s");
        put_scalars(file, jdoc_as_int(jdoc_get(event, "step")));
    }
}
