/* In place of exits_*_cuda.cu in a program that is built without CUDA. */
#include <assert.h>

#include "exits/exits_distill.h"
#include "exits/exits_ensemble.h"
#include "exits/exits_judge.h"

void exits_judge_cuda(const struct exits_judge *judge)
{
    (void)judge;
    assert(!"no device of this program is a CUDA device");
}

void exits_distill_cuda(const struct exits_distill_rows *rows)
{
    (void)rows;
    assert(!"no device of this program is a CUDA device");
}

void exits_ensemble_forward_cuda(const struct exits_ensemble *ensemble)
{
    (void)ensemble;
    assert(!"no device of this program is a CUDA device");
}

void exits_ensemble_backward_cuda(const struct exits_ensemble *ensemble)
{
    (void)ensemble;
    assert(!"no device of this program is a CUDA device");
}
