#include "exits/exits_score.h"

#include "trainer/model/model_config.h"

float exits_score_at(enum exits_score score, enum exits_form form, const float gates[],
                     float max_prob, int exit)
{
    float hazards[MODEL_LAYERS_MAX];

    switch (score) {
    case EXITS_SCORE_MAX_PROB: return max_prob;
    case EXITS_SCORE_CERTAINTY: return -gates[exit];
    case EXITS_SCORE_CUMULATIVE: return exits_score_cumulative(form, gates, exit);
    case EXITS_SCORE_HAZARD: break;
    }
    exits_hazards(form, gates, exit + 1, hazards);
    return hazards[exit];
}

bool exits_score_accumulates(enum exits_score score, enum exits_form form)
{
    return score == EXITS_SCORE_CUMULATIVE || (score == EXITS_SCORE_HAZARD && form == EXITS_DIRECT);
}

bool exits_score_threshold(enum exits_score score, double *threshold_out)
{
    *threshold_out = 0.5;
    return score == EXITS_SCORE_HAZARD || score == EXITS_SCORE_CUMULATIVE;
}
