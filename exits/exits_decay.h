/*
 * exits/exits_decay.h - thresholds that fall as a decoding goes on.
 *
 * With progress p, 0 at the first token (or step of a diffusion) and 1 at the last, and a threshold that
 * goes from `from` to `to`:
 *
 *      LINEAR       from + (to - from) p
 *      COSINE       to + (from - to) (1 + cos(pi p)) / 2
 *      EXPONENTIAL  to + (from - to) e^(-k p)
 *      STEPS        from up to p < 1/3, their mean up to p < 2/3, then `to`
 *
 * EXPONENTIAL ends at to + (from - to) e^-k, not at `to`; with from and to = theta and 0.9 theta it is
 * CALM's decay, theta (0.9 + 0.1 e^(-k t / T)) (T. Schuster et al., NeurIPS 2022). STEPS is that of Prophet
 * (pixeli99/Prophet), 7.5, 5 and 2.5 on the gap of logits. The others are definitions of ours.
 *
 * Threads: any. Nothing here allocates or fails.
 */
#ifndef EXITS_EXITS_DECAY_H
#define EXITS_EXITS_DECAY_H

enum exits_decay_kind {
    EXITS_DECAY_LINEAR,
    EXITS_DECAY_COSINE,
    EXITS_DECAY_EXPONENTIAL,
    EXITS_DECAY_STEPS
};

struct exits_decay {
    enum exits_decay_kind kind;
    double from, to;
    double rate; /* k of EXPONENTIAL */
};

/* The threshold at progress 0 .. 1; outside, that of the nearer end. */
double exits_decay_threshold(const struct exits_decay *decay, double progress);

#endif
