/*
 * What snapshots cost the steps they run under, and how fast they copy.
 *
 *      mpirun -n RANKS bench_snap_step FOLDER MB EVERY STEP_MS CYCLES
 *
 * Each rank holds a replicated state of MB * 10^6 bytes. A step is STEP_MS of arithmetic on memory
 * of the rank's own, a barrier, the fence, and an update that writes all of the state. A cycle is
 * BLOCK_STEPS steps without snapshots and as many with one begun at every EVERY-th; the last may
 * drain before the next cycle, off the clock. Prints one line of JSON:
 *
 *      stall_ms           [begun and not skipped] snap_begin() and the fence after it, of the
 *                         slowest rank
 *      fence_ms           the fence alone; likewise
 *      step_ms            [cycles] of a step without snapshots, mean of the block
 *      ratio              [cycles] time of the block with snapshots by that of the one without
 *      drain_ratio        the same for those steps alone at whose start one was under way
 *      lag_ms             from the newest snap_begin() to its commit
 *      begun, skipped     snapshots
 *      faults_per_step    minor page faults of all ranks in the blocks with snapshots
 *      plain_faults_per_step   in those without
 *      cpu_s_per_gib      CPU of all threads but those that step, of all ranks, by the state
 *                         protected: copy, hash, coding, transfer, waiting
 *      copy_gb_s          [COPIES] this rank's share into its slot, hashing included, nothing else
 *                         running: by the worker's own time, without the comparison of replicas,
 *                         of the slowest rank
 *      memcpy_gb_s        [COPIES] memcpy() of the same bytes to shared memory that was touched
 *                         before; alternated with the above
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "snapshot/snap.h"

enum {
    BLOCK_STEPS = 10,
    CYCLES_MAX = 200,
    COPIES = 9,
    RANKS_MAX = 16,
    WARM_SNAPSHOTS = 10,
    SCRATCH_FLOATS = 1 << 18,
    DEADLINE_MS = 60000,
};

static const double SKIPPED = -1;
static const double GIB = 1024.0 * 1024 * 1024;

/* What one rank measured; ranks exchange it at the end. */
struct figures {
    double stall_s[CYCLES_MAX * BLOCK_STEPS]; /* SKIPPED where this rank skipped it */
    double fence_s[CYCLES_MAX * BLOCK_STEPS];
    double plain_s[CYCLES_MAX], snapshots_s[CYCLES_MAX];
    double drain_s, copy_s[COPIES], memcpy_s[COPIES];
    double cpu_s;
    int64_t copied_bytes, share_bytes;
    int64_t plain_faults, faults;
    int stall_count, drain_count;
};

struct bench {
    struct comm_group *world;
    struct snap *snap;
    float *state, *scratch;
    size_t state_floats;
    int64_t passes; /* over the scratch, in a step */
    uint64_t version;
    int every, cycles, step_ms;
    struct figures figures;
};

static void die_on(enum err status)
{
    char text[512];

    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "bench_snap_step: %s\n", text);
        exit(EXIT_FAILURE);
    }
}

static void barrier(const struct bench *bench)
{
    int64_t ignored = 0;

    die_on(comm_agree_max(bench->world, 0, DEADLINE_MS, &ignored));
}

static void compute(float *scratch, int64_t passes)
{
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int i = 0; i < SCRATCH_FLOATS; i++) {
            scratch[i] = scratch[i] * 0.999F + 0.001F;
        }
    }
}

static void update(struct bench *bench)
{
    for (size_t i = 0; i < bench->state_floats; i++) {
        bench->state[i] = bench->state[i] * 0.9999F + 0.0001F;
    }
}

/* How many passes a step has: those of rank 0, while all ranks compute. */
static void calibrate(struct bench *bench)
{
    int64_t passes = 0;
    const int64_t trial = 400;

    compute(bench->scratch, trial);
    barrier(bench);
    const int64_t start_ns = clock_now_ns();
    compute(bench->scratch, trial);
    const double trial_ms = 1e3 * clock_since_s(start_ns);
    if (comm_rank(bench->world) == 0) {
        passes = (int64_t)((double)(trial * bench->step_ms) / trial_ms) + 1;
    }
    die_on(comm_agree_max(bench->world, passes, DEADLINE_MS, &bench->passes));
}

static int64_t page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* CPU of this process without the calling thread's. */
static double others_cpu_s(void)
{
    struct timespec mine;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mine);
    return clock_cpu_s() - ((double)mine.tv_sec + 1e-9 * (double)mine.tv_nsec);
}

static bool is_draining(struct bench *bench)
{
    const struct snap_statistics now = snap_statistics(bench->snap);

    return now.begun > now.committed + now.skipped;
}

/* Steps of one block; returns what they took. */
static double run_block(struct bench *bench, bool takes_snapshots)
{
    struct figures *figures = &bench->figures;
    double stall_s = 0;

    barrier(bench);
    const int64_t block_ns = clock_now_ns();
    for (int step = 0; step < BLOCK_STEPS; step++) {
        const int64_t start_ns = clock_now_ns();
        const bool begins = takes_snapshots && step % bench->every == 0;
        const bool skips = begins && is_draining(bench);
        if (begins) {
            die_on(snap_begin(bench->snap, ++bench->version));
            stall_s = clock_since_s(start_ns);
        }
        const bool drains = begins || is_draining(bench);
        compute(bench->scratch, bench->passes);
        barrier(bench);
        const int64_t fence_ns = clock_now_ns();
        die_on(snap_fence(bench->snap));
        if (begins) {
            const double fence_s = clock_since_s(fence_ns);
            figures->stall_s[figures->stall_count] = skips ? SKIPPED : stall_s + fence_s;
            figures->fence_s[figures->stall_count++] = skips ? SKIPPED : fence_s;
        }
        update(bench);
        if (drains) {
            figures->drain_s += clock_since_s(start_ns);
            figures->drain_count++;
        }
    }
    barrier(bench);
    return clock_since_s(block_ns);
}

static void run_cycles(struct bench *bench)
{
    struct figures *figures = &bench->figures;

    for (int cycle = 0; cycle < bench->cycles; cycle++) {
        int64_t faults = page_faults();
        figures->plain_s[cycle] = run_block(bench, false);
        figures->plain_faults += page_faults() - faults;

        faults = page_faults();
        const double cpu_s = others_cpu_s();
        const int64_t copied_bytes = snap_statistics(bench->snap).copied_bytes;
        figures->snapshots_s[cycle] = run_block(bench, true);
        die_on(snap_wait(bench->snap));
        figures->faults += page_faults() - faults;
        figures->cpu_s += others_cpu_s() - cpu_s;
        figures->copied_bytes += snap_statistics(bench->snap).copied_bytes - copied_bytes;
    }
}

static void run_copies(struct bench *bench)
{
    struct figures *figures = &bench->figures;
    const int rank = comm_rank(bench->world);
    const size_t share = bench->state_floats / (size_t)comm_size(bench->world) * sizeof(float);
    void *const to =
        mmap(NULL, share, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (to == MAP_FAILED) {
        fprintf(stderr, "bench_snap_step: no memory for a copy of %zu bytes\n", share);
        exit(EXIT_FAILURE);
    }
    memset(to, 0, share);
    figures->share_bytes = (int64_t)share;
    for (int i = 0; i < COPIES; i++) {
        update(bench); /* the same caches before both */
        barrier(bench);
        const int64_t start_ns = clock_now_ns();
        memcpy(to, (const uint8_t *)bench->state + share * (size_t)rank, share);
        figures->memcpy_s[i] = clock_since_s(start_ns);
        update(bench);
        barrier(bench);
        const struct snap_statistics before = snap_statistics(bench->snap);
        die_on(snap_begin(bench->snap, ++bench->version));
        die_on(snap_wait(bench->snap));
        const struct snap_statistics after = snap_statistics(bench->snap);
        figures->copy_s[i] = after.copy_s - before.copy_s - (after.compare_s - before.compare_s);
    }
    munmap(to, share);
}

static void print_list(const char *name, const double values[], int count, double scale)
{
    printf("\"%s\": [", name);
    for (int i = 0; i < count; i++) {
        printf("%s%.6g", i > 0 ? ", " : "", scale * values[i]);
    }
    printf("], ");
}

/* The slowest rank's value of every one of `count` that some rank did not skip; returns how many. */
static int slowest(const struct figures all[], int ranks, size_t offset, int count,
                   double values_out[])
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        double most = SKIPPED;
        for (int r = 0; r < ranks; r++) {
            const double *values = (const double *)(const void *)((const char *)&all[r] + offset);
            most = values[i] > most ? values[i] : most;
        }
        if (most >= 0) {
            values_out[kept++] = most;
        }
    }
    return kept;
}

static void print_rates(const struct figures all[], int ranks, const char *name, size_t offset)
{
    double values[COPIES];

    slowest(all, ranks, offset, COPIES, values); /* none is skipped */
    for (int i = 0; i < COPIES; i++) {
        values[i] = 1e-9 * (double)all[0].share_bytes / values[i];
    }
    print_list(name, values, COPIES, 1);
}

static void print_figures(struct bench *bench, const struct figures all[])
{
    static double values[CYCLES_MAX * BLOCK_STEPS];
    const int ranks = comm_size(bench->world), cycles = bench->cycles;
    const double steps = (double)cycles * BLOCK_STEPS;
    const struct figures *mine = &all[0];
    const struct snap_statistics statistics = snap_statistics(bench->snap);
    double cpu_s = 0, copied = 0, faults = 0, plain_faults = 0, plain_s = 0;

    for (int r = 0; r < ranks; r++) {
        cpu_s += all[r].cpu_s;
        copied += (double)all[r].copied_bytes;
        faults += (double)all[r].faults;
        plain_faults += (double)all[r].plain_faults;
    }
    printf("{\"ranks\": %d, \"state_mb\": %.0f, \"every\": %d, ", ranks,
           1e-6 * sizeof(float) * (double)bench->state_floats, bench->every);
    int kept = slowest(all, ranks, offsetof(struct figures, stall_s), mine->stall_count, values);
    print_list("stall_ms", values, kept, 1e3);
    kept = slowest(all, ranks, offsetof(struct figures, fence_s), mine->stall_count, values);
    print_list("fence_ms", values, kept, 1e3);
    print_list("step_ms", mine->plain_s, cycles, 1e3 / BLOCK_STEPS);
    for (int i = 0; i < cycles; i++) {
        values[i] = mine->snapshots_s[i] / mine->plain_s[i];
        plain_s += mine->plain_s[i];
    }
    print_list("ratio", values, cycles, 1);
    print_rates(all, ranks, "copy_gb_s", offsetof(struct figures, copy_s));
    print_rates(all, ranks, "memcpy_gb_s", offsetof(struct figures, memcpy_s));
    printf("\"drain_ratio\": %.4f, \"lag_ms\": %.3f, \"begun\": %d, ",
           mine->drain_s / mine->drain_count / (plain_s / steps), 1e3 * statistics.lag_s,
           mine->stall_count);
    printf("\"skipped\": %lld, \"faults_per_step\": %.3f, \"plain_faults_per_step\": %.3f, ",
           (long long)statistics.skipped, faults / steps, plain_faults / steps);
    printf("\"cpu_s_per_gib\": %.4f}\n", cpu_s / (copied / GIB));
}

/* Collective: all ranks' figures to rank 0's output. */
static void report(struct bench *bench)
{
    static struct figures all[RANKS_MAX];

    all[comm_rank(bench->world)] = bench->figures;
    die_on(comm_allgather(bench->world, all, sizeof(all[0]), DEADLINE_MS));
    if (comm_rank(bench->world) == 0) {
        print_figures(bench, all);
    }
}

static void open_bench(struct bench *bench, const char *folder)
{
    const size_t bytes = bench->state_floats * sizeof(float);
    struct snap_restored from;
    const struct snap_options options = {.world = bench->world,
                                         .folder = folder,
                                         .job_key = hash_bytes("bench", 5),
                                         .deadline_ms = DEADLINE_MS,
                                         .compare = true};

    die_on(memory_open_f32((int64_t)bench->state_floats, "state", &bench->state));
    die_on(memory_open_f32(SCRATCH_FLOATS, "scratch", &bench->scratch));
    die_on(snap_open(&options, &bench->snap));
    die_on(snap_protect(bench->snap, "state", bench->state, bytes, SNAP_REPLICATED));
    die_on(snap_restore(bench->snap, NULL, 0, &from));
    bench->version = from.version;
    memset(&bench->figures, 0, sizeof(bench->figures)); /* its pages are not a step's */
    calibrate(bench);
    for (int i = 0; i < WARM_SNAPSHOTS; i++) {
        die_on(snap_begin(bench->snap, ++bench->version));
        die_on(snap_fence(bench->snap));
        update(bench);
        die_on(snap_wait(bench->snap));
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    const long long megabytes = argc == 6 ? strtoll(argv[2], NULL, 10) : 0;

    die_on(comm_start(&bench.world));
    bench.every = argc == 6 ? (int)strtol(argv[3], NULL, 10) : 0;
    bench.step_ms = argc == 6 ? (int)strtol(argv[4], NULL, 10) : 0;
    bench.cycles = argc == 6 ? (int)strtol(argv[5], NULL, 10) : 0;
    if (megabytes < 1 || bench.every < 1 || bench.every > BLOCK_STEPS || bench.step_ms < 1 ||
        bench.cycles < 1 || bench.cycles > CYCLES_MAX || comm_size(bench.world) > RANKS_MAX) {
        fprintf(stderr, "usage: bench_snap_step FOLDER MB EVERY (1-%d) STEP_MS CYCLES\n",
                BLOCK_STEPS);
        comm_abort(bench.world, 2);
    }
    bench.state_floats = (size_t)megabytes * 1000000 / sizeof(float);
    open_bench(&bench, argv[1]);
    run_cycles(&bench);
    run_copies(&bench);
    report(&bench);
    snap_close(bench.snap, SNAP_FINISHED);
    memory_close(bench.state);
    memory_close(bench.scratch);
    comm_stop(bench.world, 1);
    return EXIT_SUCCESS;
}
