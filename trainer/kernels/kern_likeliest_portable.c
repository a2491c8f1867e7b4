#include "trainer/kernels/kern_likeliest.h"

#include <assert.h>
#include <math.h>

/* The largest logit, the second, and whether all are finite. */
struct found {
    float top, second;
    int32_t predicted; /* -1: one is not finite */
};

static struct found find(const float *z, int64_t K)
{
    struct found found = {-INFINITY, -INFINITY, 0};

    for (int64_t k = 0; k < K; k++) {
        if (!isfinite(z[k])) {
            return (struct found){0, 0, -1};
        }
        if (z[k] > found.top) {
            found.second = found.top;
            found.top = z[k];
            found.predicted = (int32_t)k;
        } else if (z[k] > found.second) {
            found.second = z[k];
        }
    }
    return found;
}

void kern_likeliest_portable(struct kern_likeliest *out, const float *z, int64_t N, int64_t K,
                             bool wants_certainty)
{
    assert(K >= 2);
    for (int64_t n = 0; n < N; n++, z += K) {
        const struct found found = find(z, K);
        double sum = 0, sum_t = 0;
        out[n] = (struct kern_likeliest){.predicted = found.predicted};
        if (found.predicted < 0 || !wants_certainty) {
            continue;
        }
        for (int64_t k = 0; k < K; k++) {
            const double t = (double)z[k] - (double)found.top, e = exp(t);
            sum += e;
            sum_t += e > 0 ? t * e : 0;
        }
        out[n].max_prob = (float)(1 / sum);
        out[n].margin = (float)((1 - exp((double)found.second - (double)found.top)) / sum);
        out[n].entropy = (float)(log(sum) - sum_t / sum);
    }
}
