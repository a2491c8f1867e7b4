/*
 * tests/cudasim/sim_watch_priv.h - what the calls that the compiler adds (sim_hooks.c) end in.
 */
#ifndef TESTS_CUDASIM_SIM_WATCH_PRIV_H
#define TESTS_CUDASIM_SIM_WATCH_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void sim_watch_access(uintptr_t address, size_t bytes, bool is_write, const void *pc);
/* An access at an address that is no multiple of what its type demands. */
void sim_watch_misaligned(uintptr_t address, size_t alignment, const void *pc);

#endif
