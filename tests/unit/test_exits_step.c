/*
 * Unit tests of exits/exits_step.c, and of what training by it does to heads and gates: who
 * influences whom, on features of made-up samples.
 */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "comm/group/comm_local.h"
#include "exits/exits_step.h"
#include "tests/support/model_case.h"
#include "tests/support/test_suite.h"
#include "trainer/optim/optim.h"

enum { ROWS = 192, D = 12, K = 4, G = 3, SETS = 2, LEAVES = 12, MICRO = 4, BATCH = LEAVES * MICRO };
enum { STEPS = 50, RANKS_MAX = 4, DEADLINE_MS = 20000, BOTH = 3 };

static const double costs[G + 1] = {0.2, 0.5, 0.7, 1};
static const double prior[G] = {0.25, 0.3333, 0.5};
static int set_count = SETS;

static struct exits_net_config net_config_of(enum exits_loss loss, enum exits_gate_kind gate)
{
    return (struct exits_net_config){.count = G,
                                     .layers = {0, 1, 2},
                                     .set_count = set_count,
                                     .width = D,
                                     .classes = K,
                                     .head = EXITS_HEAD_NORM_LINEAR,
                                     .heads = exits_method_of(loss)->heads,
                                     .boost = 0.5,
                                     .gate = gate,
                                     .gate_hidden = 8,
                                     .layer_norm_eps = 1e-6f};
}

static int32_t labels[ROWS];

static void make_labels(void)
{
    for (uint64_t i = 0; i < ROWS; i++) {
        labels[i] = (int32_t)(rng_u64(1, RNG_TEST, i, 0) % K);
    }
}

/* A class's direction, louder behind later exits, in noise; the final logits know best. */
static struct exits_cache *open_cache(void)
{
    const struct exits_cache_shape shape = {ROWS, G, D, K};
    struct exits_cache *cache = NULL;

    ck_assert_int_eq(exits_cache_open(&shape, &cache), ERR_OK);
    float *row = exits_cache_rows(cache);
    for (uint64_t i = 0; i < ROWS; i++, row += G * D + K) {
        for (int g = 0; g < G; g++) {
            for (int d = 0; d < D; d++) {
                const double noise = rng_normal(2, RNG_TEST, i, (uint32_t)(g * D + d));
                const double signal = rng_normal(3, RNG_TEST, (uint64_t)labels[i], (uint32_t)d);
                row[g * D + d] = (float)(noise + 0.5 * (g + 1) * signal);
            }
        }
        for (int k = 0; k < K; k++) {
            row[G * D + k] =
                (float)(rng_normal(4, RNG_TEST, i, (uint32_t)k) + 4 * (k == labels[i]));
        }
    }
    return cache;
}

static struct exits_train_config config_of(enum exits_loss loss, double lambda0, double lambda1)
{
    struct exits_train_config config = {.loss = loss,
                                        .form = EXITS_HAZARD,
                                        .target = EXITS_NO_LATER_CHEAPER,
                                        .loss_floor = 0.1,
                                        .uncertainty_floor = 0.1,
                                        .focal_gamma = 2,
                                        .schedule = {.layer_count = 4,
                                                     .peaks = {0.2f, 0.5f, 0.7f},
                                                     .ramp = EXITS_RAMP_LINEAR,
                                                     .ramp_steps = STEPS / 2,
                                                     .scale = EXITS_SCALE_LINEAR,
                                                     .scale_share = 1,
                                                     .curriculum = EXITS_CURRICULUM_ROTATIONAL,
                                                     .rotation = 2},
                                        .distill = {.temperature = 2, .weight = 1},
                                        .ponder = {.prior = 0.3, .weight = 0.1},
                                        .lambdas = {lambda0, lambda1}};

    memcpy(config.costs, costs, sizeof(costs));
    return config;
}

/* A rank that trains: all its parts. */
struct rank {
    struct exits_train_config config;
    struct comm_group *group;
    struct comm_local *local; /* of a rank alone */
    struct exits_net *net;
    struct exits_balance balance;
    struct exits_trainer *trainer;
    struct exits_step *step;
    struct optim *optim;
    struct exits_cache *cache;
    struct step_result result;
    int64_t micro_count;
};

static void open_optim(struct rank *rank, const struct kern_ops *ops)
{
    const struct optim_options options = {.kind = OPTIM_ADAMW,
                                          .beta1 = 0.9,
                                          .beta2 = 0.999,
                                          .epsilon = 1e-8,
                                          .weight_decay = 0.05,
                                          .max_grad_norm = 1};
    const struct param_list *params = exits_net_params(rank->net);
    struct optim_range *ranges = calloc((size_t)params->count, sizeof(*ranges));

    ck_assert_ptr_nonnull(ranges);
    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        ranges[t] = (struct optim_range){param->offset, param->offset + param->count, param->group,
                                         param->decays, param->part};
    }
    ck_assert_int_eq(
        optim_open(&options, ops, ranges, params->count, params->block_elems, &rank->optim),
        ERR_OK);
    free(ranges);
}

static void open_rank(struct rank *rank, const struct exits_train_config *config,
                      enum exits_gate_kind gate)
{
    const struct kern_ops ops = model_case_ops((enum model_case_ops)(model_case_ops_count() - 1));
    const struct exits_net_config net_config = net_config_of(config->loss, gate);

    ck_assert_int_eq(exits_net_open(&net_config, &ops, &rank->net), ERR_OK);
    ck_assert_int_eq(exits_net_init(rank->net, 1, prior), ERR_OK);
    exits_net_pack(rank->net);
    ck_assert_int_eq(exits_trainer_open(rank->net, config, &rank->balance, MICRO, &rank->trainer),
                     ERR_OK);
    rank->cache = open_cache();
    rank->micro_count = LEAVES / comm_size(rank->group);
    const struct exits_step_options options = {.net = rank->net,
                                               .trainer = rank->trainer,
                                               .cache = rank->cache,
                                               .labels = labels,
                                               .ops = exits_net_ops(rank->net),
                                               .group = rank->group,
                                               .order = COMM_REDUCE_TREE,
                                               .micro_samples = MICRO,
                                               .micro_count = rank->micro_count};
    ck_assert_int_eq(exits_step_open(&options, &rank->step), ERR_OK);
    open_optim(rank, &ops);
}

static void open_with(struct rank *rank, const struct exits_train_config *config,
                      enum exits_gate_kind gate)
{
    memset(rank, 0, sizeof(*rank));
    ck_assert_int_eq(comm_local_open(1, &rank->group, &rank->local), ERR_OK);
    open_rank(rank, config, gate);
}

/* With the gates that the method is published with. */
static void open_alone(struct rank *rank, const struct exits_train_config *config)
{
    open_with(rank, config, exits_method_of(config->loss)->gate);
}

static void close_rank(struct rank *rank)
{
    exits_cache_close(rank->cache);
    optim_close(rank->optim);
    exits_step_close(rank->step);
    exits_trainer_close(rank->trainer);
    exits_net_close(rank->net);
    comm_close(rank->group);
    comm_local_close(rank->local);
}

/* Step number `number`, with its update if `updates`. */
static enum err run_step(struct rank *rank, uint64_t number, uint64_t phase, bool updates)
{
    uint32_t samples[BATCH];
    const int64_t count = rank->micro_count * MICRO, first = comm_rank(rank->group) * count;
    struct optim_step groups[OPTIM_GROUPS_MAX] = {
        [EXITS_GROUP_HEADS] = {(phase & EXITS_TRAINS_HEADS) != 0, 3e-2, 0},
        [EXITS_GROUP_GATES] = {(phase & EXITS_TRAINS_GATES) != 0, 1e-1, 0}};

    for (int64_t i = 0; i < count; i++) {
        samples[i] =
            (uint32_t)(rng_u64(6, RNG_TEST, number * BATCH + (uint64_t)(first + i), 0) % ROWS);
    }
    exits_trainer_at(rank->trainer, (struct exits_moment){(int64_t)number, STEPS});
    ERR_TRY(exits_step_run(rank->step, samples, phase, DEADLINE_MS, &rank->result));
    if (!updates) {
        return ERR_OK;
    }
    ERR_TRY(optim_update(rank->optim, exits_net_block(rank->net), rank->result.tap_gradients,
                         rank->result.sample_count, groups));
    exits_balance_add(&rank->balance, rank->net, rank->result.tap_statistics,
                      rank->result.sample_count);
    exits_net_pack(rank->net);
    return ERR_OK;
}

static void train(struct rank *rank, uint64_t steps, uint64_t phase)
{
    for (uint64_t number = 0; number < steps; number++) {
        ck_assert_int_eq(run_step(rank, number, phase, true), ERR_OK);
    }
}

/* Whether all tensors of a group have the same bytes in two blocks of one layout. */
static bool same_bytes(const struct exits_net *net, int group, const float *a, const float *b)
{
    const struct param_list *params = exits_net_params(net);
    bool is_same = true;

    for (int64_t t = 0; t < params->count; t++) {
        const struct param *param = &params->params[t];
        is_same =
            is_same && (param->group != group || memcmp(a + param->offset, b + param->offset,
                                                        (size_t)param->count * sizeof(float)) == 0);
    }
    return is_same;
}

/* The same between the two sets of one block. */
static bool same_in_sets(const struct exits_net *net, int group, const float *block)
{
    const struct param_list *params = exits_net_params(net);
    bool is_same = true;

    for (int64_t t = 0; t < params->count / SETS; t++) {
        const struct param *param = &params->params[t];
        const float *other = block + params->params[params->count / SETS + t].offset;
        is_same = is_same &&
                  (param->group != group ||
                   memcmp(block + param->offset, other, (size_t)param->count * sizeof(float)) == 0);
    }
    return is_same;
}

/*
 * The couplings of the losses: lambda reaches gates by what they are taught, and heads by the
 * gates' probabilities alone. Gates that predict uncertainty do not know lambda.
 */
START_TEST(training__carries_lambda_to_heads_by_exit_probabilities_and_only_so)
{
    const struct exits_train_config config = config_of((enum exits_loss)_i, 0.02, 0.8);
    const struct exits_method *method = exits_method_of((enum exits_loss)_i);
    const bool knows = method->gate != EXITS_GATE_NONE && (method->teach == EXITS_TEACH_TARGET ||
                                                           method->teach == EXITS_TEACH_PONDER ||
                                                           method->teach == EXITS_TEACH_MIXTURE);
    struct rank rank;

    open_alone(&rank, &config);
    const float *block = exits_net_block(rank.net);
    ck_assert(same_in_sets(rank.net, EXITS_GROUP_HEADS, block));
    ck_assert(same_in_sets(rank.net, EXITS_GROUP_GATES, block));
    train(&rank, STEPS, BOTH);
    ck_assert_int_eq(same_in_sets(rank.net, EXITS_GROUP_HEADS, block),
                     method->weigh != EXITS_WEIGH_PROBABILITY &&
                         method->weigh != EXITS_WEIGH_SHARE);
    ck_assert_int_eq(same_in_sets(rank.net, EXITS_GROUP_GATES, block), !knows);
    close_rank(&rank);
}
END_TEST

/* Loop index: the method, with its gates or with some that are taught by the price. */
START_TEST(training__gives_each_of_several_sets_the_bits_of_one_alone)
{
    static const double prices[SETS] = {0.02, 0.8};
    const enum exits_loss loss = (enum exits_loss)(_i / 2);
    const enum exits_gate_kind gate = _i % 2 == 0 ? exits_method_of(loss)->gate : EXITS_GATE_MLP;
    const struct exits_train_config both = config_of(loss, prices[0], prices[1]);
    const uint64_t phases[] = {EXITS_WARMS_UP | EXITS_TRAINS_HEADS, BOTH, EXITS_TRAINS_GATES, BOTH};
    struct rank rank, one;

    open_with(&rank, &both, gate);
    for (int set = 0; set < SETS; set++) {
        const struct exits_train_config alone = config_of(loss, prices[set], 0);
        set_count = 1;
        open_with(&one, &alone, gate);
        for (uint64_t p = 0; p < 4; p++) {
            train(&one, 3, phases[p]);
            if (set == 0) {
                train(&rank, 3, phases[p]);
            }
        }
        const int64_t elems = exits_net_params(one.net)->block_elems;
        const int64_t sums = exits_statistic_count(one.net);
        ck_assert_mem_eq(exits_net_block(rank.net) + set * elems, exits_net_block(one.net),
                         (size_t)elems * sizeof(float));
        for (int64_t i = 0; i < sums; i++) {
            ck_assert(rank.result.tap_statistics[set * sums + i] == one.result.tap_statistics[i]);
        }
        close_rank(&one);
        set_count = SETS;
    }
    close_rank(&rank);
}
END_TEST

/* Loop index: the method, and the phase. */
START_TEST(phases__leave_every_byte_of_the_other_group)
{
    const struct exits_train_config config = config_of((enum exits_loss)(_i / 2), 0.02, 0.8);
    const bool trains_heads = _i % 2 == 0;
    const int idle = trains_heads ? EXITS_GROUP_GATES : EXITS_GROUP_HEADS;
    const int busy = trains_heads ? EXITS_GROUP_HEADS : EXITS_GROUP_GATES;
    const bool has_gates = exits_method_of(config.loss)->gate != EXITS_GATE_NONE;
    struct rank rank;

    open_alone(&rank, &config);
    train(&rank, 5, BOTH);
    const size_t bytes = (size_t)exits_net_params(rank.net)->block_elems * sizeof(float);
    const float *const live[] = {exits_net_block(rank.net), optim_moment1(rank.optim),
                                 optim_moment2(rank.optim)};
    float *before[3];
    for (int b = 0; b < 3; b++) {
        before[b] = malloc(bytes);
        ck_assert_ptr_nonnull(before[b]);
        memcpy(before[b], live[b], bytes);
    }
    const int64_t updates = optim_counts(rank.optim)[idle];
    train(&rank, 5, trains_heads ? EXITS_TRAINS_HEADS : EXITS_TRAINS_GATES);
    for (int b = 0; b < 3; b++) {
        ck_assert(same_bytes(rank.net, idle, before[b], live[b]));
        ck_assert(same_bytes(rank.net, busy, before[b], live[b]) == (!trains_heads && !has_gates));
        free(before[b]);
    }
    ck_assert_int_eq(optim_counts(rank.optim)[idle], updates);
    close_rank(&rank);
}
END_TEST

/* Costs of a pass over all rows, a sample: set 0 and set 1. */
static void measure_costs(struct rank *rank, double costs_out[SETS], float left_out[SETS])
{
    memset(costs_out, 0, SETS * sizeof(costs_out[0]));
    memset(left_out, 0, SETS * sizeof(left_out[0]));
    for (uint32_t at = 0; at < ROWS; at += BATCH) {
        uint32_t samples[BATCH];
        for (uint32_t i = 0; i < BATCH; i++) {
            samples[i] = at + i;
        }
        ck_assert_int_eq(exits_step_run(rank->step, samples, BOTH, DEADLINE_MS, &rank->result),
                         ERR_OK);
        for (int set = 0; set < SETS; set++) {
            const struct exits_sums sums =
                exits_sums_of(rank->net, rank->result.tap_statistics, set);
            double counted = 0;
            for (int g = 0; g <= G; g++) {
                counted += costs[g] * (double)sums.left[g];
            }
            ck_assert(kern_is_close((double)sums.cost, counted, 1e-6));
            costs_out[set] += counted / ROWS;
            left_out[set] += sums.left[0] / ROWS;
        }
    }
}

START_TEST(training__leaves_at_once_for_a_huge_lambda_and_late_where_time_is_free)
{
    const struct exits_train_config config = config_of(EXITS_LOSS_JEI, 0, 1000);
    double found[SETS];
    float at_once[SETS];
    struct rank rank;

    open_alone(&rank, &config);
    train(&rank, 2 * STEPS, BOTH);
    measure_costs(&rank, found, at_once);
    ck_assert(at_once[1] == 1);
    ck_assert(kern_is_close(found[1], costs[0], 1e-6));
    ck_assert_double_gt(found[0], found[1] + 0.3);
    close_rank(&rank);
}
END_TEST

START_TEST(training__lowers_the_cross_entropy_of_every_exit)
{
    const struct exits_train_config config = config_of((enum exits_loss)_i, 0.02, 0.8);
    float first[SETS][G];
    struct rank rank;

    open_alone(&rank, &config);
    for (uint64_t number = 0; number <= STEPS; number++) {
        ck_assert_int_eq(run_step(&rank, number % STEPS, BOTH, true), ERR_OK);
        for (int i = 0; i < SETS * G; i++) {
            const float loss =
                exits_sums_of(rank.net, rank.result.tap_statistics, i / G).loss[i % G];
            if (number == 0) {
                first[i / G][i % G] = loss;
            } else if (number == STEPS) { /* the first batch again */
                ck_assert_float_lt(loss, 0.8f * first[i / G][i % G]);
            }
        }
    }
    close_rank(&rank);
}
END_TEST

/* At first every exit, and the end, is left at with 1/4: that is its weight, without a floor. */
START_TEST(ponder__minimises_the_expected_loss)
{
    struct exits_train_config config = config_of(EXITS_LOSS_PONDERNET, 0, 0.8);
    struct rank rank;

    config.ponder.weight = config.loss_floor = 0;
    open_alone(&rank, &config);
    ck_assert_int_eq(run_step(&rank, 0, BOTH, false), ERR_OK);
    for (int set = 0; set < SETS; set++) {
        const struct exits_sums sums = exits_sums_of(rank.net, rank.result.tap_statistics, set);
        double heads = 0, price = 0;
        for (int g = 0; g <= G; g++) {
            heads += g < G ? (double)sums.loss[g] / 4 : 0;
            price += config.lambdas[set] * costs[g] / 4 * BATCH;
        }
        ck_assert(kern_is_close((double)sums.head_loss, heads, 1e-4));
        ck_assert(
            kern_is_close((double)sums.gate_loss, heads + (double)sums.loss[G] / 4 + price, 1e-4));
    }
    close_rank(&rank);
}
END_TEST

START_TEST(error__is_what_learning_to_exit_is_taught)
{
    const struct exits_train_config config = config_of(EXITS_LOSS_BERXIT, 0.02, 0.8);
    struct rank rank;

    open_alone(&rank, &config);
    train(&rank, 10, BOTH);
    for (int i = 0; i < SETS * G; i++) {
        const struct exits_sums sums = exits_sums_of(rank.net, rank.result.tap_statistics, i / G);
        ck_assert(sums.open[i % G] == BATCH - sums.correct[i % G]);
        ck_assert(sums.open[i % G] != sums.correct[i % G]);
    }
    close_rank(&rank);
}
END_TEST

/* The tensor of that name. */
static float *find(struct exits_net *net, const char *name)
{
    const struct param_list *params = exits_net_params(net);

    for (int64_t t = 0; t < params->count; t++) {
        if (strcmp(params->params[t].name, name) == 0) {
            return exits_net_block(net) + params->params[t].offset;
        }
    }
    ck_abort_msg("no tensor is called %s", name);
    return NULL;
}

/* Heads, and what is minimised of them, are what they are without the ensembles that answer. */
START_TEST(ensembles__leave_heads_and_their_loss_alone)
{
    const struct exits_train_config config = config_of(EXITS_LOSS_UNIFORM, 0.02, 0.8);
    struct rank plain, joined;

    open_with(&plain, &config, EXITS_GATE_NONE);
    open_with(&joined, &config, EXITS_GATE_ENSEMBLE);
    const struct param_list *params = exits_net_params(plain.net);
    for (int64_t t = 0; t < params->count; t++) { /* random numbers follow the place in the list */
        memcpy(find(joined.net, params->params[t].name),
               exits_net_block(plain.net) + params->params[t].offset,
               (size_t)params->params[t].count * sizeof(float));
    }
    exits_net_pack(joined.net);
    train(&plain, 10, BOTH);
    train(&joined, 10, BOTH);
    for (int64_t t = 0; t < params->count; t++) {
        const float *other = find(joined.net, params->params[t].name);
        ck_assert_mem_eq(exits_net_block(plain.net) + params->params[t].offset, other,
                         (size_t)params->params[t].count * sizeof(float));
    }
    for (int set = 0; set < SETS; set++) {
        const struct exits_sums own = exits_sums_of(plain.net, plain.result.tap_statistics, set);
        const struct exits_sums sums = exits_sums_of(joined.net, joined.result.tap_statistics, set);
        ck_assert(sums.head_loss == own.head_loss);
        ck_assert(sums.loss[G - 1] != own.loss[G - 1]);
        ck_assert(kern_is_close((double)sums.gate_loss,
                                (double)(sums.loss[0] + sums.loss[1] + sums.loss[2]), 1e-5));
    }
    close_rank(&plain);
    close_rank(&joined);
}
END_TEST

static void *rank_main(void *arg)
{
    struct rank *rank = arg;

    open_rank(rank, &rank->config, exits_method_of(rank->config.loss)->gate);
    train(rank, 10, BOTH);
    return NULL;
}

START_TEST(training__gives_the_same_bits_for_1_2_and_4_ranks)
{
    const struct exits_train_config config = config_of((enum exits_loss)_i, 0.02, 0.8);
    struct rank alone;

    open_alone(&alone, &config);
    train(&alone, 10, BOTH);
    const size_t bytes = (size_t)exits_net_params(alone.net)->block_elems * sizeof(float);
    for (int count = 2; count <= RANKS_MAX; count *= 2) {
        struct rank ranks[RANKS_MAX];
        struct comm_group *groups[RANKS_MAX];
        memset(ranks, 0, sizeof(ranks));
        struct comm_local *local = NULL;
        pthread_t threads[RANKS_MAX];
        ck_assert_int_eq(comm_local_open(count, groups, &local), ERR_OK);
        for (int r = 0; r < count; r++) {
            ranks[r].group = groups[r];
            ranks[r].config = config;
            ck_assert_int_eq(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
        }
        for (int r = 0; r < count; r++) {
            ck_assert_int_eq(pthread_join(threads[r], NULL), 0);
        }
        for (int r = 0; r < count; r++) {
            ck_assert(ranks[r].result.sample_count == BATCH);
            ck_assert(ranks[r].result.loss == alone.result.loss);
            ck_assert_mem_eq(ranks[r].result.tap_statistics, alone.result.tap_statistics,
                             (size_t)exits_statistic_count(alone.net) * sizeof(float));
            ck_assert_mem_eq(exits_net_block(ranks[r].net), exits_net_block(alone.net), bytes);
            ck_assert_mem_eq(&ranks[r].balance, &alone.balance, sizeof(alone.balance));
            close_rank(&ranks[r]);
        }
        comm_local_close(local);
    }
    close_rank(&alone);
}
END_TEST

START_TEST(run__names_the_exit_whose_features_are_not_finite)
{
    const struct exits_train_config config = config_of(EXITS_LOSS_JEI, 0.02, 0.8);
    struct rank rank;
    char text[256];

    open_alone(&rank, &config);
    for (int i = 0; i < ROWS; i++) {
        exits_cache_rows(rank.cache)[i * (G * D + K) + 1 * D + 2] = NAN;
    }
    ck_assert_int_eq(run_step(&rank, 0, BOTH, true), ERR_NOT_FINITE);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, "exit behind layer 2") != NULL, "%s", text);
    close_rank(&rank);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("exits_step");
    TCase *tcase = tcase_create("exits_step");

    tcase_add_checked_fixture(tcase, make_labels, NULL);
    tcase_add_loop_test(tcase, training__carries_lambda_to_heads_by_exit_probabilities_and_only_so,
                        0, EXITS_LOSS_COUNT);
    tcase_add_loop_test(tcase, training__gives_each_of_several_sets_the_bits_of_one_alone, 0,
                        2 * EXITS_LOSS_COUNT);
    tcase_add_loop_test(tcase, phases__leave_every_byte_of_the_other_group, 0,
                        2 * EXITS_LOSS_COUNT);
    tcase_add_test(tcase, training__leaves_at_once_for_a_huge_lambda_and_late_where_time_is_free);
    tcase_add_loop_test(tcase, training__lowers_the_cross_entropy_of_every_exit, 0,
                        EXITS_LOSS_COUNT);
    tcase_add_loop_test(tcase, training__gives_the_same_bits_for_1_2_and_4_ranks, 0,
                        EXITS_LOSS_COUNT);
    tcase_add_test(tcase, ponder__minimises_the_expected_loss);
    tcase_add_test(tcase, error__is_what_learning_to_exit_is_taught);
    tcase_add_test(tcase, ensembles__leave_heads_and_their_loss_alone);
    tcase_add_test(tcase, run__names_the_exit_whose_features_are_not_finite);
    suite_add_tcase(suite, tcase);
    return suite;
}
