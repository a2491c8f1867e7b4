#include "exits/exits_method.h"

#include <assert.h>

static const struct exits_method methods[EXITS_LOSS_COUNT] = {
#define METHOD(ENUM, name, weigh, heads, teacher, teach, gate, score, needs, paper, about)         \
    [EXITS_LOSS_##ENUM] = {#name,                                                                  \
                           paper,                                                                  \
                           about,                                                                  \
                           EXITS_WEIGH_##weigh,                                                    \
                           EXITS_HEADS_##heads,                                                    \
                           EXITS_TEACHER_##teacher,                                                \
                           EXITS_TEACH_##teach,                                                    \
                           EXITS_GATE_##gate,                                                      \
                           EXITS_SCORE_##score,                                                    \
                           (needs)},
#include "exits/exits_method.def"
#undef METHOD
};

const char exits_method_choices[] =
#define METHOD(ENUM, name, ...) "|" #name
#include "exits/exits_method.def"
#undef METHOD
    ;

const struct exits_method *exits_method_of(enum exits_loss loss)
{
    assert(loss < EXITS_LOSS_COUNT);
    return &methods[loss];
}

struct exits_method exits_method_with(enum exits_loss loss, enum exits_gate_kind gate)
{
    struct exits_method method = *exits_method_of(loss);

    if (!exits_gate_decides(gate)) {
        method.teach = gate == EXITS_GATE_NONE ? EXITS_TEACH_NOTHING : EXITS_TEACH_ANSWER;
        method.score = EXITS_SCORE_MAX_PROB;
    } else if (method.score == EXITS_SCORE_MAX_PROB) { /* it has gates by choice of the settings */
        method.teach = EXITS_TEACH_TARGET;
        method.score = EXITS_SCORE_HAZARD;
    }
    return method;
}

static bool reads_gates(enum exits_weigh weigh)
{
    return weigh == EXITS_WEIGH_PROBABILITY || weigh == EXITS_WEIGH_CERTAINTY ||
           weigh == EXITS_WEIGH_SHARE;
}

bool exits_method_gates_know_price(const struct exits_method *method)
{
    return method->teach == EXITS_TEACH_TARGET || method->teach == EXITS_TEACH_PONDER ||
           method->teach == EXITS_TEACH_MIXTURE;
}

bool exits_method_heads_know_price(const struct exits_method *method)
{
    return exits_method_gates_know_price(method) && reads_gates(method->weigh);
}

bool exits_method_allows(enum exits_loss loss, enum exits_gate_kind gate)
{
    return exits_gate_decides(gate) || !reads_gates(methods[loss].weigh);
}
