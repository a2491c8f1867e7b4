/*
 * tests/cudasim/sim_watch.c - looks at every access of a kernel, and at the ranges that other
 * work reads and writes.
 *
 * Kernels are compiled with -fsanitize=thread, so that the compiler calls __tsan_read4() and its
 * like before each access; here they are not the thread sanitizer's. For every 4 bytes of device
 * and shared memory a cell remembers the last writer and the last two readers. Two accesses, one
 * of them a write, are a race
 *
 *   - of work in different streams, if no event or wait orders the two pieces of work;
 *   - of threads of a block, if no __syncthreads() lies between them, and no __syncwarp() if they
 *     are of one warp (a shuffle orders no memory);
 *   - of blocks of a kernel, always, unless both blocks made atomic updates: those may be a
 *     ticket ("the last block adds up"), which is not followed further.
 *
 * Also ends the process: an access outside of allocations, of host memory that is not pinned, at
 * a misaligned address; a read of memory that nobody has written; device memory touched by host
 * code of a .cu file.
 *
 * Not seen: accesses through memcpy() within kernels, and races of bytes within one cell beyond
 * the last writer.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cudasim/sim_block_priv.h"
#include "tests/cudasim/sim_watch_priv.h"

enum { WRITE, READ, READ_2, ROLE_COUNT };

/* Who last did what to 4 bytes: 0 in op is nobody. */
struct cell {
    uint32_t op[ROLE_COUNT];    /* SIM_OP() */
    uint32_t who[ROLE_COUNT];   /* tick << 10 | thread, or NOT_A_THREAD */
    uint32_t pc[ROLE_COUNT];    /* from the start of the program */
    uint16_t block[ROLE_COUNT]; /* low bits of its serial */
    uint16_t written;           /* bytes that ever were, as a mask */
    uint8_t mask[ROLE_COUNT];   /* bytes that the access touched */
    uint8_t padding;
};

#define NOT_A_THREAD UINT32_MAX
#define BLOCK_BYTES ((size_t)256)

/* One access, by the thread that runs or by work that is not a kernel. */
struct access {
    uint32_t op, who, pc;
    uint16_t block;
    bool is_write;
};

static struct cell *device_cells;
static uint16_t *valid_bytes; /* of each 256 bytes of the arena: so many, from the first on */
static uintptr_t image_begin, image_end;
static uintptr_t variables_begin, variables_end; /* the part of it that can be written */
static uint32_t block_serial;                    /* of the kernel's block that runs */
static uint8_t block_has_atomics[1 << 16]; /* by the low bits of the serial, in kernel_of_atomics */
static uint32_t kernel_of_atomics;
bool sim_watch_is_on;

void *sim_watch_reserve(size_t bytes, int protection)
{
    void *memory =
        mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        cudasim_report("no address space for %zu bytes", bytes);
    }
    return memory;
}

/* The program itself comes first: constants and variables of its own that kernels read. */
static int note_image(struct dl_phdr_info *info, size_t bytes, void *unused)
{
    (void)bytes;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            const uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
            image_begin = image_begin == 0 || begin < image_begin ? begin : image_begin;
            image_end = end > image_end ? end : image_end;
            if ((info->dlpi_phdr[i].p_flags & PF_W) != 0) {
                variables_begin =
                    variables_begin == 0 || begin < variables_begin ? begin : variables_begin;
                variables_end = end > variables_end ? end : variables_end;
            }
        }
    }
    return 1;
}

void sim_watch_open(void)
{
    dl_iterate_phdr(note_image, NULL);
    sim_watch_is_on = strcmp(sim_setting("CUDASIM_WATCH", "on"), "off") != 0;
    sim_watch_shared_open(variables_begin, variables_end);
    sim_arena = sim_watch_reserve(SIM_ARENA_BYTES, PROT_NONE);
    device_cells =
        sim_watch_reserve(SIM_ARENA_BYTES / 4 * sizeof(struct cell), PROT_READ | PROT_WRITE);
    valid_bytes = sim_watch_reserve(SIM_ARENA_BYTES / BLOCK_BYTES * sizeof *valid_bytes,
                                    PROT_READ | PROT_WRITE);
}

static void set_valid(const void *memory, size_t bytes, bool is_valid)
{
    size_t block = (size_t)((const char *)memory - sim_arena) / BLOCK_BYTES;

    for (size_t done = 0; done < bytes; done += BLOCK_BYTES) {
        const size_t left = bytes - done;
        valid_bytes[block++] = (uint16_t)(!is_valid ? 0 : left < BLOCK_BYTES ? left : BLOCK_BYTES);
    }
}

void sim_watch_allocated(const void *memory, size_t bytes)
{
    set_valid(memory, bytes, true);
}

void sim_watch_freed(const void *memory, size_t bytes)
{
    const size_t first = (size_t)((const char *)memory - sim_arena) / 4;

    set_valid(memory, bytes, false);
    /* Allocations begin at pages, and cells are whole in a page's share of them. */
    madvise(&device_cells[first], (bytes + 4095) / 4096 * 1024 * sizeof(struct cell),
            MADV_DONTNEED);
}

void sim_watch_block(uint32_t block)
{
    block_serial = block;
    sim_watch_shared_block(block);
    if (kernel_of_atomics != sim_now_op) {
        kernel_of_atomics = sim_now_op;
        memset(block_has_atomics, 0, sizeof block_has_atomics);
    }
    block_has_atomics[block & 0xffff] = 0;
}

/* ---- messages ---- */

void sim_watch_report_pair(const struct sim_pair *pair)
{
    const uint3 size = cudasim_block_dim();
    const unsigned n = pair->other_who & 1023;
    char text[256];
    char where[128];
    char there[128];

    sim_now_text(text, sizeof text);
    sim_place_text(pair->pc, where, sizeof where);
    sim_place_text(pair->other_pc, there, sizeof there);
    cudasim_report("race: %s %s %s at %s, thread (%u,%u,%u) of %s %s it at %s, with no barrier in "
                   "between",
                   text, pair->is_write ? "writes" : "reads", pair->what, where, n % size.x,
                   n / size.x % size.y, n / size.x / size.y,
                   pair->is_same_block ? "the same block" : "another block",
                   pair->is_other_write ? "writes" : "reads", there);
}

static void report_race(const struct access *now, const struct cell *cell, int role,
                        uintptr_t address)
{
    char text[256];
    char what[400];

    sim_memory_text((const void *)address, what, sizeof what);
    if (cell->op[role] == now->op) {
        sim_watch_report_pair(&(struct sim_pair){
            .what = what,
            .pc = (const void *)(image_begin + now->pc),
            .is_write = now->is_write,
            .other_who = cell->who[role],
            .other_pc = (const void *)(image_begin + cell->pc[role]),
            .is_other_write = role == WRITE,
            .is_same_block = cell->block[role] == now->block,
        });
    }
    sim_now_text(text, sizeof text);
    cudasim_report("race: %s %s %s, %s %s it, and no event or wait orders the two", text,
                   now->is_write ? "writes" : "reads", what, sim_op_name(cell->op[role]),
                   role == WRITE ? "writes" : "reads");
}

void sim_watch_report(const char *what, uintptr_t address, size_t bytes, bool is_write,
                      const void *pc)
{
    char text[256];
    char where[128] = "";
    char range[400];

    sim_now_text(text, sizeof text);
    if (pc != NULL) {
        char place[120];
        sim_place_text(pc, place, sizeof place);
        snprintf(where, sizeof where, " at %s", place);
    }
    if (address - (uintptr_t)sim_arena < SIM_ARENA_BYTES) {
        sim_memory_text((const void *)address, range, sizeof range);
    } else if (address == 0) {
        snprintf(range, sizeof range, "shared memory");
    } else {
        snprintf(range, sizeof range, "address %p", (void *)address);
    }
    cudasim_report("%s: %s %s %zu bytes%s: %s", what, text, is_write ? "writes" : "reads", bytes,
                   where, range);
}

/* ---- races ---- */

/* Is what the cell remembers in a role known to be before the access? */
static inline bool is_before(const struct access *now, const struct cell *cell, int role)
{
    if (cell->op[role] != now->op) {
        return sim_now_follows(cell->op[role]);
    }
    if (now->who == NOT_A_THREAD) {
        return true; /* one piece of work, which knows what it does */
    }
    if (cell->block[role] != now->block) {
        return sim_thread.has_atomics && block_has_atomics[cell->block[role]] != 0;
    }
    const uint32_t before = cell->who[role];
    const uint32_t tick = before >> 10;
    if ((before & 1023) == (now->who & 1023)) {
        return true;
    }
    return tick < ((before & 1023) / 32 == (now->who & 1023) / 32 ? sim_thread.warp_tick
                                                                  : sim_thread.block_tick);
}

static inline void remember(const struct access *now, struct cell *cell, int role, uint8_t mask)
{
    cell->op[role] = now->op;
    cell->who[role] = now->who;
    cell->pc[role] = now->pc;
    cell->block[role] = now->block;
    cell->mask[role] = mask;
}

/* Two threads of the same piece of work have read already: a writer races with one of them. */
static inline bool has_two_readers(const struct access *now, const struct cell *cell, uint8_t mask)
{
    return cell->op[READ] == now->op && cell->op[READ_2] == now->op &&
           cell->who[READ] != cell->who[READ_2] && cell->who[READ] >> 10 == now->who >> 10 &&
           cell->who[READ_2] >> 10 == now->who >> 10 && cell->block[READ] == now->block &&
           cell->block[READ_2] == now->block &&
           (cell->mask[READ] & cell->mask[READ_2] & mask) == mask;
}

static inline void touch_cell(const struct access *now, struct cell *cell, uint8_t mask,
                              uintptr_t address)
{
    if ((cell->mask[WRITE] & mask) != 0 && !is_before(now, cell, WRITE)) {
        report_race(now, cell, WRITE, address);
    }
    if (!now->is_write) {
        if ((cell->written & mask) != mask) {
            sim_watch_report("nobody has written this", address, 1, false,
                             (const void *)(image_begin + now->pc));
        }
        if (has_two_readers(now, cell, mask)) {
            return;
        }
        if (cell->op[READ] == 0 || is_before(now, cell, READ)) {
            remember(now, cell, READ, mask);
        } else if (cell->op[READ] != now->op || cell->who[READ] != now->who) {
            remember(now, cell, READ_2, mask);
        }
        return;
    }
    for (int role = READ; role <= READ_2; role++) {
        if ((cell->mask[role] & mask) != 0 && !is_before(now, cell, role)) {
            report_race(now, cell, role, address);
        }
        cell->op[role] = 0;
        cell->mask[role] = 0;
    }
    cell->written |= mask;
    remember(now, cell, WRITE, mask);
}

static inline void touch(const struct access *now, struct cell *cells, uintptr_t base,
                         uintptr_t address, size_t bytes)
{
    uintptr_t at = address;
    const uintptr_t end = address + bytes;

    if (bytes == 4 && (at - base) % 4 == 0) { /* most accesses */
        touch_cell(now, &cells[(at - base) / 4], 0xf, at);
        return;
    }
    while (at < end) {
        const unsigned first = (unsigned)((at - base) % 4);
        const unsigned count = end - at < 4 - first ? (unsigned)(end - at) : 4 - first;
        touch_cell(now, &cells[(at - base) / 4], (uint8_t)(((1u << count) - 1) << first), at);
        at += count;
    }
}

static bool is_allocated(uintptr_t address, size_t bytes)
{
    uintptr_t at = address - (uintptr_t)sim_arena;
    const uintptr_t end = at + bytes;

    if (at % BLOCK_BYTES + bytes <= valid_bytes[at / BLOCK_BYTES]) {
        return true;
    }
    while (at < end) {
        const size_t offset = at % BLOCK_BYTES;
        const size_t count = end - at < BLOCK_BYTES - offset ? end - at : BLOCK_BYTES - offset;
        if (offset + count > valid_bytes[at / BLOCK_BYTES]) {
            return false;
        }
        at += count;
    }
    return true;
}

/* ---- a thread's access ---- */

static inline struct access access_now(bool is_write, const void *pc)
{
    return (struct access){
        .op = sim_now_op,
        .who = sim_thread.who,
        .pc = (uint32_t)((uintptr_t)pc - image_begin),
        .block = (uint16_t)block_serial,
        .is_write = is_write,
    };
}

void sim_watch_access(uintptr_t address, size_t bytes, bool is_write, const void *pc)
{
    const uintptr_t in_arena = address - (uintptr_t)sim_arena;

    if (!sim_is_in_kernel) {
        if (sim_arena != NULL && in_arena < SIM_ARENA_BYTES) {
            sim_watch_report("host code touches device memory", address, bytes, is_write, pc);
        }
        return;
    }
    if (sim_watch_shared(address, bytes, is_write, pc)) {
        return;
    }
    if (in_arena < SIM_ARENA_BYTES) {
        if (!is_allocated(address, bytes)) {
            sim_watch_report("out of bounds", address, bytes, is_write, pc);
        }
        if (sim_watch_is_on) {
            const struct access now = access_now(is_write, pc);
            touch(&now, device_cells, (uintptr_t)sim_arena, address, bytes);
        }
    } else if (!sim_is_own_memory(address) && !(address >= image_begin && address < image_end) &&
               sim_memory_kind((const void *)address) == SIM_PAGEABLE) {
        sim_watch_report("a kernel touches host memory that is not pinned", address, bytes,
                         is_write, pc);
    }
}

void sim_watch_misaligned(uintptr_t address, size_t alignment, const void *pc)
{
    char text[256];
    char where[128];

    sim_now_text(text, sizeof text);
    sim_place_text(pc, where, sizeof where);
    cudasim_report("misaligned access: %s at %s: address %p is no multiple of %zu", text, where,
                   (void *)address, alignment);
}

/* Atomic updates are no race with each other: bounds are looked at, and that it is written. */
void cudasim_atomic_read(void *old, const void *address, size_t bytes)
{
    const uintptr_t at = (uintptr_t)address;

    if (sim_is_in_kernel) {
        sim_block_made_atomic();
        block_has_atomics[block_serial & 0xffff] = 1;
        if (at - (uintptr_t)sim_arena < SIM_ARENA_BYTES && !is_allocated(at, bytes)) {
            sim_watch_report("out of bounds", at, bytes, true, __builtin_return_address(0));
        }
    }
    memcpy(old, address, bytes);
}

void cudasim_atomic_write(void *address, const void *value, size_t bytes)
{
    const size_t in_arena = (uintptr_t)address - (uintptr_t)sim_arena;

    if (in_arena < SIM_ARENA_BYTES) {
        for (size_t i = 0; i < bytes; i += 4) {
            device_cells[(in_arena + i) / 4].written = 0xf;
        }
    } else {
        sim_watch_shared_written((uintptr_t)address);
    }
    memcpy(address, value, bytes);
}

/* ---- ranges of other work ---- */

static void touch_range(const void *memory, size_t bytes, bool is_write)
{
    const uintptr_t address = (uintptr_t)memory;

    if (bytes == 0) {
        return;
    }
    if (address - (uintptr_t)sim_arena >= SIM_ARENA_BYTES) {
        return; /* of the host: the caller has looked at what kind */
    }
    if (!is_allocated(address, bytes)) {
        sim_watch_report("out of bounds", address, bytes, is_write, NULL);
    }
    if (sim_watch_is_on) {
        const struct access now = {
            .op = sim_now_op, .who = NOT_A_THREAD, .is_write = is_write, .block = 0};
        touch(&now, device_cells, (uintptr_t)sim_arena, address, bytes);
    }
}

void cudasim_reads(const void *memory, size_t bytes)
{
    touch_range(memory, bytes, false);
}

void cudasim_writes(const void *memory, size_t bytes)
{
    touch_range(memory, bytes, true);
}
