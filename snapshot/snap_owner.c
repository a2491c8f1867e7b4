#define _GNU_SOURCE
#include "snapshot/snap_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/bytes.h"
#include "comm/base/clock.h"
#include "comm/base/hash.h"
#include "comm/base/process.h"

enum {
    PATIENCE_MS = 3000, /* for a holder that is ending */
    DEATH_MS = 5000,    /* for one that was killed */
    NAP_US = 10000,
};

static const uint8_t magic[8] = {'O', 'F', 'O', 'W', 'N', 'E', 'R', '\n'};

/* What the record says of the holder. */
struct holder {
    int process, launcher;
    uint64_t host, start, namespace, incarnation;
};

static uint64_t host_hash(void)
{
    char host[256] = "";

    gethostname(host, sizeof(host) - 1);
    return hash_bytes(host, strlen(host)).low;
}

static uint64_t pid_namespace(void)
{
    struct stat info = {0};

    return stat("/proc/self/ns/pid", &info) == 0 ? (uint64_t)info.st_ino : 0;
}

static enum err write_record(int file, const char *path, const struct snap_owner *me)
{
    uint8_t bytes[SNAP_OWNER_BYTES];
    struct process self;

    ERR_TRY(process_describe(getpid(), &self));
    memcpy(bytes, magic, sizeof(magic));
    bytes_put_u32(bytes + 8, (uint32_t)getpid());
    bytes_put_u32(bytes + 12, (uint32_t)me->launcher);
    bytes_put_u64(bytes + 16, host_hash());
    bytes_put_u64(bytes + 24, self.start);
    bytes_put_u64(bytes + 32, pid_namespace());
    bytes_put_u64(bytes + 40, me->incarnation);
    bytes_put_u64(bytes + 48, hash_bytes(bytes, 48).low);
    if (pwrite(file, bytes, sizeof(bytes), SNAP_OWNER_AT) != (ssize_t)sizeof(bytes)) {
        return ERR_FAIL(ERR_IO, "%s: write: %s", path, strerror(errno));
    }
    return ERR_OK;
}

static bool read_record(int file, struct holder *holder_out)
{
    uint8_t bytes[SNAP_OWNER_BYTES];

    if (pread(file, bytes, sizeof(bytes), SNAP_OWNER_AT) != (ssize_t)sizeof(bytes) ||
        memcmp(bytes, magic, sizeof(magic)) != 0 ||
        bytes_get_u64(bytes + 48) != hash_bytes(bytes, 48).low) {
        return false;
    }
    *holder_out = (struct holder){
        .process = (int)bytes_get_u32(bytes + 8),
        .launcher = (int)bytes_get_u32(bytes + 12),
        .host = bytes_get_u64(bytes + 16),
        .start = bytes_get_u64(bytes + 24),
        .namespace = bytes_get_u64(bytes + 32),
        .incarnation = bytes_get_u64(bytes + 40),
    };
    return true;
}

static bool try_lock(int file, int *errno_out)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(file, F_OFD_SETLK, &whole) == 0) {
        return true;
    }
    *errno_out = errno;
    return false;
}

bool snap_owner_exists(int file)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(file, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

static bool is_same(const struct holder *a, const struct holder *b)
{
    return a->process == b->process && a->start == b->start;
}

/* Kills the holder if it is a leftover; its PID cannot have been given to another since. */
static bool kill_leftover(const struct holder *holder, const struct snap_owner *me)
{
    struct process process;
    bool killed = false;

    if (holder->process == getpid() || holder->host != host_hash() ||
        holder->namespace != pid_namespace()) {
        return false; /* or its PID means nothing here */
    }
    const int handle = process_open(holder->process, holder->start);
    if (handle < 0) {
        return false;
    }
    if (process_describe(holder->process, &process) != ERR_OK) {
        err_clear();
    } else {
        const bool is_orphan = holder->launcher > 0 && process.parent != holder->launcher;
        const bool is_fenced = me->fences && holder->incarnation < me->incarnation;
        killed = (is_orphan || is_fenced) && process_signal(handle, SIGKILL);
    }
    close(handle);
    return killed;
}

enum err snap_owner_take(int file, const char *path, const struct snap_owner *me)
{
    struct holder holder = {0}, killed = {0};
    int64_t until_ms = clock_now_ms() + PATIENCE_MS;
    int code = 0;

    while (!try_lock(file, &code)) {
        if (code != EAGAIN && code != EACCES) {
            return ERR_FAIL(ERR_IO, "%s: lock: %s", path, strerror(code));
        }
        const bool is_known = read_record(file, &holder);
        if (is_known && !is_same(&holder, &killed) && kill_leftover(&holder, me)) {
            killed = holder;
            until_ms = clock_now_ms() + DEATH_MS;
            fprintf(stderr, "offramp: %s: process %d of an earlier start still had it: killed\n",
                    path, holder.process);
        }
        if (clock_now_ms() > until_ms) {
            return is_known ? ERR_FAIL(ERR_CONFIG,
                                       "%s: process %d has it open: another start of this job "
                                       "(incarnation %" PRIu64 ") is running",
                                       path, holder.process, holder.incarnation)
                            : ERR_FAIL(ERR_CONFIG, "%s: another process has it open", path);
        }
        clock_nap_us(NAP_US);
    }
    return write_record(file, path, me);
}
