#include "exits/exits_baseline.h"

#include <assert.h>
#include <math.h>

#include "trainer/model/model_config.h"

/* Of a sample: what sums of costs may be off by, relative. */
static const double SLACK = 1e-9;

int exits_baseline_static(const double accuracy[], const double costs[], int G, double budget)
{
    int best = 0;

    for (int l = 1; l <= G; l++) {
        if (costs[l] <= budget * (1 + SLACK) && accuracy[l] > accuracy[best]) {
            best = l;
        }
    }
    return best;
}

void exits_baseline_random(const double accuracy[], const double costs[], int G, double budget,
                           double shares_out[])
{
    const int alone = exits_baseline_static(accuracy, costs, G, budget);
    double best = accuracy[alone], best_share = 1;
    int cheap = alone, dear = alone;

    for (int a = 0; a <= G && costs[a] <= budget; a++) {
        for (int b = a + 1; b <= G; b++) {
            const double share = (budget - costs[a]) / (costs[b] - costs[a]); /* at b */
            const double mixed = accuracy[a] + share * (accuracy[b] - accuracy[a]);
            if (share < 1 && mixed > best) {
                best = mixed;
                best_share = 1 - share;
                cheap = a;
                dear = b;
            }
        }
    }
    for (int l = 0; l <= G; l++) {
        shares_out[l] = 0;
    }
    shares_out[dear] = 1 - best_share;
    shares_out[cheap] += best_share;
}

/* The first exit that is right, or -1. */
static int first_right(const uint8_t correct[], int G)
{
    for (int l = 0; l <= G; l++) {
        if (correct[l] != 0) {
            return l;
        }
    }
    return -1;
}

struct exits_baseline_point exits_baseline_oracle(const uint8_t correct[], const double costs[],
                                                  int64_t n, int G, double budget)
{
    int64_t first_at[MODEL_LAYERS_MAX + 1] = {0};
    double left = ((budget - costs[0]) * (1 + SLACK)) * (double)n; /* to spend beyond exit 0 */
    double cost = costs[0] * (double)n;
    int64_t right = 0;

    assert(G >= 0 && G <= MODEL_LAYERS_MAX);
    for (int64_t i = 0; i < n; i++) {
        const int exit = first_right(correct + i * (G + 1), G);
        if (exit >= 0) {
            first_at[exit]++;
        }
    }
    for (int l = 0; l <= G; l++) {
        const double more = costs[l] - costs[0];
        int64_t count = first_at[l];
        if (more > 0 && (double)count * more > left) {
            count = (int64_t)fmax(0, floor(left / more));
        }
        right += count;
        cost += (double)count * more;
        left -= (double)count * more;
    }
    return (struct exits_baseline_point){(double)right / (double)n, cost / (double)n};
}
