#define _POSIX_C_SOURCE 200809L
#include "launch/predict/predict_output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/base/file.h"

struct predict_output {
    FILE *to;         /* NULL: finished */
    const char *name; /* for errors */
    char path[FILE_PATH_BYTES_MAX];
    char partial[FILE_PATH_BYTES_MAX]; /* "": none */
};

static enum err write_failed(const struct predict_output *output)
{
    return ERR_FAIL(ERR_IO, "write %s: %s", output->name, strerror(errno));
}

static enum err open_path(const char *path, struct predict_output *output)
{
    struct stat status;
    const bool is_special = stat(path, &status) == 0 && !S_ISREG(status.st_mode);
    const int bytes = snprintf(output->partial, sizeof(output->partial), "%s.partial", path);

    if (bytes >= (int)sizeof(output->partial)) {
        return ERR_FAIL(ERR_INVALID, "--output: a path of %zu bytes", strlen(path));
    }
    snprintf(output->path, sizeof(output->path), "%s", path);
    output->name = output->path;
    output->to = fopen(is_special ? path : output->partial, "we");
    if (is_special || output->to == NULL) {
        output->partial[0] = '\0';
    }
    return output->to == NULL ? ERR_FAIL(ERR_IO, "--output: open %s%s: %s", path,
                                         is_special ? "" : ".partial", strerror(errno))
                              : ERR_OK;
}

enum err predict_output_open(const char *path, struct predict_output **output_out)
{
    struct predict_output *output = calloc(1, sizeof(*output));

    if (output == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "an output");
    }
    output->to = stdout;
    output->name = "standard output";
    const enum err status = path == NULL ? ERR_OK : open_path(path, output);
    if (status != ERR_OK) {
        predict_output_close(output);
        return status;
    }
    *output_out = output;
    return ERR_OK;
}

void predict_output_close(struct predict_output *output)
{
    if (output == NULL) {
        return;
    }
    if (output->to != NULL && output->to != stdout) {
        fclose(output->to);
    }
    if (output->partial[0] != '\0') {
        remove(output->partial);
    }
    free(output);
}

enum err predict_output_line(struct predict_output *output, const struct jdoc *doc)
{
    char *text = NULL;

    ERR_TRY(jdoc_text(doc, 0, &text));
    const bool is_written = fputs(text, output->to) >= 0 && fputc('\n', output->to) != EOF;
    const enum err status = is_written ? ERR_OK : write_failed(output);
    free(text);
    return status;
}

enum err predict_output_flush(struct predict_output *output)
{
    return fflush(output->to) == 0 ? ERR_OK : write_failed(output);
}

enum err predict_output_finish(struct predict_output *output)
{
    ERR_TRY(predict_output_flush(output));
    if (output->to == stdout) {
        return ERR_OK;
    }
    FILE *to = output->to;
    output->to = NULL;
    if (fclose(to) != 0) {
        return write_failed(output);
    }
    if (output->partial[0] != '\0' && rename(output->partial, output->path) != 0) {
        return ERR_FAIL(ERR_IO, "--output %s: rename: %s", output->path, strerror(errno));
    }
    output->partial[0] = '\0';
    return ERR_OK;
}
