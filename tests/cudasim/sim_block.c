/*
 * tests/cudasim/sim_block.c - runs a kernel: its blocks one after the other, the threads of a
 * block as fibers on the device's thread.
 *
 * A fiber runs until it meets a barrier or a warp operation that others have not reached, or
 * ends; then the next one that can run goes on, of its own warp first. A thread that has not
 * begun is started on the stack of one that has just ended, so that a kernel without barriers
 * never changes stacks.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cudasim/sim_block_priv.h"

#ifndef __x86_64__
#error "the simulated device knows how to change stacks on x86-64 only"
#endif

#define STACK_BYTES ((size_t)128 << 10)
#define GUARD_BYTES ((size_t)4096)
#define THREAD_COUNT_MAX 1024
#define WARP_COUNT_MAX (THREAD_COUNT_MAX / 32)

struct fiber {
    void *sp;
    char *stack;
    uint3 thread_idx;
    unsigned number, lane, warp;
    bool is_started;
    uint64_t result;  /* of its last warp operation */
    const char *file; /* where it waits or last waited */
    int line;
};

/* Lanes that meet in one warp operation. */
struct meeting {
    unsigned mask, arrived;
    enum sim_warp_op op;
    const char *file;
    int line;
    uint64_t values[32];
    unsigned sources[32];
};

struct warp {
    unsigned live, runnable; /* lanes */
    uint32_t tick;
    unsigned active; /* meetings */
    struct meeting meetings[32];
};

static struct {
    const struct sim_launch *launch;
    uint3 block_idx;
    unsigned thread_count, live_count, warp_count;
    unsigned at_barrier;
    const char *barrier_file;
    int barrier_line;
    int vote, vote_result;
    uint32_t tick, block_tick;
    struct fiber *now;
    void *device_sp;
    struct fiber fibers[THREAD_COUNT_MAX];
    struct warp warps[WARP_COUNT_MAX];
} block;

static char *stacks;
static unsigned stack_count;
static uint32_t block_serial;
struct sim_thread sim_thread;
char *sim_dynamic_shared;
size_t sim_dynamic_shared_bytes;

void cudasim_switch(void **save, void *load);
__asm__(".text\n"
        ".globl cudasim_switch\n"
        ".type cudasim_switch, @function\n"
        "cudasim_switch:\n"
        "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n"
        "    ret\n"
        ".size cudasim_switch, . - cudasim_switch\n");

_Thread_local bool sim_is_in_kernel;

uint3 cudasim_thread_idx(void)
{
    return block.now->thread_idx;
}

uint3 cudasim_block_idx(void)
{
    return block.block_idx;
}

uint3 cudasim_block_dim(void)
{
    const dim3 size = block.launch->block;
    return (uint3){size.x, size.y, size.z};
}

uint3 cudasim_grid_dim(void)
{
    const dim3 size = block.launch->grid;
    return (uint3){size.x, size.y, size.z};
}

unsigned cudasim_lane(void)
{
    return block.now->lane;
}

unsigned cudasim_active_mask(void)
{
    return block.warps[block.now->warp].live;
}

void *cudasim_dynamic_shared(void)
{
    return sim_dynamic_shared;
}

/* Another thread runs, or a barrier lies behind it. */
static void publish(void)
{
    sim_thread.number = block.now->number;
    sim_thread.tick = block.tick;
    sim_thread.who = block.tick << 10 | block.now->number;
    sim_thread.block_tick = block.block_tick;
    sim_thread.warp_tick = block.warps[block.now->warp].tick;
}

void sim_block_made_atomic(void)
{
    sim_thread.has_atomics = true;
}

void sim_now_text(char *text, size_t text_bytes)
{
    if (!sim_is_in_kernel) {
        snprintf(text, text_bytes, "%s", sim_now_name());
        return;
    }
    const struct fiber *now = block.now;
    snprintf(text, text_bytes, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", sim_now_name(),
             block.block_idx.x, block.block_idx.y, block.block_idx.z, now->thread_idx.x,
             now->thread_idx.y, now->thread_idx.z);
}

bool sim_is_own_memory(uintptr_t address)
{
    const uintptr_t arguments = (uintptr_t)block.launch->arguments;
    return address - (uintptr_t)stacks < stack_count * (STACK_BYTES + GUARD_BYTES) ||
           address - arguments < block.launch->arguments_bytes;
}

/* Of a path, the name: how __FILE__ spells a path is the build's business. */
static const char *name_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash != NULL ? slash + 1 : file;
}

void cudasim_trap(const char *what, const char *file, int line)
{
    char text[256];

    sim_now_text(text, sizeof text);
    cudasim_report("%s: %s at %s:%d", text, what, name_of(file), line);
}

/* ---- who runs next ---- */

static struct fiber *next_runnable(void)
{
    const unsigned first = block.now != NULL ? block.now->warp : 0;

    for (unsigned i = 0; i < block.warp_count; i++) {
        const unsigned w = (first + i) % block.warp_count;
        if (block.warps[w].runnable != 0) {
            return &block.fibers[w * 32 + (unsigned)__builtin_ctz(block.warps[w].runnable)];
        }
    }
    return NULL;
}

/* Nobody can run: names a thread that waits, and one that waits elsewhere if there is one. */
static void report_stuck(void) __attribute__((noreturn));
static void report_stuck(void)
{
    const struct fiber *first = NULL;
    const struct fiber *other = NULL;

    for (unsigned i = 0; i < block.thread_count; i++) {
        const struct fiber *fiber = &block.fibers[i];
        if ((block.warps[fiber->warp].live >> fiber->lane & 1) == 0) {
            continue;
        }
        if (first == NULL) {
            first = fiber;
        } else if (other == NULL && (fiber->line != first->line || fiber->file != first->file)) {
            other = fiber;
        }
    }
    if (first == NULL || other == NULL) {
        const struct fiber *one = first != NULL ? first : block.now;
        cudasim_report("kernel %s, block (%u,%u,%u): thread %u waits at %s:%d for threads that "
                       "never come",
                       sim_now_name(), block.block_idx.x, block.block_idx.y, block.block_idx.z,
                       one->number, name_of(one->file), one->line);
    }
    cudasim_report("kernel %s, block (%u,%u,%u): divergent barriers: thread %u waits at %s:%d, "
                   "thread %u at %s:%d",
                   sim_now_name(), block.block_idx.x, block.block_idx.y, block.block_idx.z,
                   first->number, name_of(first->file), first->line, other->number,
                   name_of(other->file), other->line);
}

static void let_others_run(void)
{
    struct fiber *from = block.now;
    struct fiber *to = next_runnable();

    if (to == NULL) {
        report_stuck();
    }
    if (to != from) {
        block.now = to;
        to->is_started = true;
        publish();
        cudasim_switch(&from->sp, to->sp);
    }
}

/* ---- barriers of the block ---- */

static void open_barrier(void)
{
    for (unsigned w = 0; w < block.warp_count; w++) {
        block.warps[w].runnable = block.warps[w].live;
        block.warps[w].tick = block.tick + 1;
    }
    block.at_barrier = 0;
    block.block_tick = ++block.tick;
    block.vote_result = block.vote;
    block.vote = 0;
    publish();
}

int cudasim_block_barrier(int vote, int value, const char *file, int line)
{
    struct fiber *now = block.now;

    now->file = file;
    now->line = line;
    if (block.at_barrier > 0 && (block.barrier_line != line || block.barrier_file != file)) {
        cudasim_report("kernel %s, block (%u,%u,%u): divergent barriers: some threads are in "
                       "__syncthreads() at %s:%d, thread %u comes to %s:%d",
                       sim_now_name(), block.block_idx.x, block.block_idx.y, block.block_idx.z,
                       name_of(block.barrier_file), block.barrier_line, now->number, name_of(file),
                       line);
    }
    block.barrier_file = file;
    block.barrier_line = line;
    block.vote += vote != 0 ? value : 0;
    if (++block.at_barrier == block.live_count) {
        open_barrier();
    } else {
        block.warps[now->warp].runnable &= ~(1u << now->lane);
        let_others_run();
    }
    return block.vote_result;
}

/* ---- meetings of a warp ---- */

static uint64_t result_of(const struct meeting *meeting, unsigned lane)
{
    uint64_t result = 0;
    int64_t best = (int64_t)meeting->values[lane];

    switch (meeting->op) {
    case SIM_WARP_SHUFFLE:
        /* What a lane that is not there says is undefined: all ones is a NaN. */
        return (meeting->arrived >> meeting->sources[lane] & 1) != 0
                   ? meeting->values[meeting->sources[lane]]
                   : UINT64_MAX;
    case SIM_WARP_SYNC:
    case SIM_WARP_MMA: return 0;
    default: break;
    }
    for (unsigned i = 0; i < 32; i++) {
        if ((meeting->arrived >> i & 1) == 0) {
            continue;
        }
        const uint64_t value = meeting->values[i];
        switch (meeting->op) {
        case SIM_WARP_BALLOT: result |= (uint64_t)(value != 0) << i; break;
        case SIM_WARP_MATCH: result |= (uint64_t)(value == meeting->values[lane]) << i; break;
        case SIM_WARP_ADD: result += value; break;
        case SIM_WARP_MIN: best = (int64_t)value < best ? (int64_t)value : best; break;
        default: best = (int64_t)value > best ? (int64_t)value : best; break;
        }
    }
    return meeting->op == SIM_WARP_MIN || meeting->op == SIM_WARP_MAX ? (uint64_t)best : result;
}

static void end_meeting(unsigned w, struct meeting *meeting)
{
    if (meeting->op == SIM_WARP_MMA) {
        sim_wmma_multiply(meeting->values);
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        if ((meeting->arrived >> lane & 1) != 0) {
            block.fibers[w * 32 + lane].result = result_of(meeting, lane);
        }
    }
    if (meeting->op == SIM_WARP_SYNC) {
        block.warps[w].tick = ++block.tick;
        publish();
    }
    block.warps[w].runnable |= meeting->arrived;
    block.warps[w].active &= ~(1u << (meeting - block.warps[w].meetings));
}

/*
 * The meeting that the running thread joins; a new one if there is none of this kind. Lanes of its
 * mask may still be in other meetings: if they cannot come, all get stuck, and that is reported.
 */
static struct meeting *meeting_for(enum sim_warp_op op, unsigned mask, const char *file, int line)
{
    struct warp *warp = &block.warps[block.now->warp];

    for (unsigned left = warp->active; left != 0; left &= left - 1) {
        struct meeting *meeting = &warp->meetings[__builtin_ctz(left)];
        if (meeting->mask == mask && meeting->op == op && meeting->line == line &&
            meeting->file == file) {
            return meeting;
        }
    }
    const int i = __builtin_ctz(~warp->active);
    struct meeting *meeting = &warp->meetings[i];
    warp->active |= 1u << i;
    meeting->mask = mask;
    meeting->arrived = 0;
    meeting->op = op;
    meeting->file = file;
    meeting->line = line;
    return meeting;
}

uint64_t cudasim_warp(enum sim_warp_op op, unsigned mask, uint64_t value, unsigned source,
                      const char *file, int line)
{
    struct fiber *now = block.now;
    struct warp *warp = &block.warps[now->warp];

    now->file = file;
    now->line = line;
    if ((mask >> now->lane & 1) == 0) {
        cudasim_trap("the calling lane is not in its own mask", file, line);
    }
    struct meeting *meeting = meeting_for(op, mask, file, line);
    meeting->values[now->lane] = value;
    meeting->sources[now->lane] = source & 31;
    meeting->arrived |= 1u << now->lane;
    if (meeting->arrived == (mask & warp->live)) {
        end_meeting(now->warp, meeting);
    } else {
        warp->runnable &= ~(1u << now->lane);
        let_others_run();
    }
    return now->result;
}

/* ---- a thread's life ---- */

/* Those who waited for the running thread only need not wait any more. */
static void leave_block(void)
{
    const struct fiber *now = block.now;
    struct warp *warp = &block.warps[now->warp];

    warp->live &= ~(1u << now->lane);
    warp->runnable &= ~(1u << now->lane);
    block.live_count--;
    if (block.live_count > 0 && block.at_barrier == block.live_count) {
        open_barrier();
    }
    for (unsigned left = warp->active; left != 0; left &= left - 1) {
        struct meeting *meeting = &warp->meetings[__builtin_ctz(left)];
        if (meeting->arrived == (meeting->mask & warp->live)) {
            end_meeting(now->warp, meeting);
        }
    }
}

static void fiber_main(void)
{
    void *unused_sp;

    for (;;) {
        struct fiber *now = block.now;
        block.launch->call(block.launch->arguments);
        leave_block();
        if (block.live_count == 0) {
            cudasim_switch(&unused_sp, block.device_sp);
        }
        struct fiber *to = next_runnable();
        if (to == NULL) {
            report_stuck();
        }
        block.now = to;
        publish();
        if (to->is_started) {
            cudasim_switch(&unused_sp, to->sp);
        }
        char *stack = to->stack;
        to->stack = now->stack;
        now->stack = stack;
        to->is_started = true;
    }
}

static void *fresh_sp(char *stack)
{
    void **sp = (void **)(void *)(stack + STACK_BYTES) - 2;
    void (*entry)(void) = fiber_main;

    memcpy(sp, &entry, sizeof entry);
    return sp - 6; /* what cudasim_switch() pops */
}

static void need_stacks(unsigned count)
{
    const size_t pitch = STACK_BYTES + GUARD_BYTES;

    if (stacks == NULL) {
        stacks = mmap(NULL, THREAD_COUNT_MAX * pitch, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) {
            cudasim_report("no address space for the stacks of threads");
        }
    }
    while (stack_count < count) {
        char *stack = stacks + stack_count * pitch + GUARD_BYTES;
        if (mprotect(stack, STACK_BYTES, PROT_READ | PROT_WRITE) != 0) {
            cudasim_report("no memory for the stacks of threads");
        }
        block.fibers[stack_count++].stack = stack;
    }
}

static void run_block(void)
{
    const dim3 size = block.launch->block;
    const unsigned count = size.x * size.y * size.z;

    block.thread_count = count;
    block.live_count = count;
    block.warp_count = (count + 31) / 32;
    block.at_barrier = 0;
    block.vote = 0;
    block.tick = 0;
    block.block_tick = 0;
    sim_thread.has_atomics = false;
    for (unsigned w = 0; w < block.warp_count; w++) {
        const unsigned lanes = count - w * 32;
        block.warps[w].live = lanes >= 32 ? UINT32_MAX : (1u << lanes) - 1;
        block.warps[w].runnable = block.warps[w].live;
        block.warps[w].tick = 0;
        block.warps[w].active = 0;
    }
    for (unsigned i = 0; i < count; i++) {
        struct fiber *fiber = &block.fibers[i];
        fiber->number = i;
        fiber->lane = i % 32;
        fiber->warp = i / 32;
        fiber->thread_idx = (uint3){i % size.x, i / size.x % size.y, i / size.x / size.y};
        fiber->is_started = false;
        fiber->sp = fresh_sp(fiber->stack);
    }
    sim_watch_block(++block_serial);
    block.now = &block.fibers[0];
    block.now->is_started = true;
    publish();
    sim_is_in_kernel = true;
    cudasim_switch(&block.device_sp, block.now->sp);
    sim_is_in_kernel = false;
    block.now = NULL;
}

static enum cudasim_progress run_grid(const void *payload, void **state)
{
    const struct sim_launch *launch = payload;
    const dim3 grid = launch->grid;
    const uint64_t count = (uint64_t)grid.x * grid.y * grid.z;
    const bool is_backward = strcmp(sim_setting("CUDASIM_BLOCKS", "forward"), "backward") == 0;

    (void)state;
    block.launch = launch;
    need_stacks((launch->block.x * launch->block.y * launch->block.z + 31) / 32 * 32);
    sim_dynamic_shared_bytes = launch->shared_bytes;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t b = is_backward ? count - 1 - i : i;
        block.block_idx = (uint3){(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y),
                                  (unsigned)(b / grid.x / grid.y)};
        run_block();
    }
    return CUDASIM_DONE;
}

const struct cudasim_work sim_grid_work = {.run = run_grid};
