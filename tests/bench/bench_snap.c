/*
 * Encoding and rebuilding of snapshots over the ranks of mpirun, hashing included, beside one
 * thread of plain ec_encode_data() on the same bytes, which is the ceiling.
 *
 *      mpirun -n 4 bench_snap MIB M ROUNDS
 *
 * Every rank is a member that keeps MIB of data, in a group of k + M. Encoding makes all parity;
 * rebuilding makes members 1 .. M from the others. Prints one line of JSON, with the MiB/s of every
 * round, alternated: of all data for encoding, of lost data for rebuilding.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/erasure_code.h>

#include "comm/base/clock.h"
#include "comm/base/memory.h"
#include "comm/base/rng.h"
#include "snapshot/snap_transfer.h"

enum { ROUNDS_MAX = 64, RANKS_MAX = 64, DEADLINE_MS = 60000, VERSION = 1, KINDS = 3 };

static const char *const kind_names[KINDS] = {"encode_mib_s", "rebuild_mib_s", "ceiling_mib_s"};

struct bench {
    struct comm_group *world, *transfers;
    struct snap_layout *layout;
    struct snap_rows rows[RANKS_MAX];
    int host_of[RANKS_MAX];
    struct snap_transfer *encode, *rebuild;
    uint64_t mib;
    int rank, size, m;
};

static void die_on(enum err status)
{
    char text[512];

    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "bench_snap: %s\n", text);
        exit(EXIT_FAILURE);
    }
}

static void *block_of(uint64_t bytes)
{
    void *block = NULL;

    die_on(memory_open(bytes + 64, "rows", &block));
    return block;
}

static struct snap_transfer *open_transfer(struct bench *bench, const struct snap_work *works,
                                           int work_count)
{
    struct snap_transfer *transfer = NULL;
    const struct snap_transfer_options options = {.comm = bench->transfers,
                                                  .layout = bench->layout,
                                                  .host_of = bench->host_of,
                                                  .works = works,
                                                  .work_count = work_count,
                                                  .deadline_ms = DEADLINE_MS};

    die_on(snap_transfer_open(&options, &transfer));
    return transfer;
}

static void open_bench(struct bench *bench)
{
    static struct snap_place places[RANKS_MAX];
    static struct snap_holding holdings[RANKS_MAX][SNAP_SLOTS];
    static struct snap_work works[RANKS_MAX];
    const int n = bench->size;

    for (int r = 0; r < n; r++) {
        places[r] = (struct snap_place){(uint32_t)r, (uint32_t)r, 0};
        bench->host_of[r] = r;
        if (r < 1 || r > bench->m) {
            holdings[r][0] = (struct snap_holding){{SNAP_ENCODED, VERSION}, UINT64_MAX, UINT64_MAX};
        }
    }
    const struct snap_terms terms = {n, n - bench->m, bench->m, (bench->mib << 20) * (uint64_t)n,
                                     0, places};
    die_on(snap_layout_open(&terms, &bench->layout));
    const uint64_t data = snap_layout_data_bytes(bench->layout, bench->rank);
    const uint64_t parity = snap_layout_parity_bytes(bench->layout, bench->rank);
    bench->rows[bench->rank] = (struct snap_rows){block_of(data), block_of(parity),
                                                  block_of(data / 4096), block_of(data / 4096)};
    uint64_t *words = (uint64_t *)(void *)bench->rows[bench->rank].data;
    for (uint64_t i = 0; i < data / 8; i++) {
        words[i] = rng_u64(1, RNG_TEST, i, (uint32_t)bench->rank);
    }
    bench->encode = open_transfer(bench, works, snap_transfer_plan_encode(bench->layout, works));
    const struct snap_inventory inventory = {bench->layout,
                                             (const struct snap_holding(*)[SNAP_SLOTS])holdings};
    bench->rebuild =
        open_transfer(bench, works, snap_transfer_plan_rebuild(&inventory, VERSION, works));
}

/* All stripes of the group, one after the other, on memory of one process. */
static void encode_alone(const struct bench *bench)
{
    static uint8_t *sources[RANKS_MAX], *parities[SNAP_PARITY_MAX];
    static uint8_t tables[32 * RANKS_MAX * SNAP_PARITY_MAX], matrix[RANKS_MAX * RANKS_MAX];
    const struct snap_group *group = &bench->layout->groups[0];
    const int k = group->data_count, m = group->parity_count;
    const uint64_t bytes = group->segment_bytes;

    if (sources[0] == NULL) {
        for (int i = 0; i < k; i++) {
            sources[i] = block_of(bytes);
        }
        for (int j = 0; j < m; j++) {
            parities[j] = block_of(bytes);
        }
        gf_gen_cauchy1_matrix(matrix, k + m, k);
        ec_init_tables(k, m, matrix + k * k, tables);
    }
    for (int stripe = 0; stripe < group->member_count; stripe++) {
        ec_encode_data((int)bytes, k, m, tables, sources, parities);
    }
}

static double run_once(struct bench *bench, int kind)
{
    int64_t agreed = 0;

    die_on(comm_agree_max(bench->world, 0, DEADLINE_MS, &agreed));
    const int64_t start_ns = clock_now_ns();
    if (kind == 0) {
        die_on(snap_transfer_run(bench->encode, bench->rows));
    } else if (kind == 1) {
        die_on(snap_transfer_run(bench->rebuild, bench->rows));
    } else if (bench->rank == 0) {
        encode_alone(bench);
    }
    die_on(comm_agree_max(bench->world, 0, DEADLINE_MS, &agreed));
    return clock_since_s(start_ns);
}

static void print_rates(const struct bench *bench, double seconds[KINDS][ROUNDS_MAX], int rounds)
{
    printf("{\"ranks\": %d, \"mib\": %" PRIu64 ", \"m\": %d", bench->size, bench->mib, bench->m);
    for (int kind = 0; kind < KINDS; kind++) {
        const double mib = (double)bench->mib * (kind == 1 ? bench->m : bench->size);
        printf(", \"%s\": [", kind_names[kind]);
        for (int round = 0; round < rounds; round++) {
            printf("%s%.0f", round > 0 ? ", " : "", mib / seconds[kind][round]);
        }
        printf("]");
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static double seconds[KINDS][ROUNDS_MAX];
    const int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;

    die_on(comm_start(&bench.world));
    die_on(comm_duplicate(bench.world, &bench.transfers));
    bench.rank = comm_rank(bench.world);
    bench.size = comm_size(bench.world);
    bench.mib = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;
    bench.m = argc > 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (rounds < 1 || rounds > ROUNDS_MAX || bench.mib < 1 || bench.m < 1 ||
        bench.m >= bench.size || bench.size > RANKS_MAX) {
        fprintf(stderr, "usage: mpirun -n RANKS bench_snap MIB M ROUNDS\n");
        comm_abort(bench.world, 2);
    }
    open_bench(&bench);
    for (int round = -1; round < rounds; round++) { /* the first warms up */
        for (int kind = 0; kind < KINDS; kind++) {
            seconds[kind][round < 0 ? 0 : round] = run_once(&bench, kind);
        }
    }
    if (bench.rank == 0) {
        print_rates(&bench, seconds, rounds);
    }
    comm_stop(bench.world, 1);
    return EXIT_SUCCESS;
}
