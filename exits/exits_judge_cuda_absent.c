/* In place of exits_judge_cuda.cu in a program that is built without CUDA. */
#include <assert.h>

#include "exits/exits_judge.h"

void exits_judge_cuda(const struct exits_judge *judge)
{
    (void)judge;
    assert(!"no device of this program is a CUDA device");
}
