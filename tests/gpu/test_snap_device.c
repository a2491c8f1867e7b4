/*
 * Tests of snapshot/snap.h with memory of a CUDA device, simulated or real: ranks are threads, each with a
 * device and a node's folder of its own. Where there are fewer devices than ranks, that case is left out.
 */
#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <check.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/clock.h"
#include "comm/base/file.h"
#include "comm/device/device_cuda_priv.h"
#include "snapshot/snap.h"
#include "snapshot/snap_device.h"
#include "snapshot/snap_transfer.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

enum { RANKS_MAX = 4, DEADLINE_MS = 30000, TILE = SNAP_TILE_BYTES };
enum { PARTS = 5, STAGES = 8, LATER = 100 /* the state that comes behind a version */ };

/* One range of the state. */
struct part {
    const char *name;
    enum snap_kind kind;
    bool is_on_device;
};
static const struct part parts[PARTS] = {
    {"weights", SNAP_REPLICATED, true}, {"counter", SNAP_REPLICATED, false},
    {"moments", SNAP_REPLICATED, true}, {"own", SNAP_PRIVATE, true},
    {"note", SNAP_PRIVATE, false},
};

/* How large they are: one byte, less than a tile, tiles exactly, a little more, more than a bucket. */
static const size_t sizes[][PARTS] = {
    {1, 1, 1, 1, 1},
    {1000, 24, 1003, 40, 8},
    {TILE, 24, TILE - 24, TILE / 2, TILE / 2},
    {3 * TILE + 1, 24, 2 * TILE - 5, TILE + 3, 100},
    {(size_t)SNAP_BUCKET_TILES * TILE + 12345, 24, 77777, 33, 5},
};
enum { SIZE_COUNT = sizeof(sizes) / sizeof(sizes[0]), SMALL_COUNT = SIZE_COUNT - 1 };

/* What one run of the job does, the same on all ranks. */
struct plan {
    const size_t *bytes; /* [PARTS] */
    uint64_t from;       /* the version that is to be found; 0: none */
    enum snap_source source;
    uint64_t to;          /* the last version that it makes */
    bool changes_at_once; /* behind every fence, else the next version is begun without a wait */
    enum snap_end end;
    atomic_uint_fast64_t newest; /* out: the newest that was committed */
};

struct rank {
    const struct plan *plan;
    int number;
    struct device *device;
    struct device_stream *stream;
    void *memory[PARTS];
    uint8_t *stages[PARTS]; /* pinned, one after the other: a device still reads the earlier ones */
    size_t staged[PARTS];
    uint8_t *expected;
    struct snap *snap;
    atomic_bool is_held;
};

static struct temp_folder folder;

static void set_up(void)
{
    temp_folder_open(&folder);
}

static void tear_down(void)
{
    EXPECT_OK(file_remove_tree(folder.path));
}

static void node_folder(char path[FILE_PATH_BYTES_MAX], int node)
{
    snprintf(path, FILE_PATH_BYTES_MAX, "%.4000s/node%d", folder.path, node);
}

/* ---- the state; what comes behind a version is another on every rank, and nobody may see it ---- */

static void make_bytes(const struct rank *rank, int part, uint64_t version, uint8_t *bytes)
{
    const bool is_own = parts[part].kind == SNAP_PRIVATE || version > LATER;
    const uint64_t own = is_own ? (uint64_t)rank->number + 1 : 0;

    bytes_from_seed(bytes, rank->plan->bytes[part], version * 1000 + (uint64_t)part * 10 + own);
}

/* The state becomes that of a version: at once on the host, on the device when its stream comes to it. */
static enum err update(struct rank *rank, uint64_t version)
{
    for (int p = 0; p < PARTS; p++) {
        if (!parts[p].is_on_device) {
            make_bytes(rank, p, version, rank->memory[p]);
            continue;
        }
        assert(rank->staged[p] < STAGES);
        uint8_t *stage = rank->stages[p] + rank->staged[p]++ * rank->plan->bytes[p];
        make_bytes(rank, p, version, stage);
        ERR_TRY(device_copy(rank->stream, rank->memory[p], stage, rank->plan->bytes[p]));
    }
    return ERR_OK;
}

static enum err expect_state(struct rank *rank, uint64_t version)
{
    for (int p = 0; p < PARTS; p++) {
        const size_t bytes = rank->plan->bytes[p];
        uint8_t *found = rank->stages[p];
        if (parts[p].is_on_device) {
            ERR_TRY(device_read(rank->device, found, rank->memory[p], bytes, DEADLINE_MS));
        } else {
            found = rank->memory[p];
        }
        make_bytes(rank, p, version, rank->expected);
        if (memcmp(found, rank->expected, bytes) != 0) {
            return ERR_FAIL(ERR_CORRUPT, "%s, %zu bytes, is not that of version %" PRIu64,
                            parts[p].name, bytes, version);
        }
    }
    return ERR_OK;
}

/* ---- a stream that stands still until it is let go ---- */

static void wait_for_release(void *context)
{
    struct rank *rank = context;
    const int64_t end_ms = clock_now_ms() + DEADLINE_MS;

    while (rank->is_held && clock_now_ms() < end_ms) {
        clock_nap_us(200);
    }
}

static enum err hold(struct rank *rank)
{
    rank->is_held = true;
    return device_cuda_result(
        cudaLaunchHostFunc(device_cuda_stream(rank->stream), wait_for_release, rank),
        "cudaLaunchHostFunc");
}

/* ---- a run ---- */

static enum err take(struct rank *rank, uint64_t version)
{
    ERR_TRY(snap_fence(rank->snap));
    ERR_TRY(update(rank, version));
    return snap_begin(rank->snap, version);
}

/*
 * The device comes to none of it before all of it stands in line: the version's state, its copy, and the state
 * behind it, which the copy may not see.
 */
static enum err take_and_change(struct rank *rank, uint64_t version)
{
    ERR_TRY(hold(rank));
    enum err status = take(rank, version);
    if (status == ERR_OK) {
        status = snap_fence(rank->snap);
    }
    if (status == ERR_OK) {
        status = update(rank, version + LATER);
    }
    rank->is_held = false;
    ERR_TRY(status);
    ERR_TRY(snap_wait(rank->snap));
    return device_wait(rank->stream, DEADLINE_MS);
}

static enum err train(struct rank *rank, struct plan *plan)
{
    struct snap_restored from;

    for (int p = 0; p < PARTS; p++) {
        ERR_TRY((parts[p].is_on_device ? snap_protect_device : snap_protect)(
            rank->snap, parts[p].name, rank->memory[p], plan->bytes[p], parts[p].kind));
    }
    ERR_TRY(snap_restore(rank->snap, NULL, 0, &from));
    if (from.version != plan->from || from.source != plan->source) {
        return ERR_FAIL(ERR_INVALID, "from version %d, source %d", (int)from.version,
                        (int)from.source);
    }
    ERR_TRY(plan->from > 0 ? expect_state(rank, plan->from) : ERR_OK);
    for (uint64_t version = from.version + 1; version <= plan->to; version++) {
        ERR_TRY((plan->changes_at_once ? take_and_change : take)(rank, version));
    }
    ERR_TRY(snap_wait(rank->snap));
    plan->newest = snap_statistics(rank->snap).newest_committed;
    return device_wait(rank->stream, DEADLINE_MS);
}

static enum err open_and_train(struct rank *rank, struct comm_group *world, struct plan *plan)
{
    char path[FILE_PATH_BYTES_MAX];
    const struct snap_options options = {.world = world,
                                         .folder = path,
                                         .job_key = hash_bytes("test", 4),
                                         .deadline_ms = DEADLINE_MS,
                                         .compare = true,
                                         .device = rank->device};

    node_folder(path, rank->number);
    ERR_TRY(snap_open(&options, &rank->snap));
    const enum err status = train(rank, plan);
    snap_close(rank->snap, status == ERR_OK ? plan->end : SNAP_INTERRUPTED);
    return status;
}

static enum err open_rank(struct rank *rank, struct comm_group *world)
{
    size_t largest = 0;

    ERR_TRY(device_open(DEVICE_CUDA, comm_rank(world), comm_size(world), &rank->device));
    ERR_TRY(device_stream_open(rank->device, DEVICE_PRIORITY_NORMAL, &rank->stream));
    device_use(rank->stream);
    for (int p = 0; p < PARTS; p++) {
        const size_t bytes = rank->plan->bytes[p];
        void *stage = NULL;
        largest = bytes > largest ? bytes : largest;
        ERR_TRY(device_pinned_open(rank->device, STAGES * bytes, "stages", &stage));
        rank->stages[p] = stage;
        ERR_TRY(device_memory_open(parts[p].is_on_device ? rank->device : device_cpu(), bytes,
                                   parts[p].name, &rank->memory[p]));
    }
    rank->expected = malloc(largest);
    return rank->expected == NULL ? ERR_FAIL(ERR_NO_MEMORY, "a part") : ERR_OK;
}

static void close_rank(struct rank *rank)
{
    for (int p = 0; p < PARTS; p++) {
        device_memory_close(parts[p].is_on_device ? rank->device : device_cpu(), rank->memory[p]);
        device_pinned_close(rank->device, rank->stages[p]);
    }
    free(rank->expected);
    device_use(NULL);
    device_stream_close(rank->stream);
    device_close(rank->device);
}

static enum err run_rank(struct comm_group *world, void *context)
{
    struct plan *plan = context;
    struct rank rank = {.plan = plan, .number = comm_rank(world)};

    enum err status = open_rank(&rank, world);
    if (status == ERR_OK) {
        status = open_and_train(&rank, world, plan);
    }
    close_rank(&rank);
    return status;
}

static bool has_devices(int count)
{
    struct device *device = NULL;
    const enum err status = device_open(DEVICE_CUDA, count - 1, count, &device);

    if (status != ERR_OK) {
        char text[300];
        err_text(text, sizeof(text));
        printf("LEFT OUT: %d ranks: %s\n", count, text);
        ck_assert_msg(count > 1, "no device: %s", text);
    }
    device_close(device);
    return status == ERR_OK;
}

static void expect_nothing_left(int rank_count)
{
    char path[FILE_PATH_BYTES_MAX];

    for (int node = 0; node < rank_count; node++) {
        node_folder(path, node);
        ck_assert(!file_exists(path));
    }
}

/* ---- tests; the loop index is that of sizes[] ---- */

/* A run, one that finds what it left and goes on, and one that finds what that left, less a node's memory. */
static void run_and_find(int rank_count, const size_t bytes[PARTS], bool changes_at_once)
{
    const bool loses = rank_count > 2;
    char path[FILE_PATH_BYTES_MAX];

    if (!has_devices(rank_count)) {
        return;
    }
    struct plan first = {.bytes = bytes,
                         .source = SNAP_FROM_NOTHING,
                         .to = 3,
                         .changes_at_once = changes_at_once,
                         .end = SNAP_INTERRUPTED};
    local_ranks_run(rank_count, run_rank, &first);
    ck_assert_uint_ge(first.newest, changes_at_once ? 3 : 1);
    struct plan second = {.bytes = bytes,
                          .from = first.newest,
                          .source = SNAP_FROM_MEMORY,
                          .to = first.newest + 2,
                          .changes_at_once = changes_at_once,
                          .end = SNAP_INTERRUPTED};
    local_ranks_run(rank_count, run_rank, &second);
    ck_assert_uint_ge(second.newest, changes_at_once ? second.to : second.from + 1);
    if (loses) {
        node_folder(path, 1);
        EXPECT_OK(file_remove_tree(path));
    }
    struct plan third = {.bytes = bytes,
                         .from = second.newest,
                         .source = loses ? SNAP_FROM_REBUILT : SNAP_FROM_MEMORY,
                         .end = SNAP_FINISHED};
    local_ranks_run(rank_count, run_rank, &third);
    expect_nothing_left(rank_count);
}

START_TEST(snapshot__is_of_the_state_before_the_fence)
{
    run_and_find(1, sizes[_i], true);
}
END_TEST

START_TEST(snapshot__of_many_ranks_is_of_the_state_before_the_fence)
{
    run_and_find(RANKS_MAX, sizes[_i], true);
}
END_TEST

START_TEST(snapshot__that_is_begun_behind_another_is_whole_or_skipped)
{
    run_and_find(1, sizes[_i], false);
    run_and_find(RANKS_MAX, sizes[_i], false);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_device");
    TCase *one_rank = tcase_create("one_rank"); /* by itself for a mutant, with CK_RUN_CASE */
    TCase *ranks = tcase_create("ranks");

    tcase_set_timeout(one_rank, 120);
    tcase_add_checked_fixture(one_rank, set_up, tear_down);
    tcase_add_loop_test(one_rank, snapshot__is_of_the_state_before_the_fence, 0, SIZE_COUNT);
    suite_add_tcase(suite, one_rank);
    tcase_set_timeout(ranks, 120);
    tcase_add_checked_fixture(ranks, set_up, tear_down);
    tcase_add_loop_test(ranks, snapshot__of_many_ranks_is_of_the_state_before_the_fence, 0,
                        SMALL_COUNT);
    tcase_add_loop_test(ranks, snapshot__that_is_begun_behind_another_is_whole_or_skipped, 0,
                        SMALL_COUNT);
    suite_add_tcase(suite, ranks);
    return suite;
}
