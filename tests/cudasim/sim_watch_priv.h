/*
 * tests/cudasim/sim_watch_priv.h - what the calls that the compiler adds (sim_hooks.c) end in:
 * device memory is watched by sim_watch.c, shared memory by sim_watch_shared.c.
 */
#ifndef TESTS_CUDASIM_SIM_WATCH_PRIV_H
#define TESTS_CUDASIM_SIM_WATCH_PRIV_H

#include "tests/cudasim/sim_priv.h"

void sim_watch_access(uintptr_t address, size_t bytes, bool is_write, const void *pc);
/* An access at an address that is no multiple of what its type demands. */
void sim_watch_misaligned(uintptr_t address, size_t alignment, const void *pc);

/* ---- shared memory ---- */

enum { SIM_WRITE, SIM_READ, SIM_READ_2, SIM_ROLE_COUNT };

/* Who of a block last did what to 4 bytes of shared memory. */
struct sim_cell {
    uint32_t block;               /* whose all else is */
    uint32_t who[SIM_ROLE_COUNT]; /* tick << 10 | thread */
    uint32_t pc[SIM_ROLE_COUNT];  /* low bits: the program is smaller */
    uint8_t mask[SIM_ROLE_COUNT]; /* bytes that the access touched; 0: none */
    uint8_t written;              /* bytes that ever were, as a mask */
};

struct sim_shared {
    struct sim_cell *dynamic_cells;
    struct sim_cell *static_cells;
    uintptr_t static_begin, static_bytes;
    uint32_t block; /* that runs */
};
extern struct sim_shared sim_shared;
extern bool sim_watch_is_on;

/*
 * The usual read: written before the last barrier of the block, and since then read by this thread
 * or by two others, with one of which a writer would race. It changes nothing.
 */
static inline bool sim_cell_is_known(const struct sim_cell *cell)
{
    const uint32_t tick = sim_thread.who >> 10;

    return cell->block == sim_shared.block && cell->written == 0xf &&
           cell->who[SIM_WRITE] >> 10 < sim_thread.block_tick && cell->mask[SIM_READ] == 0xf &&
           cell->who[SIM_READ] >> 10 == tick &&
           (cell->who[SIM_READ] == sim_thread.who ||
            (cell->mask[SIM_READ_2] == 0xf && cell->who[SIM_READ_2] >> 10 == tick));
}

/* Is this such a read, of 4 aligned bytes, or does nobody watch? Bounds included. */
static inline bool sim_watch_is_known(uintptr_t address)
{
    const uintptr_t in_dynamic = address - (uintptr_t)sim_dynamic_shared;

    return sim_is_in_kernel && address % 4 == 0 && in_dynamic < sim_dynamic_shared_bytes &&
           sim_dynamic_shared_bytes - in_dynamic >= 4 &&
           (!sim_watch_is_on || sim_cell_is_known(&sim_shared.dynamic_cells[in_dynamic / 4]));
}

/* ---- between the files ---- */

void *sim_watch_reserve(size_t bytes, int protection);      /* zeroed address space */
void sim_watch_shared_open(uintptr_t begin, uintptr_t end); /* the program's variables */
void sim_watch_shared_block(uint32_t block);
/* False if the address is not in shared memory. */
bool sim_watch_shared(uintptr_t address, size_t bytes, bool is_write, const void *pc);

/* Something wrote 4 bytes that is no race with others of its kind, if they are shared memory. */
void sim_watch_shared_written(uintptr_t address);

/* Says what is wrong with an access, and ends the process. pc may be NULL. */
void sim_watch_report(const char *what, uintptr_t address, size_t bytes, bool is_write,
                      const void *pc) __attribute__((noreturn));

/* Two accesses of threads of a kernel. */
struct sim_pair {
    const char *what;
    const void *pc, *other_pc;
    uint32_t other_who;
    bool is_write, is_other_write, is_same_block;
};
void sim_watch_report_pair(const struct sim_pair *pair) __attribute__((noreturn));

#endif
