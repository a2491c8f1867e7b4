/*
 * exits/exits_harm.h - which classes pay for leaving early.
 *
 * Accuracy that falls by a point in the mean may fall by ten in one class: hard classes leave early
 * with the wrong answer. Counted against the full network, sample by sample, in both directions.
 *
 * Shape letters: n samples, G exits before the end, K classes; arrays are sample by sample.
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_HARM_H
#define EXITS_EXITS_HARM_H

#include <stdint.h>

/* Of the samples with one label. */
struct exits_harm {
    int64_t n;
    int64_t full_correct;  /* the full network is right */
    int64_t early_correct; /* the exit where they left is */
    int64_t lost, gained;  /* only the full network is right; only the exit */
};

/*
 * chosen    [n]         in, 0 .. G
 * correct   [n, G + 1]  in, 1 if that exit's prediction is right, else 0
 * labels    [n]         in, 0 .. K - 1
 * harm_out  [K]
 */
void exits_harm(const int32_t chosen[], const uint8_t correct[], const int32_t labels[], int64_t n,
                int G, int64_t K, struct exits_harm harm_out[]);

#endif
