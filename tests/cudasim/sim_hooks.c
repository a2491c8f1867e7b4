/*
 * tests/cudasim/sim_hooks.c - the names under which -fsanitize=thread calls for every access.
 * This program is not linked with the thread sanitizer: here they belong to the simulated device.
 * And the one that -fsanitize=alignment calls for a misaligned access.
 */
#include "tests/cudasim/sim_watch_priv.h"

/* NOLINTBEGIN(bugprone-reserved-identifier): the compiler's names */
#define HOOK(name, bytes, is_write)                                                                \
    void name(void *address);                                                                      \
    void name(void *address)                                                                       \
    {                                                                                              \
        sim_watch_access((uintptr_t)address, (bytes), (is_write), __builtin_return_address(0));    \
    }
HOOK(__tsan_read1, 1, false)
HOOK(__tsan_read2, 2, false)
HOOK(__tsan_read8, 8, false)
HOOK(__tsan_read16, 16, false)
HOOK(__tsan_write1, 1, true)
HOOK(__tsan_write2, 2, true)
HOOK(__tsan_write4, 4, true)
HOOK(__tsan_write8, 8, true)
HOOK(__tsan_write16, 16, true)
HOOK(__tsan_unaligned_read2, 2, false)
HOOK(__tsan_unaligned_read4, 4, false)
HOOK(__tsan_unaligned_read8, 8, false)
HOOK(__tsan_unaligned_read16, 16, false)
HOOK(__tsan_unaligned_write2, 2, true)
HOOK(__tsan_unaligned_write4, 4, true)
HOOK(__tsan_unaligned_write8, 8, true)
HOOK(__tsan_unaligned_write16, 16, true)

/* By far the most frequent. */
void __tsan_read4(void *address);
void __tsan_read4(void *address)
{
    if (!sim_watch_is_known((uintptr_t)address)) {
        sim_watch_access((uintptr_t)address, 4, false, __builtin_return_address(0));
    }
}

void __tsan_read_range(void *address, size_t bytes);
void __tsan_read_range(void *address, size_t bytes)
{
    sim_watch_access((uintptr_t)address, bytes, false, __builtin_return_address(0));
}

void __tsan_write_range(void *address, size_t bytes);
void __tsan_write_range(void *address, size_t bytes)
{
    sim_watch_access((uintptr_t)address, bytes, true, __builtin_return_address(0));
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
    (void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

void __tsan_vptr_update(void **vptr, void *value);
void __tsan_vptr_update(void **vptr, void *value)
{
    (void)vptr;
    (void)value;
}

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    (void)order;
}

/* As the compiler lays it out (version 1 of this handler): only the place is of interest. */
struct type_mismatch {
    struct {
        const char *file;
        uint32_t line, column;
    } at;
    const void *type;
    unsigned char log_alignment, kind;
};

void __ubsan_handle_type_mismatch_v1(const struct type_mismatch *mismatch, uintptr_t address);
void __ubsan_handle_type_mismatch_v1(const struct type_mismatch *mismatch, uintptr_t address)
{
    sim_watch_misaligned(address, (size_t)1 << mismatch->log_alignment,
                         __builtin_return_address(0));
}
/* NOLINTEND(bugprone-reserved-identifier) */
