#define _POSIX_C_SOURCE 200809L
#include "comm/base/clock.h"

#include <time.h>

static int64_t read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_now_ms(void)
{
    return clock_now_ns() / 1000000;
}

double clock_since_s(int64_t start_ns)
{
    return 1e-9 * (double)(clock_now_ns() - start_ns);
}

double clock_cpu_s(void)
{
    return 1e-9 * (double)read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_nap_us(int64_t pause_us)
{
    const struct timespec pause = {pause_us / 1000000, pause_us % 1000000 * 1000};

    nanosleep(&pause, NULL);
}
