#include "launch/report/metrics_exports.h"

#include <stdlib.h>

#include "launch/report/prometheus_file.h"
#include "launch/report/tensorboard_file.h"

struct metrics_exports {
    int64_t logging_steps;
    struct prometheus_file *prometheus;   /* NULL: not asked for */
    struct tensorboard_file *tensorboard; /* the same */
};

enum err metrics_exports_open(const struct options *options, uint64_t incarnation, int64_t step,
                              struct metrics_exports **exports_out)
{
    struct metrics_exports *exports = NULL;
    enum err status = ERR_OK;

    if (options->prometheus_file[0] == '\0' && !options->tensorboard) {
        *exports_out = NULL;
        return ERR_OK;
    }
    exports = calloc(1, sizeof(*exports));
    if (exports == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "exports of metrics");
    }
    exports->logging_steps = options->logging_steps;
    if (options->prometheus_file[0] != '\0') {
        ERR_GOTO(err_close, status,
                 prometheus_file_open(options->output_dir, options->prometheus_file, incarnation,
                                      step, &exports->prometheus));
    }
    if (options->tensorboard) {
        ERR_GOTO(err_close, status,
                 tensorboard_file_open(options->output_dir, step, &exports->tensorboard));
    }
    *exports_out = exports;
    return ERR_OK;

err_close:
    metrics_exports_close(exports);
    return status;
}

void metrics_exports_close(struct metrics_exports *exports)
{
    if (exports == NULL) {
        return;
    }
    prometheus_file_close(exports->prometheus);
    tensorboard_file_close(exports->tensorboard);
    free(exports);
}

void metrics_exports_step(struct metrics_exports *exports, const struct jdoc *record)
{
    if (exports == NULL) {
        return;
    }
    const bool is_logged = jdoc_as_int(jdoc_get(record, "step")) % exports->logging_steps == 0;
    if (exports->prometheus != NULL) {
        prometheus_file_step(exports->prometheus, record, is_logged);
    }
    if (exports->tensorboard != NULL && is_logged) {
        tensorboard_file_step(exports->tensorboard, record);
    }
}

void metrics_exports_event(struct metrics_exports *exports, const struct jdoc *event)
{
    if (exports != NULL && exports->prometheus != NULL) {
        prometheus_file_event(exports->prometheus, event);
    }
    if (exports != NULL && exports->tensorboard != NULL) {
        tensorboard_file_event(exports->tensorboard, event);
    }
}
