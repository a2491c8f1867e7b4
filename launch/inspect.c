#define _GNU_SOURCE
#include "launch/inspect.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/base/file.h"
#include "launch/checkpoint.h"
#include "launch/options.h"
#include "launch/snapshots.h"
#include "snapshot/snap_area.h"
#include "snapshot/snap_disk.h"

static const char CHECKPOINT_PREFIX[] = "checkpoint-";
static const char CONFIG_FILE[] = "config.resolved.yaml";
static const char SUMMARY_FILE[] = "summary.json";

struct inspect {
    bool verifies;
    int damage_count;
};

/* What went wrong becomes part of the document. */
static void tell(struct inspect *inspect, struct jdoc *object, enum err status)
{
    char text[1024];

    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        err_clear();
        jdoc_set_text(object, "error", text);
        inspect->damage_count++;
    }
}

/* The names in a folder, "9" before "10"; those that begin so. The caller frees each and all. */
static enum err list(const char *folder, const char *prefix, struct dirent ***entries_out,
                     int *count_out)
{
    struct dirent **entries = NULL;
    const int found = scandir(folder, &entries, NULL, versionsort);
    int count = 0;

    if (found < 0) {
        return ERR_FAIL(errno == ENOENT ? ERR_MISSING : ERR_IO, "%s: %s", folder, strerror(errno));
    }
    for (int i = 0; i < found; i++) {
        if (entries[i]->d_name[0] != '.' &&
            strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0) {
            entries[count++] = entries[i];
        } else {
            free(entries[i]);
        }
    }
    *entries_out = entries;
    *count_out = count;
    return ERR_OK;
}

static void free_list(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
}

static int count_of(const char *folder, const char *prefix)
{
    struct dirent **entries = NULL;
    int count = 0;

    if (list(folder, prefix, &entries, &count) != ERR_OK) {
        err_clear();
        return 0;
    }
    free_list(entries, count);
    return count;
}

static void set_hash(struct jdoc *object, const char *key, struct hash hash)
{
    char text[HASH_TEXT_BYTES];

    hash_text(hash, text);
    jdoc_set_text(object, key, text);
}

static struct jdoc *describe_layout(const struct snap_layout *layout,
                                    const struct snap_group *group)
{
    struct jdoc *object = jdoc_object();
    char text[256];

    snap_layout_describe(layout, text, sizeof(text));
    set_hash(object, "hash", layout->hash);
    jdoc_set_int(object, "ranks", layout->rank_count);
    jdoc_set_int(object, "nodes", layout->node_count);
    jdoc_set_int(object, "groups", layout->group_count);
    jdoc_set_int(object, "data", group->data_count);
    jdoc_set_int(object, "parity", group->parity_count);
    jdoc_set_text(object, "survives", text);
    return object;
}

static int count_bits(uint64_t bits)
{
    int count = 0;

    for (; bits != 0; bits &= bits - 1) {
        count++;
    }
    return count;
}

/* Bytes may be overwritten while they are hashed: a slot's next header is written before that. */
static enum err verify_slot(struct snap_area *area, int slot, const struct snap_group *group,
                            struct jdoc *object)
{
    const uint64_t sequence = snap_area_header(area, slot)->sequence;
    struct snap_holding holding;

    ERR_TRY(snap_area_verify(area, slot, &holding));
    snap_area_look_again(area);
    const bool changed = snap_area_header(area, slot)->sequence != sequence;
    const int good_data = count_bits(holding.good_data);
    const int good_parity = count_bits(holding.good_parity);
    jdoc_set_int(object, "good_data", good_data);
    jdoc_set_int(object, "good_parity", good_parity);
    jdoc_set_bool(object, "changed", changed);
    if (!changed && (good_data < group->data_count ||
                     (holding.slot.state >= SNAP_ENCODED && good_parity < group->parity_count))) {
        return ERR_FAIL(ERR_CORRUPT, "%d of %d data segments and %d of %d parity segments are good",
                        good_data, group->data_count, good_parity, group->parity_count);
    }
    return ERR_OK;
}

static struct jdoc *describe_slot(struct inspect *inspect, struct snap_area *area, int slot,
                                  const struct snap_group *group)
{
    const struct snap_slot_header header = *snap_area_header(area, slot);
    struct jdoc *object = jdoc_object();

    jdoc_set_text(object, "state", snap_state_name(header.state.state));
    jdoc_set_int(object, "version", (int64_t)header.state.version);
    jdoc_set_int(object, "incarnation", (int64_t)header.incarnation);
    jdoc_set_int(object, "sequence", (int64_t)header.sequence);
    if (inspect->verifies && header.state.state >= SNAP_SEALED) {
        tell(inspect, object, verify_slot(area, slot, group, object));
    }
    return object;
}

static void describe_area(struct inspect *inspect, struct snap_area *area, struct jdoc *object)
{
    const struct snap_layout *layout = snap_area_layout(area);
    const int rank = snap_area_rank(area);
    const struct snap_member *member = &layout->members[rank];
    const struct snap_group *group = &layout->groups[member->group];
    struct jdoc *slots = jdoc_array();

    jdoc_set_int(object, "bytes", (int64_t)snap_map_of(layout, rank).file_bytes);
    jdoc_set_int(object, "rank", rank);
    jdoc_set_int(object, "group", member->group);
    jdoc_set_int(object, "node", member->place.node);
    jdoc_set_int(object, "domain", member->place.domain);
    jdoc_set(object, "layout", describe_layout(layout, group));
    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        jdoc_append(slots, describe_slot(inspect, area, slot, group));
    }
    jdoc_set(object, "slots", slots);
}

/* NULL if it is gone by now, which is how a run ends well. */
static struct jdoc *describe_member(struct inspect *inspect, const char *path, const char *name)
{
    struct snap_area *area = NULL;
    const enum err status = snap_area_peek(path, &area);

    if (status == ERR_MISSING) {
        err_clear();
        return NULL;
    }
    struct jdoc *object = jdoc_object();
    jdoc_set_text(object, "file", name);
    if (status == ERR_OK) {
        jdoc_set_bool(object, "in_use", snap_area_is_in_use(area));
        describe_area(inspect, area, object);
    }
    tell(inspect, object, status);
    snap_area_close(area);
    return object;
}

static enum err describe_memory(struct inspect *inspect, const char *folder, struct jdoc *object)
{
    char path[FILE_PATH_BYTES_MAX];
    struct dirent **entries = NULL;
    int count = 0;
    struct jdoc *members = jdoc_array();

    jdoc_set_text(object, "kind", "memory");
    jdoc_set_text(object, "path", folder);
    jdoc_set(object, "members", members);
    enum err status = list(folder, SNAP_AREA_MEMBER, &entries, &count);
    for (int i = 0; i < count && status == ERR_OK; i++) {
        status = file_path(path, folder, entries[i]->d_name);
        struct jdoc *member =
            status == ERR_OK ? describe_member(inspect, path, entries[i]->d_name) : NULL;
        if (member != NULL) {
            jdoc_append(members, member);
        }
    }
    free_list(entries, count);
    return status;
}

static enum err describe_one_member(struct inspect *inspect, const char *path, struct jdoc *object)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    struct jdoc *members = jdoc_array();
    struct jdoc *member = describe_member(inspect, path, name);

    jdoc_set_text(object, "kind", "memory");
    jdoc_set_text(object, "path", path);
    jdoc_set(object, "members", members);
    if (member == NULL) {
        return ERR_FAIL(ERR_MISSING, "%s is not there", path);
    }
    jdoc_append(members, member);
    return ERR_OK;
}

/* Lines "name: value", as train_settings_text() writes them. */
static struct jdoc *settings_of(const char *text)
{
    struct jdoc *object = jdoc_object();
    char *copy = strdup(text);
    char *rest = copy;

    while (rest != NULL && *rest != '\0') {
        char *line = strsep(&rest, "\n");
        char *colon = strstr(line, ": ");
        if (colon != NULL) {
            *colon = '\0';
            jdoc_set_text(object, line, colon + 2);
        }
    }
    free(copy);
    return object;
}

/* "joint" of a setting "stage 2 (joint) optim"; false if there is none of that stage. */
static bool find_stage_kind(const struct jdoc *settings, int64_t stage, char kind[32])
{
    char prefix[64];

    snprintf(prefix, sizeof(prefix), "stage %" PRId64 " (", stage);
    for (void *m = jdoc_first(settings); m != NULL; m = jdoc_next(settings, m)) {
        const char *key = jdoc_member_key(m);
        if (strncmp(key, prefix, strlen(prefix)) == 0) {
            const char *begin = key + strlen(prefix);
            snprintf(kind, 32, "%.*s", (int)strcspn(begin, ")"), begin);
            return true;
        }
    }
    return false;
}

static enum err parse_file(const char *folder, const char *name, struct jdoc **doc_out)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(file_path(path, folder, name));
    return jdoc_read(path, doc_out);
}

static enum err describe_state(const char *folder, struct jdoc *object)
{
    struct jdoc *doc = NULL;
    const char *text = NULL;
    int64_t step = 0, stage = 0, stage_step = 0;
    char kind[32];

    ERR_TRY(parse_file(folder, TRAIN_STATE_FILE, &doc));
    enum err status = jdoc_need_int(doc, "global_step", TRAIN_STATE_FILE, &step);
    if (status == ERR_OK) {
        status = jdoc_need_int(doc, "stage", TRAIN_STATE_FILE, &stage);
    }
    if (status == ERR_OK) {
        status = jdoc_need_int(doc, "stage_step", TRAIN_STATE_FILE, &stage_step);
    }
    if (status == ERR_OK) {
        status = jdoc_need_text(doc, "settings", TRAIN_STATE_FILE, &text);
    }
    if (status == ERR_OK) {
        struct jdoc *settings = settings_of(text);
        jdoc_set_int(object, "step", step);
        jdoc_set_int(object, "stage", stage + 1);
        if (find_stage_kind(settings, stage + 1, kind)) {
            jdoc_set_text(object, "stage_kind", kind);
        }
        jdoc_set_int(object, "stage_step", stage_step);
        jdoc_set(object, "settings", settings);
    }
    jdoc_close(doc);
    return status;
}

static enum err describe_files(const char *folder, struct jdoc *object)
{
    char path[FILE_PATH_BYTES_MAX];
    struct dirent **entries = NULL;
    int count = 0;
    struct jdoc *files = jdoc_array();

    jdoc_set(object, "files", files);
    ERR_TRY(list(folder, "", &entries, &count));
    enum err status = ERR_OK;
    for (int i = 0; i < count && status == ERR_OK; i++) {
        struct stat info;
        status = file_path(path, folder, entries[i]->d_name);
        if (status == ERR_OK && stat(path, &info) == 0) {
            struct jdoc *file = jdoc_object();
            jdoc_set_text(file, "name", entries[i]->d_name);
            jdoc_set_int(file, "bytes", (int64_t)info.st_size);
            jdoc_append(files, file);
        }
    }
    free_list(entries, count);
    return status;
}

static void describe_checkpoint(struct inspect *inspect, const char *folder, struct jdoc *object)
{
    jdoc_set_text(object, "kind", "checkpoint");
    jdoc_set_text(object, "path", folder);
    enum err status = describe_files(folder, object);
    if (status == ERR_OK) {
        status = describe_state(folder, object);
    }
    if (status == ERR_OK && inspect->verifies) {
        status = checkpoint_verify(folder);
        jdoc_set_bool(object, "verified", status == ERR_OK);
    }
    tell(inspect, object, status);
}

static enum err describe_checkpoints(struct inspect *inspect, const char *output_dir,
                                     struct jdoc *object)
{
    char path[FILE_PATH_BYTES_MAX];
    struct dirent **entries = NULL;
    int count = 0;
    struct jdoc *checkpoints = jdoc_array();

    jdoc_set(object, "checkpoints", checkpoints);
    ERR_TRY(list(output_dir, CHECKPOINT_PREFIX, &entries, &count));
    enum err status = ERR_OK;
    for (int i = count - 1; i >= 0 && status == ERR_OK; i--) {
        if (snap_disk_step(entries[i]->d_name) < 0) {
            continue; /* one that is being written */
        }
        status = file_path(path, output_dir, entries[i]->d_name);
        if (status == ERR_OK) {
            struct jdoc *checkpoint = jdoc_object();
            describe_checkpoint(inspect, path, checkpoint);
            jdoc_append(checkpoints, checkpoint);
        }
    }
    free_list(entries, count);
    return status;
}

/* A run that has not ended has no summary. */
static enum err describe_summary(const char *output_dir, struct jdoc *object)
{
    static const char *const numbers[] = {"exit_code", "step", "world_size"};
    static const char *const texts[] = {"verdict", "state_hash"};
    struct jdoc *doc = NULL;
    const enum err status = parse_file(output_dir, SUMMARY_FILE, &doc);

    if (status == ERR_MISSING) {
        err_clear();
        return ERR_OK;
    }
    ERR_TRY(status);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (jdoc_as_text(jdoc_get(doc, texts[i])) != NULL) {
            jdoc_set_text(object, texts[i], jdoc_as_text(jdoc_get(doc, texts[i])));
        }
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (jdoc_is_int(jdoc_get(doc, numbers[i]))) {
            jdoc_set_int(object, numbers[i], jdoc_as_int(jdoc_get(doc, numbers[i])));
        }
    }
    jdoc_close(doc);
    return ERR_OK;
}

/* The memory that a run with the settings of that folder would have on this node. */
static enum err find_memory(const char *output_dir, char folder_out[FILE_PATH_BYTES_MAX])
{
    char path[FILE_PATH_BYTES_MAX];
    char set[FILE_PATH_BYTES_MAX + 16];
    const char *const sets[] = {set};
    struct options_run *options = NULL;

    snprintf(set, sizeof(set), "output_dir=%s", output_dir);
    ERR_TRY(file_path(path, output_dir, CONFIG_FILE));
    ERR_TRY(options_load(path, sets, 1, &options));
    const enum err status = snapshots_folder(options, folder_out);
    options_close(options);
    return status;
}

static enum err describe_run(struct inspect *inspect, const char *output_dir, struct jdoc *object)
{
    char folder[FILE_PATH_BYTES_MAX];

    jdoc_set_text(object, "kind", "run");
    jdoc_set_text(object, "path", output_dir);
    tell(inspect, object, describe_summary(output_dir, object));
    ERR_TRY(describe_checkpoints(inspect, output_dir, object));
    if (file_is_in(output_dir, CONFIG_FILE)) {
        ERR_TRY(find_memory(output_dir, folder));
        if (count_of(folder, SNAP_AREA_MEMBER) > 0) {
            struct jdoc *memory = jdoc_object();
            jdoc_set(object, "memory", memory);
            ERR_TRY(describe_memory(inspect, folder, memory));
        }
    }
    return ERR_OK;
}

static enum err describe(struct inspect *inspect, const char *path, struct jdoc *object)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return ERR_FAIL(errno == ENOENT || errno == ENOTDIR ? ERR_MISSING : ERR_IO, "%s: %s", path,
                        strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return describe_one_member(inspect, path, object);
    }
    if (snap_disk_step(path) >= 0 || file_is_in(path, TRAIN_STATE_FILE)) {
        describe_checkpoint(inspect, path, object);
        return ERR_OK;
    }
    if (file_is_in(path, CONFIG_FILE) || count_of(path, CHECKPOINT_PREFIX) > 0) {
        return describe_run(inspect, path, object);
    }
    if (count_of(path, SNAP_AREA_MEMBER) > 0) {
        return describe_memory(inspect, path, object);
    }
    return ERR_FAIL(ERR_MISSING,
                    "%s: no checkpoint, no output_dir of a run, no memory of snapshots", path);
}

enum err inspect(const char *path, bool verifies, struct jdoc **doc_out, int *damage_count_out)
{
    char plain[FILE_PATH_BYTES_MAX]; /* without slashes at its end */
    struct inspect inspect = {.verifies = verifies};
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (length >= sizeof(plain)) {
        return ERR_FAIL(ERR_INVALID, "a path of %zu bytes", length);
    }
    memcpy(plain, path, length);
    plain[length] = '\0';
    struct jdoc *object = jdoc_object();
    const enum err status = describe(&inspect, plain, object);
    if (status != ERR_OK) {
        jdoc_close(object);
        return status;
    }
    *doc_out = object;
    *damage_count_out = inspect.damage_count;
    return ERR_OK;
}
