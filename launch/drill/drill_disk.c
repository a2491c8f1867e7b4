#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "launch/drill/drill_run_priv.h"

static bool write_once(const char *path, const char *text)
{
    const int file = open(path, O_WRONLY | O_CLOEXEC);

    if (file < 0) {
        return false;
    }
    const bool is_written = write(file, text, strlen(text)) == (ssize_t)strlen(text);
    close(file);
    return is_written;
}

/* Into a mount namespace of our own; where only root may make one, as root of a user namespace. */
static enum err enter_namespace(void)
{
    static bool is_inside;
    const unsigned user = (unsigned)geteuid(), group = (unsigned)getegid();
    char map[64];

    if (is_inside) {
        return ERR_OK;
    }
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            return ERR_FAIL(ERR_CONFIG, "--fill-disk: no mount namespace can be made here: %s",
                            strerror(errno));
        }
        snprintf(map, sizeof(map), "%u %u 1\n", user, user);
        bool is_mapped = write_once("/proc/self/uid_map", map);
        is_mapped = write_once("/proc/self/setgroups", "deny") && is_mapped;
        snprintf(map, sizeof(map), "%u %u 1\n", group, group);
        if (!write_once("/proc/self/gid_map", map) || !is_mapped) {
            return ERR_FAIL(ERR_CONFIG, "--fill-disk: no user namespace can be made here");
        }
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return ERR_FAIL(ERR_CONFIG, "--fill-disk: mounts cannot be made private: %s",
                        strerror(errno));
    }
    is_inside = true;
    return ERR_OK;
}

enum err drill_disk_open(const char *folder)
{
    ERR_TRY(enter_namespace());
    if (mount("drill", folder, "tmpfs", 0, NULL) != 0) {
        return ERR_FAIL(ERR_CONFIG, "--fill-disk: %s: mount: %s", folder, strerror(errno));
    }
    return ERR_OK;
}

void drill_disk_close(const char *folder)
{
    umount2(folder, MNT_DETACH);
}

enum err drill_disk_leave(const char *folder, int64_t room_bytes)
{
    struct statvfs now;
    char size[64];

    if (statvfs(folder, &now) != 0) {
        return ERR_FAIL(ERR_IO, "%s: statvfs: %s", folder, strerror(errno));
    }
    const uint64_t used = (uint64_t)(now.f_blocks - now.f_bfree) * now.f_frsize;
    if (room_bytes > 0) {
        snprintf(size, sizeof(size), "size=%" PRIu64, used + (uint64_t)room_bytes);
    } else {
        snprintf(size, sizeof(size), "size=50%%");
    }
    if (mount("drill", folder, "tmpfs", MS_REMOUNT, size) != 0) {
        return ERR_FAIL(ERR_IO, "%s: remount with %s: %s", folder, size, strerror(errno));
    }
    return ERR_OK;
}
