/*
 * Somebody else's MPI program, protected: every rank works on the same numbers, and whatever is
 * killed, the same command again goes on where it was.
 *
 *      mpirun -n 4 counter FOLDER STEPS [STEP_MS]       FOLDER in memory, as /dev/shm/counter
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "snapshot/snap.h"

enum { COUNT = 300000 };

static double numbers[COUNT];

static enum err run(const char *folder, uint64_t steps, int64_t step_us)
{
    struct comm_group *world = NULL;
    struct snap *snap = NULL;
    struct snap_restored from;

    ERR_TRY(comm_start(&world));
    const struct snap_options options = {.world = world,
                                         .folder = folder,
                                         .job_key = hash_bytes("counter", 7),
                                         .deadline_ms = 10000,
                                         .compare = true};
    ERR_TRY(snap_open(&options, &snap));
    ERR_TRY(snap_protect(snap, "numbers", numbers, sizeof(numbers), SNAP_REPLICATED));
    ERR_TRY(snap_restore(snap, NULL, 0, &from));
    for (uint64_t step = from.version + 1; step <= steps; step++) {
        clock_nap_us(step_us); /* work, while the last snapshot is on its way */
        ERR_TRY(snap_fence(snap));
        for (int i = 0; i < COUNT; i++) {
            numbers[i] = 0.75 * numbers[i] + (double)(step * 31 + (uint64_t)i % 97);
        }
        ERR_TRY(snap_begin(snap, step));
    }
    ERR_TRY(snap_wait(snap));
    if (comm_rank(world) == 0) {
        const struct snap_statistics statistics = snap_statistics(snap);
        printf("from %" PRIu64 " rebuilt %d committed %" PRId64 " skipped %" PRId64 "\n",
               from.version, from.rows_rebuilt, statistics.committed, statistics.skipped);
        printf("guarantee: %s\n", snap_guarantee(snap));
        printf("state %016" PRIx64 "\n", hash_bytes(numbers, sizeof(numbers)).low);
    }
    snap_close(snap, SNAP_FINISHED);
    comm_stop(world, 1);
    return ERR_OK;
}

int main(int argc, char **argv)
{
    char text[512];

    if (argc < 3) {
        fprintf(stderr, "usage: counter FOLDER STEPS [STEP_MS]\n");
        return 2;
    }
    if (run(argv[1], strtoull(argv[2], NULL, 10),
            argc > 3 ? 1000 * strtoll(argv[3], NULL, 10) : 0) != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "counter: %s\n", text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
