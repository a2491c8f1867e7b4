/*
 * tests/cudasim/sim_nccl_link.c - how the ranks of a communicator find each other.
 *
 * Who makes an id listens for it, in a thread of its own. Every rank says there who it is and
 * where it listens itself, and is sent the table of all once all have come; then each connects
 * to the ranks below it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cudasim/sim_nccl_priv.h"

#define ID_MAGIC 0x6e63636cu
#define SLICE_MS 20

struct id {
    uint32_t magic;
    uint32_t address; /* network order */
    uint16_t port;
};

/* What a rank says of itself. */
struct member {
    uint32_t magic;
    int32_t rank, size, device;
    uint32_t address;
    uint16_t port;
    char host[64];
};

static int listen_somewhere(uint32_t *address, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t bytes = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (inet_pton(AF_INET, sim_setting("CUDASIM_NCCL_HOST", "127.0.0.1"), &at.sin_addr) != 1 ||
        fd < 0 || bind(fd, (struct sockaddr *)&at, bytes) != 0 || listen(fd, NCCL_SIZE_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    *address = at.sin_addr.s_addr;
    *port = at.sin_port;
    return fd;
}

static int connect_to(uint32_t address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port};
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = address;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return fd;
}

/* Waits for something to read; false after an abort. comm may be NULL. */
static bool await(struct ncclComm *comm, int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (poll(&poll_fd, 1, SLICE_MS) <= 0) {
        if (comm != NULL && nccl_is_aborted(comm)) {
            return false;
        }
    }
    return true;
}

static bool read_all(struct ncclComm *comm, int fd, void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        if (!await(comm, fd)) {
            return false;
        }
        const ssize_t count = recv(fd, (char *)to + done, bytes - done, 0);
        if (count <= 0 && errno != EINTR) {
            return false;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t count = send(fd, (const char *)from + done, bytes - done, MSG_NOSIGNAL);
        if (count <= 0 && errno != EINTR) {
            return false;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return true;
}

/* ---- the maker of an id ---- */

static void *root_main(void *argument)
{
    const int listener = (int)(intptr_t)argument;
    struct member table[NCCL_SIZE_MAX];
    int fds[NCCL_SIZE_MAX];
    int size = 1;

    memset(table, 0, sizeof table);
    for (int come = 0; come < size; come++) {
        struct member member;
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || !read_all(NULL, fd, &member, sizeof member) || member.magic != ID_MAGIC ||
            member.rank < 0 || member.rank >= member.size || member.size > NCCL_SIZE_MAX ||
            table[member.rank].magic != 0) {
            come--; /* a stranger */
            if (fd >= 0) {
                close(fd);
            }
            continue;
        }
        size = member.size;
        table[member.rank] = member;
        fds[come] = fd;
    }
    for (int i = 0; i < size; i++) {
        (void)write_all(fds[i], table, (size_t)size * sizeof table[0]);
        close(fds[i]);
    }
    close(listener);
    return NULL;
}

ncclResult_t nccl_link_id(ncclUniqueId *id_out)
{
    struct id id = {.magic = ID_MAGIC};
    pthread_t thread;

    const int listener = listen_somewhere(&id.address, &id.port);
    if (listener < 0) {
        return ncclSystemError;
    }
    if (pthread_create(&thread, NULL, root_main, (void *)(intptr_t)listener) != 0) {
        close(listener);
        return ncclSystemError;
    }
    pthread_detach(thread);
    memset(id_out, 0, sizeof *id_out);
    memcpy(id_out, &id, sizeof id);
    return ncclSuccess;
}

/* ---- every rank ---- */

static bool fetch_table(struct ncclComm *comm, const struct member *self, struct member *table)
{
    struct id id;

    memcpy(&id, &comm->id, sizeof id);
    const int fd = id.magic == ID_MAGIC ? connect_to(id.address, id.port) : -1;
    if (fd < 0) {
        nccl_break(comm, ncclRemoteError, "nobody listens for the id of the communicator");
        return false;
    }
    const bool is_sent = write_all(fd, self, sizeof *self);
    const bool is_read = is_sent && read_all(comm, fd, table, (size_t)comm->size * sizeof table[0]);
    if (!is_read && !nccl_is_aborted(comm)) {
        nccl_break(comm, ncclRemoteError, "the rank that made the id is gone");
    }
    close(fd);
    return is_read;
}

static bool check_table(struct ncclComm *comm, const struct member *table)
{
    for (int i = 0; i < comm->size; i++) {
        if (table[i].size != comm->size) {
            nccl_break(comm, ncclInvalidArgument, "rank %d says that there are %d ranks, not %d", i,
                       table[i].size, comm->size);
            return false;
        }
        for (int j = 0; j < i; j++) {
            if (table[i].device == table[j].device && strcmp(table[i].host, table[j].host) == 0) {
                nccl_break(comm, ncclInvalidUsage,
                           "duplicate GPU: ranks %d and %d are both on device %d of %s", j, i,
                           table[i].device, table[i].host);
                return false;
            }
        }
    }
    return true;
}

static bool connect_all(struct ncclComm *comm, int listener, const struct member *table)
{
    for (int peer = 0; peer < comm->rank; peer++) {
        const int32_t rank = comm->rank;
        const int fd = connect_to(table[peer].address, table[peer].port);
        if (fd < 0 || !write_all(fd, &rank, sizeof rank)) {
            nccl_break(comm, ncclRemoteError, "rank %d does not answer", peer);
            return false;
        }
        comm->sockets[peer] = fd;
    }
    for (int left = comm->size - 1 - comm->rank; left > 0; left--) {
        int32_t rank = -1;
        if (!await(comm, listener)) {
            return false;
        }
        const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || !read_all(comm, fd, &rank, sizeof rank) || rank <= comm->rank ||
            rank >= comm->size) {
            nccl_break(comm, ncclRemoteError, "a peer went away while it connected");
            return false;
        }
        comm->sockets[rank] = fd;
    }
    for (int peer = 0; peer < comm->size; peer++) {
        const int one = 1;
        if (peer != comm->rank) {
            setsockopt(comm->sockets[peer], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            (void)fcntl(comm->sockets[peer], F_SETFL, O_NONBLOCK);
        }
    }
    return true;
}

void nccl_link_join(struct ncclComm *comm)
{
    struct member table[NCCL_SIZE_MAX] = {0};
    struct member self = {
        .magic = ID_MAGIC, .rank = comm->rank, .size = comm->size, .device = comm->device};

    (void)gethostname(self.host, sizeof self.host - 1);
    const int listener = listen_somewhere(&self.address, &self.port);
    if (listener < 0) {
        nccl_break(comm, ncclSystemError, "no socket to listen at: %s", strerror(errno));
        return;
    }
    (void)(fetch_table(comm, &self, table) && check_table(comm, table) &&
           connect_all(comm, listener, table));
    close(listener);
}

void nccl_link_close(struct ncclComm *comm)
{
    for (int i = 0; i < comm->size; i++) {
        if (comm->sockets[i] >= 0) {
            close(comm->sockets[i]);
            comm->sockets[i] = -1;
        }
    }
}
