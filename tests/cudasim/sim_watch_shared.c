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

enum { WRITE = SIM_WRITE, READ = SIM_READ, READ_2 = SIM_READ_2 };

// NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's names
extern char __start_cudasim_shared[] __attribute__((weak));
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern char __stop_cudasim_shared[] __attribute__((weak));

/*
 * __shared__ variables lie in a section of their own, but for those of templates, for which g++
 * forgets the section: so all variables of the program are looked at. What no kernel has ever
 * written outside of the section is none of them.
 */
struct sim_shared sim_shared;

void sim_watch_shared_open(uintptr_t begin, uintptr_t end)
{
    const int access = PROT_READ | PROT_WRITE;

    sim_shared.static_begin = begin & ~(uintptr_t)3;
    sim_shared.static_bytes = end - sim_shared.static_begin;
    sim_dynamic_shared = sim_watch_reserve(SIM_SHARED_BYTES_OPTIN, access);
    sim_shared.dynamic_cells =
        sim_watch_reserve(SIM_SHARED_BYTES_OPTIN / 4 * sizeof(struct sim_cell), access);
    sim_shared.static_cells =
        sim_watch_reserve((sim_shared.static_bytes / 4 + 1) * sizeof(struct sim_cell), access);
}

void sim_watch_shared_block(uint32_t block)
{
    sim_shared.block = block;
}

/* An address in the program again, of which the low bits were kept. */
static const void *whole_pc(uint32_t low, const void *near)
{
    return (const void *)((uintptr_t)near + (uintptr_t)(int32_t)(low - (uint32_t)(uintptr_t)near));
}

static void report_race(const struct sim_cell *cell, int role, bool is_write, const void *pc)
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

static inline void remember(struct sim_cell *cell, int role, uint8_t mask, const void *pc)
{
    cell->who[role] = sim_thread.who;
    cell->pc[role] = (uint32_t)(uintptr_t)pc;
    cell->mask[role] = mask;
}

static bool is_in_section(const struct sim_cell *cell)
{
    const uintptr_t address =
        sim_shared.static_begin + (uintptr_t)(cell - sim_shared.static_cells) * 4;
    return address >= (uintptr_t)__start_cudasim_shared &&
           address < (uintptr_t)__stop_cudasim_shared;
}

static inline void read_cell(struct sim_cell *cell, bool is_dynamic, uint8_t mask, const void *pc)
{
    if (cell->block == 0 && !is_dynamic && !is_in_section(cell)) {
        return; /* a variable of the host */
    }
    if (cell->block != sim_shared.block || (cell->written & mask) != mask) {
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

static inline void write_cell(struct sim_cell *cell, uint8_t mask, const void *pc)
{
    if (cell->block != sim_shared.block) {
        memset(cell, 0, sizeof *cell);
        cell->block = sim_shared.block;
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

static inline void touch(struct sim_cell *cells, uintptr_t offset, size_t bytes, bool is_write,
                         const void *pc)
{
    const uintptr_t end = offset + bytes;

    if (((offset | bytes) & 3) == 0) { /* most accesses: whole cells */
        for (; offset < end; offset += 4) {
            struct sim_cell *cell = &cells[offset / 4];
            if (is_write) {
                write_cell(cell, 0xf, pc);
            } else if (!sim_cell_is_known(cell)) {
                read_cell(cell, cells == sim_shared.dynamic_cells, 0xf, pc);
            }
        }
        return;
    }
    while (offset < end) {
        const unsigned first = (unsigned)(offset % 4);
        const unsigned count = end - offset < 4 - first ? (unsigned)(end - offset) : 4 - first;
        const uint8_t mask = (uint8_t)(((1u << count) - 1) << first);
        if (is_write) {
            write_cell(&cells[offset / 4], mask, pc);
        } else {
            read_cell(&cells[offset / 4], cells == sim_shared.dynamic_cells, mask, pc);
        }
        offset += count;
    }
}

bool sim_watch_shared(uintptr_t address, size_t bytes, bool is_write, const void *pc)
{
    const uintptr_t in_dynamic = address - (uintptr_t)sim_dynamic_shared;
    const uintptr_t in_static = address - sim_shared.static_begin;

    if (in_dynamic < SIM_SHARED_BYTES_OPTIN) {
        if (in_dynamic + bytes > sim_dynamic_shared_bytes) {
            sim_watch_report("out of bounds of dynamic shared memory", address, bytes, is_write,
                             pc);
        }
        if (sim_watch_is_on) {
            touch(sim_shared.dynamic_cells, in_dynamic, bytes, is_write, pc);
        }
        return true;
    }
    if (in_static < sim_shared.static_bytes) {
        if (sim_watch_is_on) {
            touch(sim_shared.static_cells, in_static, bytes, is_write, pc);
        }
        return true;
    }
    return false;
}

void sim_watch_shared_written(uintptr_t address)
{
    const uintptr_t in_dynamic = address - (uintptr_t)sim_dynamic_shared;
    const uintptr_t in_static = address - sim_shared.static_begin;
    struct sim_cell *cell =
        in_dynamic < SIM_SHARED_BYTES_OPTIN   ? &sim_shared.dynamic_cells[in_dynamic / 4]
        : in_static < sim_shared.static_bytes ? &sim_shared.static_cells[in_static / 4]
                                              : NULL;

    if (cell != NULL && cell->block != sim_shared.block) {
        memset(cell, 0, sizeof *cell);
        cell->block = sim_shared.block;
    }
    if (cell != NULL) {
        cell->written = 0xf;
    }
}
