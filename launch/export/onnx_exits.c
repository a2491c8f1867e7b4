#include "launch/export/onnx_exits.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/export/onnx_backbone.h"
#include "trainer/kernels/kern_xent.h"

enum { INPUTS = KERN_XENT_FEATURES };

const char *onnx_exits_head_name(enum exits_head_kind kind)
{
    switch (kind) {
    case EXITS_HEAD_LINEAR: return "linear";
    case EXITS_HEAD_NORM_LINEAR: return "norm_linear";
    case EXITS_HEAD_NORM_MLP: return "norm_mlp";
    default: return NULL;
    }
}

const char *onnx_exits_heads_name(enum exits_heads heads)
{
    switch (heads) {
    case EXITS_HEADS_PLAIN: return "plain";
    case EXITS_HEADS_BOOSTED: return "boosted";
    case EXITS_HEADS_CASCADED: return "cascaded";
    default: return NULL;
    }
}

const char *onnx_exits_gate_name(enum exits_gate_kind kind)
{
    switch (kind) {
    case EXITS_GATE_LINEAR: return "linear";
    case EXITS_GATE_MLP: return "mlp";
    case EXITS_GATE_HIDDEN_LINEAR: return "hidden_linear";
    case EXITS_GATE_HIDDEN_MLP: return "hidden_mlp";
    case EXITS_GATE_SHARED: return "shared";
    case EXITS_GATE_ENSEMBLE: return "ensemble";
    case EXITS_GATE_NONE: return "none";
    default: return NULL;
    }
}

const char *onnx_exits_score_name(enum exits_score score)
{
    switch (score) {
    case EXITS_SCORE_HAZARD: return "hazard";
    case EXITS_SCORE_CERTAINTY: return "certainty";
    case EXITS_SCORE_MAX_PROB: return "max_prob";
    case EXITS_SCORE_CUMULATIVE: return "cumulative";
    default: return NULL;
    }
}

static enum err check_known(const char *name, const char *what, int kind)
{
    return name != NULL ? ERR_OK
                        : ERR_FAIL(ERR_CONFIG, "%s of kind %d cannot be exported", what, kind);
}

enum err onnx_exits_check(const struct onnx_exits *exits)
{
    const struct exits_net_config *config = exits->config;

    ERR_TRY(
        check_known(onnx_exits_head_name(config->head), "heads (exit_head)", (int)config->head));
    ERR_TRY(check_known(onnx_exits_heads_name(config->heads), "heads (of this exit_loss)",
                        (int)config->heads));
    ERR_TRY(
        check_known(onnx_exits_gate_name(config->gate), "gates (exit_gate)", (int)config->gate));
    return check_known(onnx_exits_score_name(exits->score), "a score (of this exit_loss)",
                       (int)exits->score);
}

bool onnx_exits_carry_logits(const struct onnx_exits *exits)
{
    return exits->config->heads != EXITS_HEADS_PLAIN && !onnx_exits_carry_heads(exits);
}

bool onnx_exits_carry_heads(const struct onnx_exits *exits)
{
    return exits->config->gate == EXITS_GATE_ENSEMBLE;
}

bool onnx_exits_carry_mass(const struct onnx_exits *exits)
{
    return exits_score_accumulates(exits->score, exits->form);
}

static const float *find(const struct onnx_exits *exits, const char *name)
{
    for (int64_t t = 0; t < exits->params->count; t++) {
        if (strcmp(exits->params->params[t].name, name) == 0) {
            return exits->block + exits->params->params[t].offset;
        }
    }
    return NULL;
}

/* A tensor of an exit, or else of its set, by its name in exits.safetensors. The block was loaded: it is there. */
static const float *tensor(const struct onnx_exits *exits, int exit, const char *part)
{
    char name[PARAM_NAME_BYTES];

    snprintf(name, sizeof(name), "exits.%d.layer.%" PRId64 ".%s", exits->set,
             exits->config->layers[exit], part);
    const float *values = find(exits, name);
    if (values == NULL) {
        snprintf(name, sizeof(name), "exits.%d.%s", exits->set, part);
        values = find(exits, name);
    }
    assert(values != NULL); /* every kind of onnx_exits_check() has what its function asks for */
    return values;
}

static onnx_value classify(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                           onnx_value input, int64_t width)
{
    return onnx_backbone_linear(
        graph, "classifier", input, tensor(exits, exit, "classifier.weight"),
        tensor(exits, exit, "classifier.bias"), exits->config->classes, width);
}

static onnx_value head_linear(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                              onnx_value pooled)
{
    return classify(graph, exits, exit, pooled, exits->config->width);
}

static onnx_value norm(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                       onnx_value pooled)
{
    return onnx_backbone_norm(graph, "norm", pooled, tensor(exits, exit, "norm.weight"),
                              tensor(exits, exit, "norm.bias"), exits->config->width,
                              (double)exits->config->layer_norm_eps);
}

static onnx_value gate_norm(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                            onnx_value pooled)
{
    return onnx_backbone_norm(graph, "gate.norm", pooled, tensor(exits, exit, "gate.norm.weight"),
                              tensor(exits, exit, "gate.norm.bias"), exits->config->width,
                              (double)exits->config->layer_norm_eps);
}

static onnx_value head_norm_linear(struct onnx_graph *graph, const struct onnx_exits *exits,
                                   int exit, onnx_value pooled)
{
    return classify(graph, exits, exit, norm(graph, exits, exit, pooled), exits->config->width);
}

static onnx_value head_norm_mlp(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                                onnx_value pooled)
{
    const int64_t hidden = exits->config->head_hidden;
    const onnx_value wide = onnx_backbone_linear(
        graph, "dense", norm(graph, exits, exit, pooled), tensor(exits, exit, "dense.weight"),
        tensor(exits, exit, "dense.bias"), hidden, exits->config->width);

    return classify(graph, exits, exit, onnx_backbone_gelu(graph, "gelu", wide, KERN_GELU_TANH),
                    hidden);
}

static onnx_value head_of(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                          onnx_value pooled)
{
    switch (exits->config->head) {
    case EXITS_HEAD_LINEAR: return head_linear(graph, exits, exit, pooled);
    case EXITS_HEAD_NORM_LINEAR: return head_norm_linear(graph, exits, exit, pooled);
    case EXITS_HEAD_NORM_MLP: return head_norm_mlp(graph, exits, exit, pooled);
    default: break;
    }
    assert(false); /* refused by onnx_exits_check() */
    return "";
}

/* The entropy of softmax(logits) as a share of its maximum, ln K: [n, 1]. */
static onnx_value entropy(struct onnx_graph *graph, const struct onnx_exits *exits,
                          const char *name, onnx_value logits)
{
    const float scale = -1.0F / logf((float)exits->config->classes);
    char part[64];

    snprintf(part, sizeof(part), "%s.probabilities", name);
    const onnx_value p = ONNX_OP(graph, part, "Softmax", logits);
    onnx_graph_int(graph, "axis", -1);
    snprintf(part, sizeof(part), "%s.logarithms", name);
    const onnx_value log_p = ONNX_OP(graph, part, "LogSoftmax", logits);
    onnx_graph_int(graph, "axis", -1);
    snprintf(part, sizeof(part), "%s.products", name);
    const onnx_value products = ONNX_OP(graph, part, "Mul", p, log_p);
    snprintf(part, sizeof(part), "%s.sum", name);
    const onnx_value sum = ONNX_OP(graph, part, "ReduceSum", products,
                                   onnx_graph_shape(graph, (const int64_t[]){-1}, 1));
    onnx_graph_int(graph, "keepdims", 1);
    return ONNX_OP(graph, name, "Mul", sum, onnx_graph_scalar(graph, scale));
}

/* kern_xent.h, standardised: [n, 4]. */
static onnx_value features(struct onnx_graph *graph, const struct onnx_exits *exits,
                           onnx_value logits)
{
    const onnx_value shape_1 = onnx_graph_shape(graph, (const int64_t[]){1}, 1);
    const onnx_value shape_2 = onnx_graph_shape(graph, (const int64_t[]){2}, 1);
    const onnx_value p = ONNX_OP(graph, "gate.probabilities", "Softmax", logits);
    onnx_graph_int(graph, "axis", -1);
    const onnx_value two = ONNX_OP(graph, "gate.largest_two", "TopK", p, shape_2);
    onnx_graph_int(graph, "axis", -1);
    onnx_graph_also(graph, "gate.largest_two.classes");
    const onnx_value first =
        ONNX_OP(graph, "gate.max_prob", "Slice", two,
                onnx_graph_shape(graph, (const int64_t[]){0}, 1), shape_1, shape_1);
    const onnx_value second =
        ONNX_OP(graph, "gate.second_prob", "Slice", two, shape_1, shape_2, shape_1);
    const onnx_value margin = ONNX_OP(graph, "gate.margin", "Sub", first, second);
    const onnx_value doubled =
        ONNX_OP(graph, "gate.doubled_logits", "Mul", logits, onnx_graph_scalar(graph, 2));
    const onnx_value all = ONNX_OP(graph, "gate.features", "Concat", first,
                                   entropy(graph, exits, "gate.entropy", logits), margin,
                                   entropy(graph, exits, "gate.sharp_entropy", doubled));
    onnx_graph_int(graph, "axis", -1);
    return all;
}

static onnx_value max_prob(struct onnx_graph *graph, onnx_value logits)
{
    const onnx_value p = ONNX_OP(graph, "probabilities", "Softmax", logits);
    onnx_graph_int(graph, "axis", -1);
    const onnx_value most = ONNX_OP(graph, "max_prob", "ReduceMax", p);
    onnx_graph_ints(graph, "axes", (const int64_t[]){-1}, 1);
    onnx_graph_int(graph, "keepdims", 1);
    return most;
}

/* The last layer of a gate: [n, inputs] -> [n, 1]. */
static onnx_value gate_out(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                           onnx_value input, int64_t inputs)
{
    return onnx_backbone_linear(graph, "gate.out", input, tensor(exits, exit, "gate.out.weight"),
                                tensor(exits, exit, "gate.out.bias"), 1, inputs);
}

/* Its layer before that: [n, inputs] -> [n, gate_hidden]. */
static onnx_value gate_dense(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                             onnx_value input, int64_t inputs)
{
    return onnx_backbone_linear(
        graph, "gate.dense", input, tensor(exits, exit, "gate.dense.weight"),
        tensor(exits, exit, "gate.dense.bias"), exits->config->gate_hidden, inputs);
}

static onnx_value gate_linear(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                              onnx_value logits)
{
    return gate_out(graph, exits, exit, features(graph, exits, logits), INPUTS);
}

static onnx_value gate_mlp(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                           onnx_value logits)
{
    const onnx_value dense = gate_dense(graph, exits, exit, features(graph, exits, logits), INPUTS);
    const onnx_value relu = ONNX_OP(graph, "gate.relu", "Relu", dense);

    return gate_out(graph, exits, exit, relu, exits->config->gate_hidden);
}

static onnx_value gate_hidden_linear(struct onnx_graph *graph, const struct onnx_exits *exits,
                                     int exit, onnx_value pooled)
{
    return gate_out(graph, exits, exit, gate_norm(graph, exits, exit, pooled),
                    exits->config->width);
}

static onnx_value gate_hidden_mlp(struct onnx_graph *graph, const struct onnx_exits *exits,
                                  int exit, onnx_value pooled)
{
    const onnx_value dense =
        gate_dense(graph, exits, exit, gate_norm(graph, exits, exit, pooled), exits->config->width);

    return gate_out(graph, exits, exit,
                    onnx_backbone_gelu(graph, "gate.gelu", dense, KERN_GELU_TANH),
                    exits->config->gate_hidden);
}

/* The gate's logit [n, 1]; NULL where there is no gate. */
static onnx_value gate_of(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                          onnx_value pooled, onnx_value logits)
{
    switch (exits->config->gate) {
    case EXITS_GATE_LINEAR: return gate_linear(graph, exits, exit, logits);
    case EXITS_GATE_MLP: return gate_mlp(graph, exits, exit, logits);
    case EXITS_GATE_HIDDEN_LINEAR:
    case EXITS_GATE_SHARED: return gate_hidden_linear(graph, exits, exit, pooled);
    case EXITS_GATE_HIDDEN_MLP: return gate_hidden_mlp(graph, exits, exit, pooled);
    case EXITS_GATE_ENSEMBLE:
    case EXITS_GATE_NONE: return NULL;
    default: break;
    }
    assert(false); /* refused by onnx_exits_check() */
    return "";
}

/* g / mass, 1 where g uses up what is left (also nothing). */
static onnx_value direct_hazard(struct onnx_graph *graph, onnx_value g, onnx_value mass)
{
    const onnx_value one = onnx_graph_scalar(graph, 1);
    const onnx_value uses_up = ONNX_OP(graph, "gate.uses_up", "GreaterOrEqual", g, mass);
    const onnx_value divisor = ONNX_OP(graph, "gate.divisor", "Where", uses_up, one, mass);
    const onnx_value ratio = ONNX_OP(graph, "gate.ratio", "Div", g, divisor);

    return ONNX_OP(graph, "gate.hazard", "Where", uses_up, one, ratio);
}

/* What has not left behind this exit. */
static onnx_value rest_of(struct onnx_graph *graph, const struct onnx_exits *exits, onnx_value gate,
                          onnx_value g, onnx_value mass)
{
    if (exits->form == EXITS_DIRECT) {
        const onnx_value leaves = ONNX_OP(graph, "mass.leaves", "Min", g, mass);
        return ONNX_OP(graph, "mass", "Sub", mass, leaves);
    }
    const onnx_value against = ONNX_OP(graph, "mass.against", "Neg", gate);
    const onnx_value stays = ONNX_OP(graph, "mass.stays", "Sigmoid", against);
    return ONNX_OP(graph, "mass", "Mul", mass, stays);
}

/* [n, 1]. *mass as in struct onnx_exits_carry, not NULL. */
static onnx_value score_of(struct onnx_graph *graph, const struct onnx_exits *exits,
                           onnx_value gate, onnx_value logits, onnx_value *mass)
{
    if (exits->score == EXITS_SCORE_MAX_PROB) {
        return max_prob(graph, logits);
    }
    if (exits->score == EXITS_SCORE_CERTAINTY) {
        return ONNX_OP(graph, "gate.certainty", "Neg", gate);
    }
    const onnx_value g = ONNX_OP(graph, "gate.probability", "Sigmoid", gate);
    const onnx_value before = *mass;
    if (onnx_exits_carry_mass(exits)) {
        *mass = rest_of(graph, exits, gate, g, before);
    }
    if (exits->score == EXITS_SCORE_CUMULATIVE) {
        return ONNX_OP(graph, "gate.cumulative", "Sub", onnx_graph_scalar(graph, 1), *mass);
    }
    return exits->form == EXITS_DIRECT ? direct_hazard(graph, g, before) : g;
}

/* z + V norm(z of the exit before) */
static onnx_value cascade(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                          onnx_value logits, onnx_value before)
{
    const int64_t K = exits->config->classes;
    const onnx_value normed = onnx_backbone_norm(
        graph, "cascade.norm", before, tensor(exits, exit, "cascade.norm.weight"),
        tensor(exits, exit, "cascade.norm.bias"), K, (double)exits->config->layer_norm_eps);
    const onnx_value weight =
        onnx_graph_matrix(graph, "cascade.weight", tensor(exits, exit, "cascade.weight"), K, K);
    const onnx_value told = ONNX_OP(graph, "cascade", "MatMul", normed, weight);

    return ONNX_OP(graph, "cascaded", "Add", logits, told);
}

/* z + w z of the exit before */
static onnx_value boost(struct onnx_graph *graph, const struct onnx_exits *exits, onnx_value logits,
                        onnx_value before)
{
    const onnx_value share = ONNX_OP(graph, "boost", "Mul", before,
                                     onnx_graph_scalar(graph, (float)exits->config->boost));

    return ONNX_OP(graph, "boosted", "Add", logits, share);
}

/* Logits with what the exit before adds to them. */
static onnx_value chain(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                        onnx_value logits, const struct onnx_exits_carry *carry)
{
    onnx_value before = carry->logits;

    if (exit == 0 || exits->config->heads == EXITS_HEADS_PLAIN) {
        return logits;
    }
    if (onnx_exits_carry_heads(exits)) {
        const int64_t last[] = {exit - 1};
        const onnx_value index = onnx_graph_shape(graph, last, 1);
        const onnx_value row = ONNX_OP(graph, "before.row", "Gather", carry->heads, index);
        onnx_graph_int(graph, "axis", 1);
        before = ONNX_OP(graph, "before", "Squeeze", row,
                         onnx_graph_shape(graph, (const int64_t[]){1}, 1));
    }
    return exits->config->heads == EXITS_HEADS_BOOSTED
               ? boost(graph, exits, logits, before)
               : cascade(graph, exits, exit, logits, before);
}

/* exits/exits_ensemble.h: of heads [n, exit + 1, K]. */
static onnx_value ensemble(struct onnx_graph *graph, const struct onnx_exits *exits, int exit,
                           onnx_value heads)
{
    const int64_t members = exit + 1, dims[] = {members, 1};
    const onnx_value logarithms = ONNX_OP(graph, "ensemble.logarithms", "LogSoftmax", heads);
    onnx_graph_int(graph, "axis", -1);
    const onnx_value weight = onnx_graph_weight(graph, "ensemble.weight",
                                                tensor(exits, exit, "ensemble.weight"), dims, 2);
    const onnx_value factors = ONNX_OP(graph, "ensemble.factors", "Exp", weight);
    const onnx_value products = ONNX_OP(graph, "ensemble.products", "Mul", logarithms, factors);
    const onnx_value mean = ONNX_OP(graph, "ensemble.mean", "ReduceMean", products);
    onnx_graph_ints(graph, "axes", (const int64_t[]){1}, 1);
    onnx_graph_int(graph, "keepdims", 0);
    const onnx_value bias = onnx_graph_weight(
        graph, "ensemble.bias", tensor(exits, exit, "ensemble.bias"), &exits->config->classes, 1);

    return ONNX_OP(graph, "ensemble", "Add", mean, bias);
}

/* Heads [n, exit, K] and one more. */
static onnx_value join_heads(struct onnx_graph *graph, onnx_value heads, onnx_value logits)
{
    const onnx_value row = ONNX_OP(graph, "heads.row", "Unsqueeze", logits,
                                   onnx_graph_shape(graph, (const int64_t[]){1}, 1));
    if (heads == NULL) {
        return row;
    }
    const onnx_value joined = ONNX_OP(graph, "heads", "Concat", heads, row);
    onnx_graph_int(graph, "axis", 1);
    return joined;
}

struct onnx_exits_answer onnx_exits_add(struct onnx_graph *graph, const struct onnx_exits *exits,
                                        int exit, onnx_value pooled, struct onnx_exits_carry *carry)
{
    struct onnx_exits_answer answer;
    struct onnx_exits_carry next = {.mass = carry->mass == NULL ? onnx_graph_scalar(graph, 1)
                                                                : carry->mass};

    next.logits = chain(graph, exits, exit, head_of(graph, exits, exit, pooled), carry);
    answer.logits = next.logits;
    if (onnx_exits_carry_heads(exits)) {
        next.heads = join_heads(graph, carry->heads, next.logits);
        answer.logits = ensemble(graph, exits, exit, next.heads);
    }
    const onnx_value gate = gate_of(graph, exits, exit, pooled, answer.logits);
    const onnx_value score = score_of(graph, exits, gate, answer.logits, &next.mass);
    answer.score =
        ONNX_OP(graph, "score", "Squeeze", score, onnx_graph_shape(graph, (const int64_t[]){1}, 1));
    *carry = next;
    return answer;
}
