#include "snapshot/snap_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"

enum { FORMAT_VERSION = 1 };

enum err snap_plan_write(const struct snap_plan *plan, const char *folder)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = jdoc_object();
    struct jdoc *files = jdoc_array();
    char *text = NULL;

    for (int i = 0; i < plan->file_count; i++) {
        struct jdoc *file = jdoc_object();
        jdoc_set_text(file, "name", plan->files[i].name);
        jdoc_set_int(file, "at", (int64_t)plan->files[i].at);
        jdoc_set_int(file, "bytes", (int64_t)plan->files[i].bytes);
        jdoc_set_int(file, "width", plan->files[i].width);
        jdoc_append(files, file);
    }
    jdoc_set_int(doc, "format_version", FORMAT_VERSION);
    jdoc_set_text(doc, "output_dir", plan->output_dir);
    jdoc_set_int(doc, "keep_count", plan->keep_count);
    jdoc_set_text(doc, "incarnation_file", plan->incarnation_file);
    jdoc_set_int(doc, "incarnation", plan->incarnation);
    jdoc_set_int(doc, "bytes_per_s", plan->bytes_per_s);
    jdoc_set_int(doc, "deadline_ms", plan->deadline_ms);
    jdoc_set(doc, "files", files);
    enum err status = jdoc_text(doc, 2, &text);
    jdoc_close(doc);
    ERR_TRY(status);
    status = file_path(path, folder, SNAP_PLAN_FILE);
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    return status;
}

static enum err copy_text(char *to, size_t to_bytes, const char *text, const char *what)
{
    if (strlen(text) >= to_bytes || text[0] == '\0') {
        return ERR_FAIL(ERR_CORRUPT, "%s: a name of %zu bytes", what, strlen(text));
    }
    memcpy(to, text, strlen(text) + 1);
    return ERR_OK;
}

static enum err read_file(const struct jdoc *doc, const char *what, struct snap_extent *file)
{
    const char *name = NULL;
    int64_t at = 0, bytes = 0, width = 0;

    ERR_TRY(jdoc_need_text(doc, "name", what, &name));
    ERR_TRY(copy_text(file->name, sizeof(file->name), name, what));
    ERR_TRY(jdoc_need_int(doc, "at", what, &at));
    ERR_TRY(jdoc_need_int(doc, "bytes", what, &bytes));
    ERR_TRY(jdoc_need_int(doc, "width", what, &width));
    if (strchr(name, '/') != NULL || name[0] == '.' || at < 0 || bytes < 0 ||
        bytes > INT64_MAX - at || width < 0 || width > 8 || (width & (width - 1)) != 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: file %s: %" PRId64 " bytes at %" PRId64 ", width %" PRId64, what, name,
                        bytes, at, width);
    }
    file->at = (uint64_t)at;
    file->bytes = (uint64_t)bytes;
    file->width = (uint32_t)width;
    return ERR_OK;
}

static enum err read_plan(const struct jdoc *doc, const char *what, struct snap_plan *plan)
{
    const struct jdoc *files = jdoc_get(doc, "files");
    const char *output_dir = NULL, *incarnation_file = NULL;
    int64_t version = 0;

    ERR_TRY(jdoc_need_int(doc, "format_version", what, &version));
    ERR_TRY(jdoc_need_text(doc, "output_dir", what, &output_dir));
    ERR_TRY(copy_text(plan->output_dir, sizeof(plan->output_dir), output_dir, what));
    if (output_dir[0] != '/') {
        return ERR_FAIL(ERR_CORRUPT, "%s: output_dir %.200s is not absolute", what, output_dir);
    }
    ERR_TRY(jdoc_need_int(doc, "keep_count", what, &plan->keep_count));
    ERR_TRY(jdoc_need_text(doc, "incarnation_file", what, &incarnation_file));
    if (incarnation_file[0] != '\0') {
        ERR_TRY(copy_text(plan->incarnation_file, sizeof(plan->incarnation_file), incarnation_file,
                          what));
    }
    ERR_TRY(jdoc_need_int(doc, "incarnation", what, &plan->incarnation));
    ERR_TRY(jdoc_need_int(doc, "bytes_per_s", what, &plan->bytes_per_s));
    ERR_TRY(jdoc_need_int(doc, "deadline_ms", what, &plan->deadline_ms));
    if (version != FORMAT_VERSION || plan->keep_count < 1 || plan->bytes_per_s < 0 ||
        plan->deadline_ms < 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: a number out of range", what);
    }
    if (!jdoc_is_array(files)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: no list of files", what);
    }
    if (jdoc_count(files) == 0 || jdoc_count(files) > SNAP_PLAN_FILES_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %zu files", what, jdoc_count(files));
    }
    plan->file_count = (int)jdoc_count(files);
    for (int i = 0; i < plan->file_count; i++) {
        ERR_TRY(read_file(jdoc_at(files, (size_t)i), what, &plan->files[i]));
    }
    return ERR_OK;
}

enum err snap_plan_parse(const char *text, size_t text_bytes, const char *what,
                         struct snap_plan *plan_out)
{
    struct jdoc *doc = NULL;
    struct snap_plan plan = {0};

    ERR_TRY(jdoc_parse(text, text_bytes, what, &doc));
    const enum err status = read_plan(doc, what, &plan);
    jdoc_close(doc);
    if (status == ERR_OK) {
        *plan_out = plan;
    }
    return status;
}

enum err snap_plan_read(const char *folder, struct snap_plan *plan_out)
{
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    ERR_TRY(file_path(path, folder, SNAP_PLAN_FILE));
    ERR_TRY(file_map(path, &map));
    const enum err status = snap_plan_parse((const char *)map.bytes, map.count, path, plan_out);
    file_unmap(&map);
    return status;
}

enum err snap_plan_check_start(const struct snap_plan *plan)
{
    struct file_map map;
    char text[32] = "";

    if (plan->incarnation_file[0] == '\0') {
        return ERR_OK;
    }
    if (file_map(plan->incarnation_file, &map) !=
        ERR_OK) { /* the first start has yet to write it */
        err_clear();
        return ERR_OK;
    }
    memcpy(text, map.bytes, map.count < sizeof(text) ? map.count : sizeof(text) - 1);
    file_unmap(&map);
    const long long newest = strtoll(text, NULL, 10);
    if (newest > plan->incarnation) {
        return ERR_FAIL(ERR_CONFIG, "start %lld has taken over from start %" PRId64, newest,
                        plan->incarnation);
    }
    return ERR_OK;
}
