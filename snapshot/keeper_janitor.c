#define _GNU_SOURCE
#include "snapshot/keeper_janitor.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/keeper_message.h"
#include "snapshot/snap_area.h"
#include "snapshot/snap_disk.h"

static const char MEMBER[] = SNAP_AREA_MEMBER;
static const char MAKING[] = SNAP_AREA_MAKING;

/* The folder was named by somebody, who may have other things in it. */
static bool is_meant(const char *name, const char *prefix)
{
    uint64_t layout = 0;
    int rank = 0;

    return prefix == MEMBER || prefix == MAKING ? snap_area_is_named(name, prefix, &layout, &rank)
                                                : strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Calls `each` for the entries of a folder that begin so, until it says false; whether it did. */
static bool walk(const char *folder, const char *prefix, bool (*each)(const char *path, void *with),
                 void *with)
{
    char path[FILE_PATH_BYTES_MAX];
    bool goes_on = true;
    DIR *entries = opendir(folder);

    if (entries == NULL) {
        return true;
    }
    for (struct dirent *entry = readdir(entries); entry != NULL && goes_on;
         entry = readdir(entries)) {
        if (!is_meant(entry->d_name, prefix)) {
            continue;
        }
        if (file_path(path, folder, entry->d_name) != ERR_OK) {
            err_clear();
        } else {
            goes_on = each(path, with);
        }
    }
    closedir(entries);
    return goes_on;
}

static bool stop(const char *path, void *with)
{
    (void)path;
    (void)with;
    return false;
}

bool keeper_janitor_is_empty(const char *folder)
{
    return walk(folder, MEMBER, stop, NULL);
}

/* Newest versions of all members here. */
struct newest {
    uint64_t encoded, committed;
};

static bool find_newest(const char *path, void *with)
{
    struct newest *newest = with;
    struct snap_area *area = NULL;

    if (snap_area_peek(path, &area) != ERR_OK) {
        err_clear();
        return true;
    }
    const struct snap_slots *slots = snap_area_slots(area);
    const uint64_t encoded = snap_slots_newest(slots, SNAP_ENCODED);
    const uint64_t committed = snap_slots_newest(slots, SNAP_COMMITTED);
    newest->encoded = encoded > newest->encoded ? encoded : newest->encoded;
    newest->committed = committed > newest->committed ? committed : newest->committed;
    snap_area_close(area);
    return true;
}

bool keeper_janitor_is_safe(const char *folder, int attempt)
{
    struct newest newest = {0};
    struct snap_plan plan;
    const enum err status = snap_plan_read(folder, &plan);

    if (status != ERR_OK) {
        err_clear();
        return status == ERR_MISSING;
    }
    if (snap_plan_check_start(&plan) != ERR_OK) {
        err_clear();
        return true;
    }
    walk(folder, MEMBER, find_newest, &newest);
    const uint64_t needed = attempt == 0 ? newest.encoded : newest.committed;
    return needed == 0 || snap_disk_newest(plan.output_dir) >= (int64_t)needed;
}

/* A save in the making: what keeper_janitor_save() goes through the members with. */
struct handing {
    struct keeper_saver *saver;
    const struct snap_plan *plan;
    uint64_t version;
};

static bool hand_over(const char *path, void *with)
{
    const struct handing *handing = with;
    struct snap_part part;
    char text[512];

    if (snap_part_take(path, handing->version, &part) == ERR_OK) {
        keeper_saver_add(handing->saver, &part, handing->plan);
        return keeper_saver_is_free(handing->saver, handing->version);
    }
    err_text(text, sizeof(text));
    err_clear();
    fprintf(stderr, "offramp keeper: %s\n", text);
    return true;
}

void keeper_janitor_save(const char *folder, struct keeper_saver *saver, int attempt)
{
    struct newest newest = {0};
    struct snap_plan plan;

    if (snap_plan_read(folder, &plan) != ERR_OK) {
        err_clear();
        return;
    }
    walk(folder, MEMBER, find_newest, &newest);
    const bool takes_older = attempt % 2 != 0 && newest.committed != 0;
    const struct handing handing = {saver, &plan, takes_older ? newest.committed : newest.encoded};
    if (handing.version != 0 && keeper_saver_is_free(saver, handing.version)) {
        walk(folder, MEMBER, hand_over, (void *)(uintptr_t)&handing);
    }
}

static bool remove_one(const char *path, void *with)
{
    (void)with;
    (void)!unlink(path);
    return true;
}

/* Whether no process has the file open for writing. */
static bool is_unowned(const char *path, void *with)
{
    (void)with;
    const int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (file < 0) {
        return true;
    }
    const bool is_owned = snap_owner_exists(file);
    close(file);
    return !is_owned;
}

static bool remove_unowned(const char *path, void *with)
{
    if (is_unowned(path, NULL)) {
        remove_one(path, with);
    }
    return true;
}

bool keeper_janitor_is_in_use(const char *folder)
{
    return !walk(folder, MEMBER, is_unowned, NULL);
}

void keeper_janitor_remove(const char *folder)
{
    static const char *const prefixes[] = {MAKING, SNAP_PLAN_FILE, KEEPER_SOCKET, KEEPER_LOG,
                                           KEEPER_LOCK};

    walk(folder, MEMBER, remove_unowned, NULL); /* a new start may have come this moment */
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        walk(folder, prefixes[i], remove_one, NULL);
    }
    (void)!rmdir(folder);
}

struct neighbours {
    const char *own;
    int retain_s;
};

static bool tidy_neighbour(const char *folder, void *with)
{
    const struct neighbours *neighbours = with;
    struct stat info;

    if (strcmp(folder, neighbours->own) == 0 || lstat(folder, &info) != 0 ||
        !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        time(NULL) - info.st_mtime < neighbours->retain_s) {
        return true;
    }
    if (walk(folder, KEEPER_LOCK, is_unowned, NULL) && !keeper_janitor_is_in_use(folder) &&
        keeper_janitor_is_safe(folder, 0)) {
        fprintf(stderr, "offramp keeper: removed %s, of a dead job\n", folder);
        keeper_janitor_remove(folder);
    }
    return true;
}

void keeper_janitor_tidy(const char *folder, int retain_s)
{
    const struct neighbours neighbours = {folder, retain_s};
    char parent[FILE_PATH_BYTES_MAX];
    char prefix[48];

    walk(folder, MAKING, remove_unowned, NULL);
    snprintf(prefix, sizeof(prefix), "offramp.%u.", (unsigned)geteuid());
    snprintf(parent, sizeof(parent), "%s", folder);
    walk(dirname(parent), prefix, tidy_neighbour, (void *)(uintptr_t)&neighbours);
}
