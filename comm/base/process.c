#define _GNU_SOURCE
#include "comm/base/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum err process_describe(int pid, struct process *process_out)
{
    char path[64];
    char text[1024];
    unsigned long long start = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ERR_FAIL(ERR_MISSING, "process %d", pid);
    }
    const size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *rest = strrchr(text, ')'); /* the name before may hold anything */
    if (rest == NULL ||
        sscanf(rest + 1,
               " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
               &process_out->state, &process_out->parent, &start) != 3) {
        return ERR_FAIL(ERR_MISSING, "process %d", pid);
    }
    process_out->start = start;
    return ERR_OK;
}

int process_open(int pid, uint64_t start)
{
    struct process process;
    const int handle = (int)syscall(SYS_pidfd_open, pid, 0);

    if (handle < 0) {
        return -1;
    }
    /* Asked after the handle is there: from now on the number cannot become another's. */
    if (process_describe(pid, &process) != ERR_OK) {
        err_clear();
        close(handle);
        return -1;
    }
    if (start != 0 && process.start != start) {
        close(handle);
        return -1;
    }
    return handle;
}

bool process_signal(int handle, int signal)
{
    return syscall(SYS_pidfd_send_signal, handle, signal, NULL, 0) == 0;
}
