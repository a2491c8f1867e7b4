/*
 * tests/cudasim/sim_watch_priv.h - what the calls that the compiler adds (sim_hooks.c) end in:
 * device memory is watched by sim_watch.c, shared memory by sim_watch_shared.c.
 */
#ifndef TESTS_CUDASIM_SIM_WATCH_PRIV_H
#define TESTS_CUDASIM_SIM_WATCH_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void sim_watch_access(uintptr_t address, size_t bytes, bool is_write, const void *pc);
/* An access at an address that is no multiple of what its type demands. */
void sim_watch_misaligned(uintptr_t address, size_t alignment, const void *pc);

/* ---- between the two ---- */

extern bool sim_watch_is_on;
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
