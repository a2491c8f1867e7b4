#define _POSIX_C_SOURCE 200809L
#include "launch/drill/drill_compare.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "launch/train_loop.h"

static enum err read_summary(const char *output_dir, struct jdoc **doc_out)
{
    char path[FILE_PATH_BYTES_MAX];
    const char *verdict = NULL;

    ERR_TRY(file_path(path, output_dir, TRAIN_SUMMARY_FILE));
    ERR_TRY(jdoc_read(path, doc_out));
    enum err status = jdoc_need_text(*doc_out, "verdict", path, &verdict);
    if (status == ERR_OK && strcmp(verdict, "finished") != 0) {
        status = ERR_FAIL(ERR_CORRUPT, "%s: the verdict is %s, not finished", path, verdict);
    }
    if (status != ERR_OK) {
        jdoc_close(*doc_out);
    }
    return status;
}

enum err drill_last_step(const char *output_dir, int64_t *step_out)
{
    struct jdoc *doc = NULL;

    ERR_TRY(read_summary(output_dir, &doc));
    const enum err status = jdoc_need_int(doc, "step", TRAIN_SUMMARY_FILE, step_out);
    jdoc_close(doc);
    return status;
}

static enum err compare_hashes(const struct jdoc *left, const struct jdoc *right, int64_t *step_out)
{
    const char *hashes[2] = {NULL, NULL};
    int64_t steps[2] = {0, 0};

    ERR_TRY(jdoc_need_int(left, "step", "reference", &steps[0]));
    ERR_TRY(jdoc_need_int(right, "step", TRAIN_SUMMARY_FILE, &steps[1]));
    ERR_TRY(jdoc_need_text(left, "state_hash", "reference", &hashes[0]));
    ERR_TRY(jdoc_need_text(right, "state_hash", TRAIN_SUMMARY_FILE, &hashes[1]));
    if (steps[0] != steps[1]) {
        return ERR_FAIL(ERR_DIFFERS, "the last step is %" PRId64 ", that of the reference %" PRId64,
                        steps[1], steps[0]);
    }
    if (strcmp(hashes[0], hashes[1]) != 0) {
        return ERR_FAIL(ERR_DIFFERS, "state_hash is %s, that of the reference %s", hashes[1],
                        hashes[0]);
    }
    *step_out = steps[0];
    return ERR_OK;
}

static enum err compare_maps(const struct file_map *left, const struct file_map *right,
                             const char *name)
{
    size_t at = 0;

    if (left->count != right->count) {
        return ERR_FAIL(ERR_DIFFERS, "%s has %zu bytes, that of the reference %zu", name,
                        right->count, left->count);
    }
    if (left->count == 0 || memcmp(left->bytes, right->bytes, left->count) == 0) {
        return ERR_OK;
    }
    while (left->bytes[at] == right->bytes[at]) {
        at++;
    }
    return ERR_FAIL(ERR_DIFFERS, "%s differs from the reference, first at byte %zu", name, at);
}

static enum err compare_file(const char *reference, const char *folder, const char *name,
                             struct drill_sum *sum)
{
    char paths[2][FILE_PATH_BYTES_MAX];
    struct file_map maps[2];

    ERR_TRY(file_path(paths[0], reference, name));
    ERR_TRY(file_path(paths[1], folder, name));
    ERR_TRY(file_map(paths[0], &maps[0]));
    enum err status = file_map(paths[1], &maps[1]);
    if (status == ERR_OK) {
        status = compare_maps(&maps[0], &maps[1], name);
        file_unmap(&maps[1]);
    }
    sum->bytes += (int64_t)maps[0].count;
    sum->files++;
    file_unmap(&maps[0]);
    return status;
}

static enum err compare_checkpoints(const char *reference, const char *output_dir,
                                    struct drill_sum *sum)
{
    char name[64];
    char folders[2][FILE_PATH_BYTES_MAX];
    enum err status = ERR_OK;

    snprintf(name, sizeof(name), "checkpoint-%" PRId64, sum->step);
    ERR_TRY(file_path(folders[0], reference, name));
    ERR_TRY(file_path(folders[1], output_dir, name));
    DIR *files = opendir(folders[0]);
    if (files == NULL) {
        return ERR_FAIL(ERR_MISSING, "%s: %s", folders[0], strerror(errno));
    }
    for (const struct dirent *entry = readdir(files); entry != NULL && status == ERR_OK;
         entry = readdir(files)) {
        if (strstr(entry->d_name, ".safetensors") != NULL) {
            status = compare_file(folders[0], folders[1], entry->d_name, sum);
        }
    }
    closedir(files);
    if (status == ERR_OK && sum->files == 0) {
        status = ERR_FAIL(ERR_MISSING, "%s has no tensors", folders[0]);
    }
    return status;
}

enum err drill_compare(const char *reference, const char *output_dir, struct drill_sum *sum_out)
{
    struct jdoc *left = NULL, *right = NULL;
    struct drill_sum sum = {0};

    ERR_TRY(read_summary(reference, &left));
    enum err status = read_summary(output_dir, &right);
    if (status == ERR_OK) {
        status = compare_hashes(left, right, &sum.step);
        jdoc_close(right);
    }
    jdoc_close(left);
    ERR_TRY(status);
    ERR_TRY(compare_checkpoints(reference, output_dir, &sum));
    *sum_out = sum;
    return ERR_OK;
}
