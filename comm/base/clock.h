/*
 * comm/base/clock.h - time for deadlines and measurements; never for numbers that
 * reach the training state.
 *
 * Threads: any.
 */
#ifndef COMM_BASE_CLOCK_H
#define COMM_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC since an arbitrary start, in nanoseconds and milliseconds. */
int64_t clock_now_ns(void);
int64_t clock_now_ms(void);

/* Seconds since `start_ns`, an earlier clock_now_ns(). */
double clock_since_s(int64_t start_ns);

/* Seconds of CPU this process has used, all threads. */
double clock_cpu_s(void);

/* Sleeps for about `pause_us` microseconds, so that a polling loop leaves the core to others. */
void clock_nap_us(int64_t pause_us);

#endif
