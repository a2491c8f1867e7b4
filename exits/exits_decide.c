#include "exits/exits_decide.h"

#include <assert.h>
#include <math.h>

void exits_decide_threshold(const float scores[], const double thresholds[], int64_t n, int G,
                            int32_t chosen_out[])
{
    for (int64_t i = 0; i < n; i++) {
        int exit = 0;
        while (exit < G && !exits_decide_leaves((double)scores[i * G + exit], thresholds[exit],
                                                -(double)INFINITY)) {
            exit++;
        }
        chosen_out[i] = exit;
    }
}

void exits_decide_window(const float scores[], const double lows[], const double highs[], int64_t n,
                         int G, int32_t chosen_out[])
{
    for (int64_t i = 0; i < n; i++) {
        int exit = 0;
        while (exit < G &&
               !exits_decide_leaves((double)scores[i * G + exit], highs[exit], lows[exit])) {
            exit++;
        }
        chosen_out[i] = exit;
    }
}

void exits_decide_patience(const int32_t predicted[], int patience, int64_t n, int G,
                           int32_t chosen_out[])
{
    assert(patience >= 0);
    for (int64_t i = 0; i < n; i++) {
        const int32_t *classes = predicted + i * (G + 1);
        int agreed = 0;
        int exit = 0;
        while (exit < G && (patience == 0 || agreed < patience)) {
            exit++;
            agreed = classes[exit] == classes[exit - 1] ? agreed + 1 : 0;
        }
        chosen_out[i] = exit;
    }
}

void exits_decide_oracle(const float loss[], const double costs[], double lambda, int64_t n, int G,
                         int32_t chosen_out[])
{
    for (int64_t i = 0; i < n; i++) {
        const float *losses = loss + i * (G + 1);
        double lowest = (double)losses[0] + lambda * costs[0];
        chosen_out[i] = 0;
        for (int l = 1; l <= G; l++) {
            const double objective = (double)losses[l] + lambda * costs[l];
            if (objective < lowest) {
                lowest = objective;
                chosen_out[i] = l;
            }
        }
    }
}

void exits_decide_always(int exit, int64_t n, int32_t chosen_out[])
{
    for (int64_t i = 0; i < n; i++) {
        chosen_out[i] = exit;
    }
}
