#define _POSIX_C_SOURCE 200809L
#include "comm/group/comm_group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>

#include "comm/group/comm_transport_priv.h"

struct mpi_group {
    struct comm_group base;
    MPI_Comm comm;
};

static_assert(sizeof(MPI_Request) <= sizeof(uintptr_t[4]), "a request fits its handle");

static struct mpi_group *of(struct comm_group *group)
{
    return (struct mpi_group *)group;
}

static enum err broken_by(struct comm_group *group, int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int text_bytes = 0;

    group->broken = true;
    MPI_Error_string(code, text, &text_bytes);
    return ERR_FAIL(ERR_COLLECTIVE, "%s on rank %d of %d: %.*s", call, group->rank, group->size,
                    text_bytes, text);
}

static void keep(struct comm_request *request, MPI_Request handle)
{
    memcpy(request->handle, &handle, sizeof(MPI_Request));
    request->active = true;
}

static enum err mpi_send(struct comm_group *group, int to, int tag, const void *bytes, size_t count,
                         struct comm_request *request)
{
    MPI_Request handle = MPI_REQUEST_NULL;

    const int code = MPI_Isend(bytes, (int)count, MPI_BYTE, to, tag, of(group)->comm, &handle);
    if (code != MPI_SUCCESS) {
        return broken_by(group, code, "MPI_Isend");
    }
    keep(request, handle);
    return ERR_OK;
}

static enum err mpi_receive(struct comm_group *group, int from, int tag, void *bytes, size_t count,
                            struct comm_request *request)
{
    MPI_Request handle = MPI_REQUEST_NULL;

    const int code = MPI_Irecv(bytes, (int)count, MPI_BYTE, from, tag, of(group)->comm, &handle);
    if (code != MPI_SUCCESS) {
        return broken_by(group, code, "MPI_Irecv");
    }
    keep(request, handle);
    return ERR_OK;
}

static enum err mpi_sum_f32(struct comm_group *group, float *values, size_t count,
                            struct comm_request *request)
{
    MPI_Request handle = MPI_REQUEST_NULL;

    const int code = MPI_Iallreduce(MPI_IN_PLACE, values, (int)count, MPI_FLOAT, MPI_SUM,
                                    of(group)->comm, &handle);
    if (code != MPI_SUCCESS) {
        return broken_by(group, code, "MPI_Iallreduce");
    }
    keep(request, handle);
    return ERR_OK;
}

static enum err mpi_test(struct comm_group *group, struct comm_request *request)
{
    MPI_Request handle;
    int done = 0;

    memcpy(&handle, request->handle, sizeof(MPI_Request));
    const int code = MPI_Test(&handle, &done, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) {
        return broken_by(group, code, "MPI_Test");
    }
    request->active = !done;
    return ERR_OK;
}

static enum err mpi_duplicate(struct comm_group *group, struct comm_group **copy_out);

/* Not MPI_Comm_free(): that is collective, and would hang when a rank gave up early. */
static void mpi_close(struct comm_group *group)
{
    free(group);
}

static const struct comm_transport mpi_transport = {
    .send = mpi_send,
    .receive = mpi_receive,
    .sum_f32 = mpi_sum_f32,
    .test = mpi_test,
    .duplicate = mpi_duplicate,
    .close = mpi_close,
};

/* Without a launcher: one rank, which never sends. */
static enum err alone_duplicate(struct comm_group *group, struct comm_group **copy_out)
{
    struct comm_group *copy = malloc(sizeof(*copy));

    if (copy == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a group");
    }
    *copy = *group;
    *copy_out = copy;
    return ERR_OK;
}

static const struct comm_transport alone_transport = {
    .duplicate = alone_duplicate,
    .close = mpi_close,
};

/* A copy of `comm`, so that our traffic can never match a library's, or another group's. */
static enum err open_copy(MPI_Comm comm, struct comm_group **group_out)
{
    struct mpi_group *group = calloc(1, sizeof(*group));
    MPI_Comm host = MPI_COMM_NULL;

    if (group == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a group");
    }
    const int code = MPI_Comm_dup(comm, &group->comm);
    if (code != MPI_SUCCESS) {
        free(group);
        return ERR_FAIL(ERR_COLLECTIVE, "MPI_Comm_dup: code %d", code);
    }
    MPI_Comm_set_errhandler(group->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(group->comm, &group->base.rank);
    MPI_Comm_size(group->comm, &group->base.size);
    group->base.local_size = 1;
    if (MPI_Comm_split_type(group->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host) ==
        MPI_SUCCESS) {
        MPI_Comm_rank(host, &group->base.local_rank);
        MPI_Comm_size(host, &group->base.local_size);
        MPI_Comm_free(&host);
    }
    group->base.transport = &mpi_transport;
    *group_out = &group->base;
    return ERR_OK;
}

static enum err mpi_duplicate(struct comm_group *group, struct comm_group **copy_out)
{
    ERR_TRY(open_copy(of(group)->comm, copy_out));
    (*copy_out)->launcher = group->launcher;
    return ERR_OK;
}

/* The number a launcher tells in its variable; 0 if it says nothing. */
static long launched_by(const char *variable)
{
    const char *text = getenv(variable);

    return text == NULL ? 0 : strtol(text, NULL, 10);
}

int comm_launched_rank(void)
{
    static const char *const variables[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                            "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (getenv(variables[i]) != NULL) {
            return (int)launched_by(variables[i]);
        }
    }
    return 0;
}

/* Whether MPI is ours to finalize: not if the program had initialized it before. */
static bool started_mpi;

static enum err start_mpi(struct comm_group **world_out)
{
    static char launcher[MPI_MAX_LIBRARY_VERSION_STRING];
    int provided = MPI_THREAD_SINGLE;
    int text_bytes = 0;
    int running = 0;

    MPI_Initialized(&running);
    const int code = running ? MPI_Query_thread(&provided)
                             : MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    started_mpi = !running;
    if (code != MPI_SUCCESS) {
        return ERR_FAIL(ERR_COLLECTIVE, "MPI_Init_thread: code %d", code);
    }
    if (provided < MPI_THREAD_MULTIPLE) {
        return ERR_FAIL(ERR_USAGE,
                        "this MPI provides thread level %d, MPI_THREAD_MULTIPLE (%d) is "
                        "needed: use a build of Open MPI with thread support",
                        provided, MPI_THREAD_MULTIPLE);
    }
    MPI_Get_library_version(launcher, &text_bytes);
    launcher[strcspn(launcher, ",\n")] = '\0';
    ERR_TRY(open_copy(MPI_COMM_WORLD, world_out));
    (*world_out)->launcher = launcher;
    return ERR_OK;
}

enum err comm_start(struct comm_group **world_out)
{
    static const struct comm_group alone = {
        .transport = &alone_transport, .size = 1, .local_size = 1, .launcher = "none"};
    /* Who started us, by the variable in which it tells the number of ranks. */
    const long open_mpi = launched_by("OMPI_COMM_WORLD_SIZE");
    const long hydra = launched_by("PMI_SIZE");
    const long slurm = getenv("SLURM_STEP_ID") == NULL ? 0 : launched_by("SLURM_STEP_NUM_TASKS");
    const char *told_by = open_mpi > 0 ? "mpirun" : hydra > 0 ? "PMI" : "srun";
    const long told = open_mpi > 0 ? open_mpi : hydra > 0 ? hydra : slurm;

    assert(world_out != NULL);
    if (open_mpi == 0 && getenv("PMIX_RANK") == NULL) {
        if (told > 1) {
            return ERR_FAIL(ERR_USAGE,
                            "%s launched %ld copies, but as far as Open MPI can tell each is a job "
                            "of one rank: start them with Open MPI's mpirun, or srun --mpi=pmix",
                            told_by, told);
        }
        return alone_duplicate((struct comm_group *)(uintptr_t)&alone, world_out);
    }
    ERR_TRY(start_mpi(world_out));
    if (told > 0 && told != (*world_out)->size) {
        return ERR_FAIL(ERR_USAGE,
                        "%s says it launched %ld ranks, but MPI sees %d: the launcher and the "
                        "library this binary is linked to (%s) are not of one kind",
                        told_by, told, (*world_out)->size, (*world_out)->launcher);
    }
    return ERR_OK;
}

void comm_stop(struct comm_group *world, int all_well)
{
    const bool has_mpi = world != NULL && world->transport == &mpi_transport;

    comm_close(world);
    if (has_mpi && all_well && started_mpi) {
        MPI_Finalize();
    }
}

_Noreturn void comm_abort(struct comm_group *world, int exit_code)
{
    fflush(NULL);
    if (world != NULL && world->transport == &mpi_transport && world->size > 1) {
        MPI_Abort(of(world)->comm, exit_code);
    }
    _exit(exit_code);
}
