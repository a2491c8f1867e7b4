/*
 * A small job for the drills of snapshot/: deterministic numbers that depend on every step.
 *
 *      snap_job ROOT STEPS [-n NODES] [-r ROTATION] [-c K+M] [-p] [-s] [-w STEP_MS] [-e EVERY]
 *               [-d DOMAINS] [-b] [-o OUT -v EVERY_SAVED]
 *      snap_job keeper --folder FOLDER --retain-s S
 *
 * Rank r runs on node (r + ROTATION) mod NODES (default: 0, and as many as ranks), whose memory
 * is the folder ROOT/node<that number>. With -p every rank has numbers of its own as well; with
 * -s every snapshot is waited for, so that none is skipped; with -b the state is too large for caches. With -d node n is in failure domain n mod
 * DOMAINS. With -o keepers, which are this program too, write every EVERY_SAVED-th step to OUT as a
 * checkpoint. OFFRAMP_FAULT arms a fault point (comm/base/fault.h). The first rank prints where the
 * state came from and, at the end, its hash. Exit code 0, 2 usage, 3 beyond repair, 1 any other error.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "snapshot/keeper.h"
#include "snapshot/snap.h"

enum { SHARED = 200003, OWN = 50001, LARGE = 9000001, DEADLINE_MS = 10000 };

struct settings {
    const char *root, *output_dir;
    uint64_t steps, every, every_saved;
    int nodes, rotation, domains, k, m;
    int64_t step_us;
    bool has_private, waits;
};

static uint64_t shared[SHARED], own[OWN];
static uint64_t *large;    /* [LARGE], NULL without -b */
static uint64_t last_step; /* protected too: the state knows where it is */

static void update(uint64_t step, int rank)
{
    for (int i = 0; i < SHARED; i++) {
        shared[i] = shared[i] * 6364136223846793005u + step * 1442695040888963407u + (uint64_t)i;
    }
    for (int i = 0; i < OWN; i++) {
        own[i] = own[i] * 2862933555777941757u + step + (uint64_t)rank;
    }
    for (int i = 0; i < LARGE && large != NULL; i++) {
        large[i] += shared[i % SHARED];
    }
    last_step = step;
}

static enum err protect(struct snap *snap, const struct settings *settings)
{
    ERR_TRY(snap_file(snap, "numbers.bin", sizeof(shared[0])));
    ERR_TRY(snap_protect(snap, "shared", shared, sizeof(shared), SNAP_REPLICATED));
    ERR_TRY(snap_file(snap, "step.bin", 0));
    ERR_TRY(snap_protect(snap, "step", &last_step, sizeof(last_step), SNAP_REPLICATED));
    if (large != NULL) {
        ERR_TRY(snap_protect(snap, "large", large, LARGE * sizeof(large[0]), SNAP_REPLICATED));
    }
    if (settings->has_private) {
        ERR_TRY(snap_protect(snap, "own", own, sizeof(own), SNAP_PRIVATE));
    }
    return ERR_OK;
}

static enum err train(struct snap *snap, const struct settings *settings, uint64_t from, int rank)
{
    for (uint64_t step = from + 1; step <= settings->steps; step++) {
        clock_nap_us(settings->step_us);
        ERR_TRY(snap_fence(snap));
        update(step, rank);
        if (settings->every_saved > 0 && step % settings->every_saved == 0) {
            ERR_TRY(snap_save(snap, step));
            ERR_TRY(snap_wait_saved(snap, DEADLINE_MS));
        } else if (step % settings->every == 0) {
            ERR_TRY(snap_begin(snap, step));
            ERR_TRY(settings->waits ? snap_wait(snap) : ERR_OK);
        }
    }
    return snap_wait(snap);
}

/* The hash of what all ranks have, printed by the first. */
static enum err tell(struct comm_group *world, struct snap *snap, const struct settings *settings)
{
    const int size = comm_size(world);
    struct hash hashes[64] = {{0, 0}};
    char text[HASH_TEXT_BYTES];
    int differing = 0;

    const struct hash both[] = {hash_bytes(shared, sizeof(shared)),
                                hash_bytes(large, large == NULL ? 0 : LARGE * sizeof(large[0]))};
    const struct hash mine = hash_bytes(both, sizeof(both));
    ERR_TRY(comm_find_differing(world, mine.low, DEADLINE_MS, &differing));
    hashes[comm_rank(world)] = hash_bytes(own, settings->has_private ? sizeof(own) : 0);
    ERR_TRY(comm_allgather(world, hashes, sizeof(hashes[0]), DEADLINE_MS));
    if (differing >= 0) {
        return ERR_FAIL(ERR_CORRUPT, "rank %d has another state than rank 0", differing);
    }
    if (comm_rank(world) == 0) {
        const struct snap_statistics statistics = snap_statistics(snap);
        hash_text(hash_bytes(hashes, (size_t)size * sizeof(hashes[0])), text);
        printf("committed %" PRId64 " skipped %" PRId64 " saved %" PRId64 " not %" PRId64 " %s\n",
               statistics.committed, statistics.skipped, statistics.saved, statistics.saves_failed,
               statistics.failure);
        printf("state %016" PRIx64 " own %s\n", mine.low, settings->has_private ? text : "-");
    }
    return ERR_OK;
}

static enum err run(const struct settings *settings)
{
    static const char *const sources[] = {"nothing", "memory", "rebuilt", "disk"};
    char folder[4096];
    struct comm_group *world = NULL;
    struct snap *snap = NULL;
    struct snap_restored from;

    ERR_TRY(comm_start(&world));
    const int rank = comm_rank(world);
    const int nodes = settings->nodes > 0 ? settings->nodes : comm_size(world);
    ERR_TRY(fault_arm(getenv("OFFRAMP_FAULT"), rank));
    const int node = (rank + settings->rotation) % nodes;
    snprintf(folder, sizeof(folder), "%s/node%d", settings->root, node);
    const struct snap_options options = {
        .world = world,
        .folder = folder,
        .job_key = hash_bytes("snap_job", 8),
        .domain = settings->domains == 0 ? 0 : (uint64_t)(node % settings->domains) + 1,
        .data_count = settings->k,
        .parity_count = settings->m,
        .deadline_ms = DEADLINE_MS,
        .compare = true,
        .keeper_program = settings->output_dir == NULL ? NULL : "/proc/self/exe",
        .output_dir = settings->output_dir,
        .restores_disk = settings->output_dir != NULL,
        .keep_count = 2};
    ERR_TRY(snap_open(&options, &snap));
    ERR_TRY(protect(snap, settings));
    ERR_TRY(snap_restore(snap, NULL, 0, &from));
    if (from.version != last_step) {
        return ERR_FAIL(ERR_CORRUPT, "version %" PRIu64 " holds step %" PRIu64, from.version,
                        last_step);
    }
    if (rank == 0) {
        printf("from %s %" PRIu64 " lost %d rebuilt %d\n", sources[from.source], from.version,
               from.members_lost, from.rows_rebuilt);
        fflush(stdout);
    }
    ERR_TRY(train(snap, settings, from.version, rank));
    ERR_TRY(tell(world, snap, settings));
    snap_close(snap, SNAP_FINISHED);
    comm_stop(world, 1);
    return ERR_OK;
}

static int keep(int argc, char **argv)
{
    struct keeper_options options = {.grace_s = 1};
    char text[512];

    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--folder") == 0) {
            options.folder = argv[i + 1];
        }
    }
    if (keeper_run(&options) != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "snap_job: %s\n", text);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct settings settings = {.every = 1};
    char text[512];
    int option = 0;

    if (argc > 1 && strcmp(argv[1], "keeper") == 0) {
        return keep(argc, argv);
    }
    while ((option = getopt(argc, argv, "n:r:c:pbsw:e:d:o:v:")) != -1) {
        switch (option) {
        case 'o': settings.output_dir = optarg; break;
        case 'v': settings.every_saved = strtoull(optarg, NULL, 10); break;
        case 'n': settings.nodes = (int)strtol(optarg, NULL, 10); break;
        case 'r': settings.rotation = (int)strtol(optarg, NULL, 10); break;
        case 'd': settings.domains = (int)strtol(optarg, NULL, 10); break;
        case 'p': settings.has_private = true; break;
        case 's': settings.waits = true; break;
        case 'b': large = calloc(LARGE, sizeof(large[0])); break;
        case 'w': settings.step_us = 1000 * strtoll(optarg, NULL, 10); break;
        case 'e': settings.every = strtoull(optarg, NULL, 10); break;
        case 'c':
            if (sscanf(optarg, "%d+%d", &settings.k, &settings.m) == 2) {
                break;
            } /* fall through */
        default: return 2;
        }
    }
    if (argc - optind != 2) {
        return 2;
    }
    settings.root = argv[optind];
    settings.steps = strtoull(argv[optind + 1], NULL, 10);
    const enum err status = run(&settings);
    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "snap_job: %s\n", text);
        return status == ERR_BEYOND_REPAIR ? 3 : EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
