/*
 * exits/exits_distill.h - heads that also follow a teacher: the final classifier, or the next exit.
 *
 *      L_l = CE_l + alpha T^2 KL(softmax(t / T) || softmax(z_l / T))
 *      d L_l / d z = d CE_l / d z + alpha T (softmax(z_l / T) - softmax(t / T))
 *
 * M. Phuong and C. Lampert, "Distillation-Based Training for Multi-Exit Architectures", ICCV 2019, with
 * the end as teacher; Zero-Time-Waste (M. Wolczyk et al., NeurIPS 2021, arXiv:2106.05409) names the next exit
 * as well. The temperature divides logits: divided after the softmax, as BERxiT's code does, it is
 * another function. The teacher is a constant, T^2 keeps the size of gradients when T changes
 * (G. Hinton et al., 2015, arXiv:1503.02531).
 *
 * Threads: any. Nothing here allocates or fails. Cost: 4 exponentials a class.
 */
#ifndef EXITS_EXITS_DISTILL_H
#define EXITS_EXITS_DISTILL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/kernels/kern_fn.h"

struct exits_distill {
    double temperature; /* T > 0 */
    double weight;      /* alpha */
};

/* Rows of one exit; arrays in the device's memory. */
struct exits_distill_rows {
    struct exits_distill distill;
    int64_t n, K;
    const float *logits, *teacher; /* [n, K] each */
    float *loss;                   /* [n] out, alpha T^2 KL; NULL: not wanted */
    float *dlogits;       /* [n, K] in and out: weights times the slope is added; or NULL */
    const float *weights; /* [n], with dlogits */
};

#ifdef __cplusplus
extern "C" {
#endif

typedef void exits_distill_fn(const struct exits_distill_rows *rows);

/* On host memory; and on a CUDA device, on this thread's current stream. */
exits_distill_fn exits_distill_cpu, exits_distill_cuda;

#ifdef __cplusplus
}
#endif

KERN_FN double exits_distill_max(const float z[], int64_t K)
{
    double most = (double)z[0];

    for (int64_t k = 1; k < K; k++) {
        most = fmax(most, (double)z[k]);
    }
    return most;
}

/* sum_k exp((z_k - most) / T). */
KERN_FN double exits_distill_mass(const float z[], double most, int64_t K, double T)
{
    double mass = 0;

    for (int64_t k = 0; k < K; k++) {
        mass += exp(((double)z[k] - most) / T);
    }
    return mass;
}

KERN_FN void exits_distill_row(const struct exits_distill_rows *rows, int64_t i)
{
    const float *z = rows->logits + i * rows->K, *t = rows->teacher + i * rows->K;
    const double T = rows->distill.temperature, alpha = rows->distill.weight;
    const double z_most = exits_distill_max(z, rows->K), t_most = exits_distill_max(t, rows->K);
    const double z_mass = exits_distill_mass(z, z_most, rows->K, T);
    const double t_mass = exits_distill_mass(t, t_most, rows->K, T);
    double divergence = 0;

    for (int64_t k = 0; k < rows->K; k++) {
        const double z_power = ((double)z[k] - z_most) / T, t_power = ((double)t[k] - t_most) / T;
        const double z_share = exp(z_power) / z_mass, t_share = exp(t_power) / t_mass;
        divergence += t_share * (t_power - log(t_mass) - z_power + log(z_mass));
        if (rows->dlogits != NULL) {
            rows->dlogits[i * rows->K + k] +=
                (float)((double)rows->weights[i] * alpha * T * (z_share - t_share));
        }
    }
    if (rows->loss != NULL) {
        rows->loss[i] = (float)(alpha * T * T * divergence);
    }
}

#endif
