/*
 * tests/cudasim/sim_watch_shared.c - who may touch which byte of shared memory.
 *
 * As sim_watch.c, for the threads of one block: for every 4 bytes a cell remembers the last
 * writer and two readers of the block that runs. Most accesses of a kernel end here, so that the
 * cells are small and an access that tells nothing new changes none.
 */
#include <string.h>
#include <sys/mman.h>

#include "tests/cudasim/sim_block_priv.h"
#include "tests/cudasim/sim_watch_priv.h"

enum { WRITE, READ, READ_2, ROLE_COUNT };

struct cell {
    uint32_t block;           /* whose all else is */
    uint32_t who[ROLE_COUNT]; /* tick << 10 | thread */
    uint32_t pc[ROLE_COUNT];  /* low bits: the program is smaller */
    uint8_t mask[ROLE_COUNT]; /* bytes that the access touched; 0: none */
    uint8_t written;          /* bytes that ever were, as a mask */
};

// NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's names
extern char __start_cudasim_shared[] __attribute__((weak));
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern char __stop_cudasim_shared[] __attribute__((weak));

/*
 * __shared__ variables lie in a section of their own, but for those of templates, for which g++
 * forgets the section: so all variables of the program are looked at. What no kernel has ever
 * written outside of the section is none of them.
 */
static struct cell *dynamic_cells;
static struct cell *static_cells;
static uintptr_t static_begin, static_bytes;
static uint32_t block_now;

void sim_watch_shared_open(uintptr_t begin, uintptr_t end)
{
    const int access = PROT_READ | PROT_WRITE;

    static_begin = begin & ~(uintptr_t)3;
    static_bytes = end - static_begin;
    sim_dynamic_shared = sim_watch_reserve(SIM_SHARED_BYTES_OPTIN, access);
    dynamic_cells = sim_watch_reserve(SIM_SHARED_BYTES_OPTIN / 4 * sizeof(struct cell), access);
    static_cells = sim_watch_reserve((static_bytes / 4 + 1) * sizeof(struct cell), access);
}

void sim_watch_shared_block(uint32_t block)
{
    block_now = block;
}

/* An address in the program again, of which the low bits were kept. */
static const void *whole_pc(uint32_t low, const void *near)
{
    return (const void *)((uintptr_t)near + (uintptr_t)(int32_t)(low - (uint32_t)(uintptr_t)near));
}

static void report_race(const struct cell *cell, int role, bool is_write, const void *pc)
{
    sim_watch_report_pair(&(struct sim_pair){
        .what = "shared memory",
        .pc = pc,
        .is_write = is_write,
        .other_who = cell->who[role],
        .other_pc = whole_pc(cell->pc[role], pc),
        .is_other_write = role == WRITE,
        .is_same_block = true,
    });
}

/* Is there a barrier between that access and the running thread's? */
static inline bool is_before(uint32_t who)
{
    const uint32_t other = who & 1023;

    return other == sim_thread.number ||
           who >> 10 < (other / 32 == sim_thread.number / 32 ? sim_thread.warp_tick
                                                             : sim_thread.block_tick);
}

static inline void remember(struct cell *cell, int role, uint8_t mask, const void *pc)
{
    cell->who[role] = sim_thread.who;
    cell->pc[role] = (uint32_t)(uintptr_t)pc;
    cell->mask[role] = mask;
}

static bool is_in_section(const struct cell *cell)
{
    const uintptr_t address = static_begin + (uintptr_t)(cell - static_cells) * 4;
    return address >= (uintptr_t)__start_cudasim_shared &&
           address < (uintptr_t)__stop_cudasim_shared;
}

static inline void read_cell(struct cell *cell, bool is_dynamic, uint8_t mask, const void *pc)
{
    if (cell->block == 0 && !is_dynamic && !is_in_section(cell)) {
        return; /* a variable of the host */
    }
    if (cell->block != block_now || (cell->written & mask) != mask) {
        sim_watch_report("no thread of the block has written this yet", 0, 1, false, pc);
    }
    if ((cell->mask[WRITE] & mask) != 0 && !is_before(cell->who[WRITE])) {
        report_race(cell, WRITE, false, pc);
    }
    const uint32_t tick = sim_thread.who >> 10;
    const bool is_first_known = (cell->mask[READ] & mask) == mask && cell->who[READ] >> 10 == tick;
    if (is_first_known &&
        (cell->who[READ] == sim_thread.who ||
         ((cell->mask[READ_2] & mask) == mask && cell->who[READ_2] >> 10 == tick))) {
        return; /* known, or two have read since the barrier: a writer races with one of them */
    }
    if (cell->mask[READ] == 0 || is_before(cell->who[READ])) {
        remember(cell, READ, mask, pc);
    } else {
        remember(cell, READ_2, mask, pc);
    }
}

static inline void write_cell(struct cell *cell, uint8_t mask, const void *pc)
{
    if (cell->block != block_now) {
        memset(cell, 0, sizeof *cell);
        cell->block = block_now;
    }
    for (int role = WRITE; role <= READ_2; role++) {
        if ((cell->mask[role] & mask) != 0 && !is_before(cell->who[role])) {
            report_race(cell, role, true, pc);
        }
    }
    cell->mask[READ] = 0;
    cell->mask[READ_2] = 0;
    cell->written |= mask;
    remember(cell, WRITE, mask, pc);
}

static __attribute__((noinline)) void touch(struct cell *cells, uintptr_t offset, size_t bytes,
                                            bool is_write, const void *pc)
{
    const uintptr_t end = offset + bytes;

    while (offset < end) {
        const unsigned first = (unsigned)(offset % 4);
        const unsigned count = end - offset < 4 - first ? (unsigned)(end - offset) : 4 - first;
        const uint8_t mask = (uint8_t)(((1u << count) - 1) << first);
        if (is_write) {
            write_cell(&cells[offset / 4], mask, pc);
        } else {
            read_cell(&cells[offset / 4], cells == dynamic_cells, mask, pc);
        }
        offset += count;
    }
}

/* The usual read: written before the last barrier, and by two threads read since. */
static inline bool is_nothing_new(const struct cell *cell)
{
    const uint32_t tick = sim_thread.who >> 10;

    return cell->block == block_now && cell->written == 0xf &&
           cell->who[WRITE] >> 10 < sim_thread.block_tick && cell->mask[READ] == 0xf &&
           cell->who[READ] >> 10 == tick &&
           (cell->who[READ] == sim_thread.who ||
            (cell->mask[READ_2] == 0xf && cell->who[READ_2] >> 10 == tick));
}

bool sim_watch_shared(uintptr_t address, size_t bytes, bool is_write, const void *pc)
{
    const uintptr_t in_dynamic = address - (uintptr_t)sim_dynamic_shared;
    const uintptr_t in_static = address - static_begin;

    if (in_dynamic < SIM_SHARED_BYTES_OPTIN) {
        if (in_dynamic + bytes > sim_dynamic_shared_bytes) {
            sim_watch_report("out of bounds of dynamic shared memory", address, bytes, is_write,
                             pc);
        }
        if (bytes == 4 && !is_write && in_dynamic % 4 == 0 &&
            is_nothing_new(&dynamic_cells[in_dynamic / 4])) {
            return true;
        }
        if (sim_watch_is_on) {
            touch(dynamic_cells, in_dynamic, bytes, is_write, pc);
        }
        return true;
    }
    if (in_static < static_bytes) {
        if (bytes == 4 && !is_write && in_static % 4 == 0 &&
            is_nothing_new(&static_cells[in_static / 4])) {
            return true;
        }
        if (sim_watch_is_on) {
            touch(static_cells, in_static, bytes, is_write, pc);
        }
        return true;
    }
    return false;
}

void sim_watch_shared_written(uintptr_t address)
{
    const uintptr_t in_dynamic = address - (uintptr_t)sim_dynamic_shared;
    const uintptr_t in_static = address - static_begin;
    struct cell *cell = in_dynamic < SIM_SHARED_BYTES_OPTIN ? &dynamic_cells[in_dynamic / 4]
                        : in_static < static_bytes          ? &static_cells[in_static / 4]
                                                            : NULL;

    if (cell != NULL && cell->block != block_now) {
        memset(cell, 0, sizeof *cell);
        cell->block = block_now;
    }
    if (cell != NULL) {
        cell->written = 0xf;
    }
}
