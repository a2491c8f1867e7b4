#include "exits/exits_score.h"

#include <assert.h>
#include <math.h>

enum { FEATURES = 4, MAX_PROB = 0, ENTROPY = 1, MARGIN = 2 };

const char *exits_score_name(enum exits_score score)
{
    static const char *const names[EXITS_SCORE_COUNT] = {
        [EXITS_SCORE_HAZARD] = "hazard",       [EXITS_SCORE_CERTAINTY] = "certainty",
        [EXITS_SCORE_MAX_PROB] = "max_prob",   [EXITS_SCORE_MARGIN] = "margin",
        [EXITS_SCORE_ENTROPY] = "entropy",     [EXITS_SCORE_CUMULATIVE] = "cumulative",
        [EXITS_SCORE_AGREEMENT] = "agreement",
    };

    return names[score];
}

bool exits_score_reads_gates(enum exits_score score)
{
    return score == EXITS_SCORE_HAZARD || score == EXITS_SCORE_CERTAINTY ||
           score == EXITS_SCORE_CUMULATIVE;
}

bool exits_score_accumulates(enum exits_score score, enum exits_form form)
{
    return score == EXITS_SCORE_CUMULATIVE || score == EXITS_SCORE_AGREEMENT ||
           (score == EXITS_SCORE_HAZARD && form == EXITS_DIRECT);
}

struct exits_score_state exits_score_begin(void)
{
    return (struct exits_score_state){.left = 1};
}

/* The hazard, with the arithmetic of exits_hazards(); moves on what is left. */
static float hazard_next(enum exits_form form, float gate, struct exits_score_state *state)
{
    const float g = exits_sigmoid(gate);
    const float left = state->left;

    if (form == EXITS_HAZARD) {
        state->left = left * exits_sigmoid(-gate);
        return g;
    }
    state->left = left - fminf(g, left);
    return g >= left ? 1 : g / left;
}

static float agreement_next(int32_t predicted, struct exits_score_state *state)
{
    state->agreed = state->exit > 0 && predicted == state->last ? state->agreed + 1 : 0;
    state->last = predicted;
    return (float)state->agreed;
}

float exits_score_next(enum exits_score score, enum exits_form form, const struct exits_said *said,
                       struct exits_score_state *state)
{
    float value = 0;

    switch (score) {
    case EXITS_SCORE_HAZARD: value = hazard_next(form, said->gate, state); break;
    case EXITS_SCORE_CERTAINTY: value = -said->gate; break;
    case EXITS_SCORE_MAX_PROB: value = said->features[MAX_PROB]; break;
    case EXITS_SCORE_MARGIN: value = said->features[MARGIN]; break;
    case EXITS_SCORE_ENTROPY: value = 1 - said->features[ENTROPY]; break;
    case EXITS_SCORE_CUMULATIVE:
        hazard_next(form, said->gate, state);
        value = 1 - state->left;
        break;
    case EXITS_SCORE_AGREEMENT: value = agreement_next(said->predicted, state); break;
    case EXITS_SCORE_COUNT: assert(false);
    }
    state->exit++;
    return value;
}

float exits_score_at(enum exits_score score, enum exits_form form, const float gates[],
                     float max_prob, int exit)
{
    const float features[FEATURES] = {[MAX_PROB] = max_prob};
    struct exits_score_state state = exits_score_begin();
    float value = 0;

    assert(score == EXITS_SCORE_MAX_PROB || exits_score_reads_gates(score));
    for (int l = exits_score_accumulates(score, form) ? 0 : exit; l <= exit; l++) {
        value = exits_score_next(
            score, form, &(struct exits_said){.features = features, .gate = gates[l]}, &state);
    }
    return value;
}

bool exits_score_threshold(enum exits_score score, double *threshold_out)
{
    *threshold_out = 0.5;
    return score == EXITS_SCORE_HAZARD || score == EXITS_SCORE_CUMULATIVE;
}

void exits_scores(enum exits_score score, enum exits_form form, const struct exits_answers *answers,
                  float scores_out[])
{
    const int G = answers->G;

    for (int64_t i = 0; i < answers->n; i++) {
        struct exits_score_state state = exits_score_begin();
        for (int l = 0; l < G; l++) {
            const struct exits_said said = {
                .features = answers->features + (i * G + l) * FEATURES,
                .gate = answers->gates[i * G + l],
                .predicted = answers->predicted[i * (G + 1) + l],
            };
            scores_out[i * G + l] = exits_score_next(score, form, &said, &state);
        }
    }
}
