#include "exits/exits_judge.h"

void exits_judge_cpu(const struct exits_judge *judge)
{
    for (int64_t i = 0; i < judge->n; i++) {
        exits_judge_sample(judge, i);
    }
    for (int64_t which = 0; which < exits_judge_sum_count(judge->G); which++) {
        exits_judge_sum(judge, which);
    }
}
