/*
 * kill_at_call.c - a library to preload: SIGKILL of a process before its n-th call that changes a
 * file.
 *
 *      LD_PRELOAD=kill_at_call.so KILL_AT_CALL=3 KILL_AT_CALL_AFTER=checkpoint-12 \
 *          KILL_AT_CALL_IN=train program train ...
 *
 * KILL_AT_CALL        n, from 1
 * KILL_AT_CALL_AFTER  counting begins with the first such call whose path has this text in it
 * KILL_AT_CALL_IN     only in processes whose first argument this is; not set: in all
 *
 * Each process counts for itself, its threads together. What counts: files that are made, folders,
 * removals, renames; writes to, changes of length of, and closing of files that were opened to be
 * written; every fsync. What a program writes by way of stdio does not, being no call from outside
 * the C library.
 *
 * A removed path is at most two calls: as a file, then as a folder.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 4096 };

static long kill_at; /* 0: never */
static const char *begins_with;
static atomic_bool has_begun;
static atomic_long call_count;
static atomic_bool is_written[DESCRIPTORS_MAX]; /* descriptors of files opened to be written */

/* The C library gives constructors what it gives main(). */
__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *number = getenv("KILL_AT_CALL");
    const char *command = getenv("KILL_AT_CALL_IN");

    begins_with = getenv("KILL_AT_CALL_AFTER");
    atomic_store(&has_begun, begins_with == NULL);
    if (number != NULL && (command == NULL || (argc > 1 && strcmp(argv[1], command) == 0))) {
        kill_at = strtol(number, NULL, 10);
    }
}

/* Before every call that counts; `path` is NULL where it has none. */
static void count(const char *path)
{
    if (kill_at == 0) {
        return;
    }
    if (!atomic_load(&has_begun) && path != NULL && strstr(path, begins_with) != NULL) {
        atomic_store(&has_begun, true);
    }
    if (atomic_load(&has_begun) && atomic_fetch_add(&call_count, 1) + 1 == kill_at) {
        kill(getpid(), SIGKILL);
        for (;;) {
            pause();
        }
    }
}

static bool is_of_file(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS_MAX && atomic_load(&is_written[descriptor]);
}

static void count_on(int descriptor)
{
    if (is_of_file(descriptor)) {
        count(NULL);
    }
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    if ((flags & (O_CREAT | O_TRUNC)) != 0) {
        count(path);
    }
    const int descriptor = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS_MAX) {
        atomic_store(&is_written[descriptor], (flags & O_ACCMODE) != O_RDONLY);
    }
    return descriptor;
}

/* The mode is there only if a file may be made. */
static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                          \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        const mode_t mode = mode_of(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        return open_at(AT_FDCWD, path, flags, mode);                                               \
    }
#define DEFINE_OPENAT(name)                                                                        \
    int name(int folder, const char *path, int flags, ...)                                         \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        const mode_t mode = mode_of(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        return open_at(folder, path, flags, mode);                                                 \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int descriptor)
{
    count_on(descriptor);
    if (is_of_file(descriptor)) {
        atomic_store(&is_written[descriptor], false);
    }
    return (int)syscall(SYS_close, descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t count_bytes)
{
    count_on(descriptor);
    return syscall(SYS_write, descriptor, bytes, count_bytes);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int piece_count)
{
    count_on(descriptor);
    return syscall(SYS_writev, descriptor, pieces, piece_count);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count_bytes, off_t at)
{
    count_on(descriptor);
    return syscall(SYS_pwrite64, descriptor, bytes, count_bytes, at);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count_bytes, off64_t at)
{
    return pwrite(descriptor, bytes, count_bytes, at);
}

int ftruncate(int descriptor, off_t bytes)
{
    count_on(descriptor);
    return (int)syscall(SYS_ftruncate, descriptor, bytes);
}

int ftruncate64(int descriptor, off64_t bytes)
{
    return ftruncate(descriptor, bytes);
}

int fallocate(int descriptor, int mode, off_t at, off_t bytes)
{
    count_on(descriptor);
    return (int)syscall(SYS_fallocate, descriptor, mode, at, bytes);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t count_bytes,
                        unsigned flags)
{
    count_on(to);
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, count_bytes, flags);
}

int fsync(int descriptor)
{
    count(NULL);
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    count(NULL);
    return (int)syscall(SYS_fdatasync, descriptor);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    count(from);
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return renameat2(from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    count(to);
    return (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    count(path);
    return (int)syscall(SYS_unlinkat, folder, path, flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path)
{
    return unlink(path) == 0 ? 0 : rmdir(path);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    count(path);
    return (int)syscall(SYS_mkdirat, folder, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}
