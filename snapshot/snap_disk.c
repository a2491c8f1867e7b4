#define _GNU_SOURCE
#include "snapshot/snap_disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/fault.h"
#include "comm/base/hash.h"
#include "comm/base/jdoc.h"
#include "snapshot/snap_packs.h"

static const char MANIFEST_FILE[] = "manifest.json";
static const char LATEST_FILE[] = "latest";
static const char PREFIX[] = "checkpoint-";
static const char PARTIAL[] = ".partial";
static const char DROPPED[] = ".dropped";

enum { FORMAT_VERSION = 1, CHECKPOINTS_MAX = 4096 };

/* The step of "checkpoint-<step><ending>" exactly; -1 for any other name. */
static int64_t step_of(const char *name, const char *ending)
{
    char *end = NULL;

    if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0) {
        return -1;
    }
    const char *digits = name + sizeof(PREFIX) - 1;
    if (digits[0] < '0' || digits[0] > '9' || (digits[0] == '0' && digits[1] >= '0')) {
        return -1;
    }
    errno = 0;
    const long long step = strtoll(digits, &end, 10);
    return errno == 0 && strcmp(end, ending) == 0 ? step : -1;
}

static int descending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x < y) - (x > y);
}

/* The steps of all checkpoints with that ending, newest first. A folder that is not there has none. */
static int list_steps(const char *output_dir, const char *ending, int64_t steps[CHECKPOINTS_MAX])
{
    int count = 0;
    DIR *folder = opendir(output_dir);

    if (folder == NULL) {
        return 0;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && count < CHECKPOINTS_MAX;
         entry = readdir(folder)) {
        const int64_t step = step_of(entry->d_name, ending);
        if (step >= 0) {
            steps[count++] = step;
        }
    }
    closedir(folder);
    qsort(steps, (size_t)count, sizeof(steps[0]), descending);
    return count;
}

static enum err path_of_step(char path[FILE_PATH_BYTES_MAX], const char *output_dir, int64_t step,
                             const char *ending)
{
    char name[64];

    snprintf(name, sizeof(name), "%s%" PRId64 "%s", PREFIX, step, ending);
    return file_path(path, output_dir, name);
}

static enum err describe_file(const char *folder, const char *name, struct jdoc *files)
{
    char path[FILE_PATH_BYTES_MAX];
    char text[HASH_TEXT_BYTES];
    struct file_map map;

    ERR_TRY(file_path(path, folder, name));
    ERR_TRY(file_map(path, &map));
    struct jdoc *file = jdoc_object();
    hash_text(hash_bytes(map.bytes, map.count), text);
    jdoc_set_int(file, "bytes", (int64_t)map.count);
    jdoc_set_text(file, "xxh128", text);
    jdoc_set(files, name, file);
    file_unmap(&map);
    return ERR_OK;
}

static enum err describe_folder(const char *path, struct jdoc *files)
{
    enum err status = ERR_OK;
    DIR *folder = opendir(path);

    if (folder == NULL) {
        return ERR_FAIL(ERR_IO, "%s: open folder: %s", path, strerror(errno));
    }
    for (struct dirent *entry = readdir(folder); entry != NULL && status == ERR_OK;
         entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            status = describe_file(path, entry->d_name, files);
        }
    }
    closedir(folder);
    return status;
}

static enum err write_manifest(const char *folder, int64_t step)
{
    char path[FILE_PATH_BYTES_MAX];
    char *text = NULL;
    struct jdoc *doc = jdoc_object();
    struct jdoc *files = jdoc_object();

    enum err status = describe_folder(folder, files);
    jdoc_set_int(doc, "format_version", FORMAT_VERSION);
    jdoc_set_int(doc, "global_step", step);
    jdoc_set(doc, "files", files);
    if (status == ERR_OK) {
        status = jdoc_text(doc, 2, &text);
    }
    jdoc_close(doc);
    if (status == ERR_OK) {
        status = file_path(path, folder, MANIFEST_FILE);
    }
    if (status == ERR_OK) {
        status = file_write_text(path, text);
    }
    free(text);
    return status;
}

/*
 * From here on `folder` is the new one. Where there is one of the same step the two are
 * exchanged, so that a whole one stands there at every moment, and the old one is removed
 * once that is durable.
 */
static enum err put_in_place(const char *partial, const char *folder, const char *output_dir)
{
    const bool exchanged =
        file_exists(folder) && renameat2(AT_FDCWD, partial, AT_FDCWD, folder, RENAME_EXCHANGE) == 0;

    if (!exchanged) { /* the first of this step, or a file system that cannot */
        ERR_TRY(file_remove_tree(folder));
        if (rename(partial, folder) != 0) {
            return ERR_FAIL(ERR_IO, "%s: rename: %s", partial, strerror(errno));
        }
    }
    ERR_TRY(file_sync_folder(output_dir));
    FAULT_POINT_FAIL(FAULT_SAVE_AFTER_RENAME, ERR_IO);
    return file_remove_tree(partial);
}

/* Of that step and earlier: what saves left that did not come to their end. */
static enum err remove_partials(const char *output_dir, int64_t step)
{
    static const char *const endings[] = {PARTIAL, DROPPED};
    int64_t steps[CHECKPOINTS_MAX];
    char folder[FILE_PATH_BYTES_MAX];

    for (size_t e = 0; e < sizeof(endings) / sizeof(endings[0]); e++) {
        const int count = list_steps(output_dir, endings[e], steps);
        for (int i = 0; i < count; i++) {
            if (steps[i] <= step) {
                ERR_TRY(path_of_step(folder, output_dir, steps[i], endings[e]));
                ERR_TRY(file_remove_tree(folder));
            }
        }
    }
    return ERR_OK;
}

/* Those of later steps stay, and do not count: they are not what this run has made. */
static enum err remove_oldest(const char *output_dir, int64_t step, int64_t keep_count)
{
    int64_t steps[CHECKPOINTS_MAX];
    char folder[FILE_PATH_BYTES_MAX];
    int64_t kept_count = 0;
    const int count = list_steps(output_dir, "", steps);

    for (int i = 0; i < count; i++) {
        if (steps[i] > step || kept_count++ < keep_count) {
            continue;
        }
        ERR_TRY(path_of_step(folder, output_dir, steps[i], ""));
        ERR_TRY(file_remove_tree(folder));
    }
    return remove_partials(output_dir, step);
}

enum err snap_disk_partial(char path[FILE_PATH_BYTES_MAX], const char *output_dir, int64_t step)
{
    return path_of_step(path, output_dir, step, PARTIAL);
}

enum err snap_disk_drop(const char *output_dir, int64_t step)
{
    char partial[FILE_PATH_BYTES_MAX];
    char dropped[FILE_PATH_BYTES_MAX];

    ERR_TRY(path_of_step(partial, output_dir, step, PARTIAL));
    ERR_TRY(path_of_step(dropped, output_dir, step, DROPPED));
    ERR_TRY(file_remove_tree(dropped)); /* whose removal did not come to its end */
    if (rename(partial, dropped) != 0) {
        return errno == ENOENT ? ERR_OK
                               : ERR_FAIL(ERR_IO, "%s: rename: %s", partial, strerror(errno));
    }
    return file_remove_tree(dropped);
}

enum err snap_disk_place(const char *output_dir, int64_t step, int64_t keep_count)
{
    char partial[FILE_PATH_BYTES_MAX];
    char folder[FILE_PATH_BYTES_MAX];
    char latest[FILE_PATH_BYTES_MAX];

    assert(keep_count >= 1);
    ERR_TRY(path_of_step(partial, output_dir, step, PARTIAL));
    ERR_TRY(path_of_step(folder, output_dir, step, ""));
    FAULT_POINT_FAIL(FAULT_SAVE_BEFORE_MANIFEST, ERR_IO);
    ERR_TRY(write_manifest(partial, step));
    FAULT_POINT_FAIL(FAULT_SAVE_BEFORE_RENAME, ERR_IO);
    ERR_TRY(put_in_place(partial, folder, output_dir));
    ERR_TRY(file_path(latest, output_dir, LATEST_FILE));
    ERR_TRY(file_write_text(latest, strrchr(folder, '/') + 1));
    return remove_oldest(output_dir, step, keep_count);
}

static enum err verify_file(const char *folder, const char *name, const struct jdoc *expected)
{
    char path[FILE_PATH_BYTES_MAX];
    char text[HASH_TEXT_BYTES];
    struct file_map map;
    const char *hash = NULL;
    int64_t bytes = 0;

    ERR_TRY(file_path(path, folder, name));
    ERR_TRY(jdoc_need_text(expected, "xxh128", path, &hash));
    ERR_TRY(jdoc_need_int(expected, "bytes", path, &bytes));
    ERR_TRY(file_map(path, &map));
    const size_t count = map.count;
    hash_text(hash_bytes(map.bytes, map.count), text);
    file_unmap(&map);
    if ((int64_t)count != bytes || strcmp(text, hash) != 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: %zu bytes with hash %s, the manifest says %" PRId64 " with %.40s",
                        path, count, text, bytes, hash);
    }
    return ERR_OK;
}

/* Whether all packs of a file that are there are named, and there is one. */
static enum err check_packs(const char *folder, const struct jdoc *files, const char *name,
                            bool *all_named_out)
{
    char path[FILE_PATH_BYTES_MAX];
    char pack[256];
    int member = 0;

    for (;; member++) {
        snprintf(pack, sizeof(pack), "%s" SNAP_PACK_ENDING "%d", name, member);
        ERR_TRY(file_path(path, folder, pack));
        if (jdoc_get(files, pack) == NULL) {
            break;
        }
    }
    *all_named_out = member > 0 && !file_exists(path);
    return ERR_OK;
}

/* A file that the manifest does not name would be loaded unchecked. */
static enum err check_all_named(const char *folder, const char *manifest, const struct jdoc *files,
                                const struct snap_disk_file needed[], int needed_count)
{
    char path[FILE_PATH_BYTES_MAX];

    for (int i = 0; i < needed_count; i++) {
        const char *name = needed[i].name;
        ERR_TRY(file_path(path, folder, name));
        bool is_checked = jdoc_get(files, name) != NULL;
        if (!is_checked && needed[i].kind != SNAP_DISK_NEEDED && !file_exists(path)) {
            is_checked = needed[i].kind == SNAP_DISK_OPTIONAL;
            if (!is_checked) {
                ERR_TRY(check_packs(folder, files, name, &is_checked));
            }
        }
        if (!is_checked) {
            return ERR_FAIL(ERR_CORRUPT, "%s: it does not name %s", manifest, name);
        }
    }
    return ERR_OK;
}

enum err snap_disk_verify(const char *folder, const struct snap_disk_file needed[],
                          int needed_count)
{
    char path[FILE_PATH_BYTES_MAX];
    struct jdoc *doc = NULL;
    int64_t version = 0;

    ERR_TRY(file_path(path, folder, MANIFEST_FILE));
    ERR_TRY(jdoc_read(path, &doc));
    const struct jdoc *files = jdoc_get(doc, "files");
    enum err status = jdoc_need_int(doc, "format_version", path, &version);
    if (status == ERR_OK && version != FORMAT_VERSION) {
        status = ERR_FAIL(ERR_CORRUPT, "%s: format_version %" PRId64 ", expected %d", path, version,
                          FORMAT_VERSION);
    } else if (status == ERR_OK && (!jdoc_is_object(files) || jdoc_count(files) == 0)) {
        status = ERR_FAIL(ERR_CORRUPT, "%s: it names no files", path);
    } else if (status == ERR_OK) {
        status = check_all_named(folder, path, files, needed, needed_count);
    }
    for (void *m = jdoc_first(files); m != NULL && status == ERR_OK; m = jdoc_next(files, m)) {
        status = verify_file(folder, jdoc_member_key(m), jdoc_member_value(m));
    }
    jdoc_close(doc);
    return status;
}

/* Whether it is valid; told on stderr if not. */
static bool is_valid(const char *folder, const struct snap_disk_file needed[], int needed_count)
{
    char text[1024];

    if (snap_disk_verify(folder, needed, needed_count) == ERR_OK) {
        return true;
    }
    err_text(text, sizeof(text));
    err_clear();
    fprintf(stderr, "offramp: passed over %s: %s\n", folder, text);
    return false;
}

enum err snap_disk_find(const char *output_dir, const struct snap_disk_file needed[],
                        int needed_count, int64_t set_aside, char folder_out[FILE_PATH_BYTES_MAX])
{
    int64_t steps[CHECKPOINTS_MAX];
    const int count = list_steps(output_dir, "", steps);
    bool has_set_aside = false;

    for (int i = 0; i < count; i++) {
        has_set_aside = has_set_aside || steps[i] == set_aside;
        ERR_TRY(path_of_step(folder_out, output_dir, steps[i], ""));
        if (steps[i] != set_aside && is_valid(folder_out, needed, needed_count)) {
            return ERR_OK;
        }
    }
    if (has_set_aside) {
        ERR_TRY(path_of_step(folder_out, output_dir, set_aside, ""));
        if (is_valid(folder_out, needed, needed_count)) {
            return ERR_OK;
        }
    }
    folder_out[0] = '\0';
    if (count > 0) {
        return ERR_FAIL(ERR_CORRUPT,
                        "%s: none of its %d checkpoints is valid; to start anew set "
                        "resume_from_checkpoint to none and overwrite_output_dir to true",
                        output_dir, count);
    }
    return ERR_OK;
}

int64_t snap_disk_step(const char *folder)
{
    const char *slash = strrchr(folder, '/');

    return step_of(slash == NULL ? folder : slash + 1, "");
}

int64_t snap_disk_newest(const char *output_dir)
{
    int64_t steps[CHECKPOINTS_MAX];

    return list_steps(output_dir, "", steps) > 0 ? steps[0] : -1;
}

enum err snap_disk_tidy(const char *output_dir)
{
    return remove_partials(output_dir, snap_disk_newest(output_dir));
}

enum err snap_disk_remove_all(const char *output_dir)
{
    /* Partial ones first: one that is completed meanwhile is found as a whole one. */
    static const char *const endings[] = {PARTIAL, DROPPED, ""};
    int64_t steps[CHECKPOINTS_MAX];
    char folder[FILE_PATH_BYTES_MAX];

    for (size_t e = 0; e < sizeof(endings) / sizeof(endings[0]); e++) {
        const int count = list_steps(output_dir, endings[e], steps);
        for (int i = 0; i < count; i++) {
            ERR_TRY(path_of_step(folder, output_dir, steps[i], endings[e]));
            ERR_TRY(file_remove_tree(folder));
        }
    }
    return ERR_OK;
}
