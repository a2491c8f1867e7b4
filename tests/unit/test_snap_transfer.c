/*
 * Unit tests of snapshot/snap_transfer.h over threads: what is encoded is what one code call on
 * all rows gives, and every set of losses that the parity covers is made good.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snap_code.h"
#include "snapshot/snap_transfer.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/local_ranks.h"
#include "tests/support/test_suite.h"

enum { RANKS_MAX = 12, DEADLINE_MS = 20000, VERSION = 7 };

/* A job whose memory all ranks, threads of this process, can see. */
static struct job {
    struct snap_layout *layout;
    struct snap_rows rows[RANKS_MAX], saved[RANKS_MAX];
    size_t data_bytes[RANKS_MAX], parity_bytes[RANKS_MAX];
    int host_of[RANKS_MAX];
    struct snap_work works[RANKS_MAX];
    int work_count;
} job;

static size_t tiles_of(int rank, size_t segments)
{
    return segments * (size_t)snap_tile_count(&job.layout->groups[job.layout->members[rank].group]);
}

static struct snap_rows open_rows(int rank)
{
    const struct snap_group *group = &job.layout->groups[job.layout->members[rank].group];
    const struct snap_rows rows = {
        .data = calloc(1, job.data_bytes[rank] + 1),
        .parity = calloc(1, job.parity_bytes[rank] + 1),
        .data_hashes = calloc(tiles_of(rank, (size_t)group->data_count) + 1, sizeof(uint64_t)),
        .parity_hashes = calloc(tiles_of(rank, (size_t)group->parity_count) + 1, sizeof(uint64_t)),
    };

    ck_assert(rows.data != NULL && rows.parity != NULL);
    ck_assert(rows.data_hashes != NULL && rows.parity_hashes != NULL);
    return rows;
}

/* `nodes` nodes of `local` ranks that hold `bytes` each, more or less. */
static void open_job(int nodes, int local, int k, int m, uint64_t bytes)
{
    static struct snap_place places[RANKS_MAX];

    memset(&job, 0, sizeof(job));
    for (int r = 0; r < nodes * local; r++) {
        places[r] = (struct snap_place){(uint32_t)(r / local), (uint32_t)(r / local),
                                        (uint64_t)(r % 3) * bytes / 4};
    }
    const struct snap_terms terms = {nodes * local, k, m, bytes * (uint64_t)(nodes * local), 0,
                                     places};
    EXPECT_OK(snap_layout_open(&terms, &job.layout));
    for (int r = 0; r < nodes * local; r++) {
        job.data_bytes[r] = snap_layout_data_bytes(job.layout, r);
        job.parity_bytes[r] = snap_layout_parity_bytes(job.layout, r);
        job.rows[r] = open_rows(r);
        job.saved[r] = open_rows(r);
        bytes_from_seed(job.rows[r].data, job.layout->members[r].bytes, (uint64_t)r + 1);
        job.host_of[r] = r;
    }
    job.work_count = snap_transfer_plan_encode(job.layout, job.works);
}

static void close_job(void)
{
    for (int r = 0; job.layout != NULL && r < job.layout->rank_count; r++) {
        struct snap_rows *const both[] = {&job.rows[r], &job.saved[r]};
        for (int i = 0; i < 2; i++) {
            free(both[i]->data);
            free(both[i]->parity);
            free(both[i]->data_hashes);
            free(both[i]->parity_hashes);
        }
    }
    snap_layout_close(job.layout);
    job.layout = NULL;
}

static enum err transfer(struct comm_group *comm, void *context)
{
    const struct snap_transfer_options options = {.comm = comm,
                                                  .layout = job.layout,
                                                  .host_of = job.host_of,
                                                  .works = job.works,
                                                  .work_count = job.work_count,
                                                  .deadline_ms = DEADLINE_MS};
    struct snap_transfer *opened = NULL;
    const int runs = context == NULL ? 1 : *(const int *)context;

    ERR_TRY(snap_transfer_open(&options, &opened));
    for (int i = 0; i < runs; i++) {
        ERR_TRY(snap_transfer_run(opened, job.rows));
    }
    snap_transfer_close(opened);
    return ERR_OK;
}

/* Row `row` of a stripe, where its member keeps it. */
static uint8_t *row_at(const struct snap_rows *rows, const struct snap_group *group, int stripe,
                       int row)
{
    const struct snap_piece piece = snap_layout_piece(group, stripe, row);

    return (piece.is_parity ? rows[piece.rank].parity : rows[piece.rank].data) +
           (uint64_t)piece.segment * group->segment_bytes;
}

static void expect_encoded(void)
{
    for (int g = 0; g < job.layout->group_count; g++) {
        const struct snap_group *group = &job.layout->groups[g];
        const int k = group->data_count, m = group->parity_count;
        int given[SNAP_ROWS_MAX], wanted[SNAP_PARITY_MAX];
        uint8_t *expected[SNAP_PARITY_MAX];
        const uint8_t *inputs[SNAP_ROWS_MAX];
        struct snap_code *code = NULL;
        for (int i = 0; i < k; i++) {
            given[i] = i;
        }
        for (int j = 0; j < m; j++) {
            wanted[j] = k + j;
            expected[j] = malloc(group->segment_bytes);
            ck_assert_ptr_nonnull(expected[j]);
        }
        EXPECT_OK(snap_code_open(k, m, given, wanted, m, &code));
        for (int stripe = 0; stripe < k + m; stripe++) {
            for (int i = 0; i < k; i++) {
                inputs[i] = row_at(job.rows, group, stripe, i);
            }
            snap_code_run(code, group->segment_bytes, inputs, expected);
            for (int j = 0; j < m; j++) {
                ck_assert_mem_eq(row_at(job.rows, group, stripe, k + j), expected[j],
                                 group->segment_bytes);
            }
        }
        snap_code_close(code);
        for (int j = 0; j < m; j++) {
            free(expected[j]);
        }
    }
}

/* The hashes of parity are those of its tiles. */
static void expect_hashes(void)
{
    for (int r = 0; r < job.layout->rank_count; r++) {
        const struct snap_group *group = &job.layout->groups[job.layout->members[r].group];
        const int64_t tiles = snap_tile_count(group);
        for (int64_t t = 0; t < tiles * group->parity_count; t++) {
            const uint64_t at = (uint64_t)(t % tiles) * SNAP_TILE_BYTES;
            const uint8_t *tile =
                job.rows[r].parity + (uint64_t)(t / tiles) * group->segment_bytes + at;
            ck_assert_uint_eq(job.rows[r].parity_hashes[t],
                              snap_tile_hash(tile, snap_tile_bytes(group, t % tiles)));
        }
    }
}

static void save_rows(void)
{
    for (int r = 0; r < job.layout->rank_count; r++) {
        memcpy(job.saved[r].data, job.rows[r].data, job.data_bytes[r]);
        memcpy(job.saved[r].parity, job.rows[r].parity, job.parity_bytes[r]);
    }
}

static void expect_rows_as_saved(void)
{
    for (int r = 0; r < job.layout->rank_count; r++) {
        ck_assert_mem_eq(job.rows[r].data, job.saved[r].data, job.data_bytes[r]);
        ck_assert_mem_eq(job.rows[r].parity, job.saved[r].parity, job.parity_bytes[r]);
    }
}

static const struct shape {
    int nodes, local, k, m;
    uint64_t bytes;
} shapes[] = {
    {2, 1, 1, 1, 100},    {3, 1, 2, 1, 300000},  {4, 1, 2, 2, 1000000}, {6, 1, 4, 2, 1},
    {6, 1, 2, 1, 700001}, {6, 2, 4, 2, 1500000}, {1, 4, 2, 2, 400000},  {5, 1, 0, 0, 600000},
};

enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void encode_shape(int i)
{
    const struct shape *shape = &shapes[i];

    open_job(shape->nodes, shape->local, shape->k, shape->m, shape->bytes);
    local_ranks_run(job.layout->rank_count, transfer, NULL);
}

START_TEST(encode__gives_the_parity_of_every_stripe_with_its_hashes)
{
    encode_shape(_i);
    expect_encoded();
    expect_hashes();
}
END_TEST

START_TEST(run__can_be_repeated)
{
    const int runs = 3;

    open_job(4, 1, 2, 2, 1000000);
    local_ranks_run(4, transfer, (void *)(uintptr_t)&runs);
    expect_encoded();
}
END_TEST

/* What members in the mask held is gone, and bad segments besides; all is made good. */
static void lose_and_rebuild(unsigned lost, int hosts, int bad_rank)
{
    static struct snap_holding holdings[RANKS_MAX][SNAP_SLOTS];

    memset(holdings, 0, sizeof(holdings));
    for (int r = 0; r < job.layout->rank_count; r++) {
        if ((lost >> r & 1) != 0) {
            memset(job.rows[r].data, 0xdd, job.data_bytes[r]);
            memset(job.rows[r].parity, 0xdd, job.parity_bytes[r]);
        } else {
            holdings[r][r % 2] =
                (struct snap_holding){{SNAP_ENCODED, VERSION}, UINT64_MAX, UINT64_MAX};
        }
        job.host_of[r] = r % hosts;
    }
    if (bad_rank >= 0) {
        holdings[bad_rank][bad_rank % 2].good_data &= ~(uint64_t)1;
        memset(job.rows[bad_rank].data, 0xbb, 100);
    }
    const struct snap_inventory inventory = {job.layout,
                                             (const struct snap_holding(*)[SNAP_SLOTS])holdings};
    ck_assert_uint_eq(snap_recover_choose(&inventory, NULL, 0), VERSION);
    job.work_count = snap_transfer_plan_rebuild(&inventory, VERSION, job.works);
    local_ranks_run(hosts, transfer, NULL);
    expect_rows_as_saved();
    expect_hashes();
}

static bool is_covered(unsigned lost)
{
    int in_group[RANKS_MAX] = {0};

    for (int r = 0; r < job.layout->rank_count; r++) {
        const int group = job.layout->members[r].group;
        in_group[group] += (int)(lost >> r & 1);
        if (in_group[group] > job.layout->groups[group].parity_count) {
            return false;
        }
    }
    return true;
}

START_TEST(rebuild__makes_good_every_loss_that_is_covered)
{
    const int ranks = shapes[_i].nodes * shapes[_i].local;

    encode_shape(_i);
    save_rows();
    for (unsigned lost = 0; lost<1u << ranks; lost += ranks> 6 ? 331 : 1) {
        if (is_covered(lost)) {
            lose_and_rebuild(lost, ranks, -1);
        }
    }
}
END_TEST

START_TEST(rebuild__works_with_several_members_on_a_rank)
{
    open_job(4, 1, 2, 2, 500000);
    local_ranks_run(4, transfer, NULL);
    save_rows();
    for (int hosts = 1; hosts <= 6; hosts++) {
        lose_and_rebuild(0x5, hosts, -1);
        lose_and_rebuild(0x8, hosts, 1); /* an erasure and a bad segment */
    }
}
END_TEST

/* One rank never comes. */
static enum err transfer_without_rank_2(struct comm_group *comm, void *context)
{
    struct snap_transfer_options options = {.comm = comm,
                                            .layout = job.layout,
                                            .host_of = job.host_of,
                                            .works = job.works,
                                            .work_count = job.work_count,
                                            .deadline_ms = 200};
    struct snap_transfer *opened = NULL;

    (void)context;
    if (comm_rank(comm) == 2) {
        return ERR_OK;
    }
    ERR_TRY(snap_transfer_open(&options, &opened));
    const enum err status = snap_transfer_run(opened, job.rows);
    snap_transfer_close(opened);
    return status;
}

START_TEST(run__times_out_when_a_rank_never_comes)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    open_job(4, 1, 2, 2, 1000000);
    local_ranks_try(4, transfer_without_rank_2, NULL, ranks);
    for (int r = 0; r < 4; r++) {
        ck_assert_int_eq(ranks[r].status, r == 2 ? ERR_OK : ERR_TIMEOUT);
    }
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("snap_transfer");
    TCase *tcase = tcase_create("snap_transfer");

    tcase_add_checked_fixture(tcase, NULL, close_job);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, encode__gives_the_parity_of_every_stripe_with_its_hashes, 0, SHAPES);
    tcase_add_test(tcase, run__can_be_repeated);
    tcase_add_loop_test(tcase, rebuild__makes_good_every_loss_that_is_covered, 0, SHAPES);
    tcase_add_test(tcase, rebuild__works_with_several_members_on_a_rank);
    tcase_add_test(tcase, run__times_out_when_a_rank_never_comes);
    suite_add_tcase(suite, tcase);
    return suite;
}
