/*
 * Batch-compacted inference: what leaving early saves of the time, beside what it saves of the multiply-adds.
 *
 *      bench_predict CHECKPOINT_OR_RUN INPUT [SAMPLES [BATCH [ROUNDS]]]
 *
 * The full network and policies at several budgets answer the same samples in turns, ROUNDS times. A policy's time is told
 * as a share of the full network's in the same round: median, and least and largest. "saved" is the share of
 * the time that is saved by the share of the multiply-adds that is saved; those are of each sample's own tokens,
 * so that padding counts against the time. Processor time of one thread, of passes over batches that are in memory.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/data_pack.h"
#include "launch/exit_code.h"
#include "launch/predict/predict_run.h"
#include "launch/sample_input.h"

enum { POLICIES = 9, ROUNDS_MAX = 99, SAMPLES = 2048, BATCH = 64, ROUNDS = 9 };

static const double budgets[POLICIES] = {[2] = 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

struct measured {
    struct predict_policy policy;
    bool is_there;
    double macs, full_macs;     /* of all samples */
    int64_t right;              /* samples */
    double seconds[ROUNDS_MAX]; /* of each round */
};

struct bench {
    struct trained_network network;
    struct predict_input *input;
    const struct data_set *set;
    struct exits_infer *infer;
    struct sample_input *samples;
    uint32_t *order;
    int32_t *chosen, *predicted;
    int64_t n, batch;
    int rounds;
    struct measured policies[POLICIES];
};

static double processor_s(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* A pass over all samples; what it says is kept of the last. */
static enum err run_pass(struct bench *bench, struct measured *measured, double *seconds_out)
{
    const struct exits_policy policy = predict_policy_of(&bench->network, &measured->policy);

    *seconds_out = 0;
    for (int64_t at = 0; at < bench->n; at += bench->batch) {
        const int64_t count = bench->n - at < bench->batch ? bench->n - at : bench->batch;
        const struct model_input input =
            sample_input_fill(bench->samples, bench->order + at, count);
        const struct exits_infer_out out = {.chosen = bench->chosen + at,
                                            .predicted = bench->predicted + at};
        const double start = processor_s();
        ERR_TRY(exits_infer_run(bench->infer, &policy, &input, count, &out));
        *seconds_out += processor_s() - start;
    }
    return ERR_OK;
}

/* What was chosen in the last pass, in multiply-adds and right answers. */
static void count_up(const struct bench *bench, struct measured *measured)
{
    int64_t macs[MODEL_LAYERS_MAX + 1], full = 0;

    measured->macs = measured->full_macs = 0;
    measured->right = 0;
    for (int64_t i = 0; i < bench->n; i++) {
        const int64_t sample = bench->order[i];
        predict_costs(&bench->network, &measured->policy, data_set_length(bench->set, sample), macs,
                      &full);
        measured->macs += (double)macs[bench->chosen[i]];
        measured->full_macs += (double)full;
        measured->right += bench->predicted[i] == bench->set->labels[sample];
    }
}

/* A budget that the policy of one before it keeps best, too. */
static bool is_told(const struct bench *bench, int p)
{
    for (int other = 1; other < p; other++) {
        const struct predict_policy *a = &bench->policies[other].policy;
        const struct predict_policy *b = &bench->policies[p].policy;
        if (bench->policies[other].is_there && a->set == b->set && a->score == b->score &&
            memcmp(a->thresholds, b->thresholds, sizeof(a->thresholds)) == 0) {
            return true;
        }
    }
    return false;
}

static enum err choose(struct bench *bench)
{
    for (int p = 0; p < POLICIES; p++) {
        const struct predict_wish wish = {.rule = p == 0 ? PREDICT_RULE_END : NULL,
                                          .budget = budgets[p] > 0 ? budgets[p] : (double)NAN,
                                          .risk = (double)NAN};
        const enum err status =
            predict_policy_choose(&bench->network, &wish, &bench->policies[p].policy);
        bench->policies[p].is_there = status == ERR_OK && !is_told(bench, p);
        if (status != ERR_OK && status != ERR_CONFIG) { /* CONFIG: nothing keeps that budget */
            return status;
        }
        err_clear();
    }
    return ERR_OK;
}

static enum err open_bench(struct bench *bench, const struct predict_source *source)
{
    struct predict_portion portion;

    ERR_TRY(predict_input_open(source, &bench->input));
    ERR_TRY(predict_input_next(bench->input, &portion));
    if (portion.set == NULL) {
        return ERR_FAIL(ERR_CORRUPT, "%s: no sample in it", source->inputs[0]);
    }
    bench->set = portion.set;
    bench->n = portion.set->shape.count;
    model_pack(bench->network.model, false);
    exits_net_pack(bench->network.net);
    bench->order = calloc((size_t)bench->n, sizeof(*bench->order));
    bench->chosen = calloc((size_t)bench->n, sizeof(*bench->chosen));
    bench->predicted = calloc((size_t)bench->n, sizeof(*bench->predicted));
    if (bench->order == NULL || bench->chosen == NULL || bench->predicted == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " samples", bench->n);
    }
    data_pack_sort(bench->set, NULL, bench->n, bench->order);
    ERR_TRY(choose(bench));
    ERR_TRY(sample_input_open(model_ops(bench->network.model)->device,
                              predict_input_normal(bench->input), bench->set, bench->batch,
                              &bench->samples));
    return exits_infer_open(bench->network.model, bench->network.net, bench->batch, &bench->infer);
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static void tell(struct bench *bench, int p)
{
    const struct measured *measured = &bench->policies[p];
    const struct measured *full = &bench->policies[0];
    const double macs = measured->macs / measured->full_macs;
    double shares[ROUNDS_MAX], seconds[ROUNDS_MAX];
    char budget[16] = "";

    for (int r = 0; r < bench->rounds; r++) {
        shares[r] = measured->seconds[r] / full->seconds[r];
        seconds[r] = measured->seconds[r];
    }
    qsort(shares, (size_t)bench->rounds, sizeof(shares[0]), ascending);
    qsort(seconds, (size_t)bench->rounds, sizeof(seconds[0]), ascending);
    const int middle = bench->rounds / 2, last = bench->rounds - 1;
    if (budgets[p] > 0) {
        snprintf(budget, sizeof(budget), "%.0f %%", 100 * budgets[p]);
    }
    printf("| %s | %s, lambda %g | %.2f %% | %.1f %% | %.4f | %.1f (%.1f - %.1f) %% |",
           p == 0 ? "full network" : budget, measured->policy.name, measured->policy.lambda,
           100 * (double)measured->right / (double)bench->n, 100 * macs,
           1e3 * seconds[middle] / (double)bench->n, 100 * shares[middle], 100 * shares[0],
           100 * shares[last]);
    if (p == 0) {
        printf(" |\n");
    } else {
        printf(" %.3f (%.3f - %.3f) |\n", (1 - shares[middle]) / (1 - macs),
               (1 - shares[last]) / (1 - macs), (1 - shares[0]) / (1 - macs));
    }
}

static enum err measure(struct bench *bench)
{
    double ignored = 0;

    for (int p = 0; p < POLICIES; p++) {
        if (bench->policies[p].is_there) { /* to warm up, too */
            ERR_TRY(run_pass(bench, &bench->policies[p], &ignored));
            count_up(bench, &bench->policies[p]);
        }
    }
    for (int r = 0; r < bench->rounds; r++) {
        for (int i = 0; i < POLICIES; i++) { /* there and back, lest one always follows the same */
            const int p = r % 2 == 0 ? i : POLICIES - 1 - i;
            if (bench->policies[p].is_there) {
                ERR_TRY(run_pass(bench, &bench->policies[p], &bench->policies[p].seconds[r]));
            }
        }
    }
    printf("%" PRId64 " samples in batches of %" PRId64 ", %d rounds\n\n", bench->n, bench->batch,
           bench->rounds);
    printf("| budget | policy | accuracy | multiply-adds | ms a sample | time | saved |\n"
           "|---|---|---|---|---|---|---|\n");
    for (int p = 0; p < POLICIES; p++) {
        if (bench->policies[p].is_there) {
            tell(bench, p);
        }
    }
    return ERR_OK;
}

/* Argument `at`, a whole number from 1 on; 0: it is none. */
static int64_t number(int argc, char **argv, int at, int64_t otherwise)
{
    char *end = NULL;

    if (at >= argc) {
        return otherwise;
    }
    const long value = strtol(argv[at], &end, 10);
    return *end == '\0' && value > 0 ? value : 0;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static const struct trained_network_wish wish = {.has_room = true};
    const char *const inputs[] = {argc > 2 ? argv[2] : ""};
    const int64_t rounds = number(argc, argv, 5, ROUNDS);
    struct predict_source source = {.network = &bench.network,
                                    .inputs = inputs,
                                    .input_count = 1,
                                    .batch = SAMPLES,
                                    .samples_max = number(argc, argv, 3, SAMPLES)};

    bench.batch = number(argc, argv, 4, BATCH);
    if (argc < 3 || rounds < 1 || rounds > ROUNDS_MAX || bench.batch < 1 ||
        source.samples_max < 1) {
        fprintf(stderr,
                "usage: bench_predict CHECKPOINT_OR_RUN INPUT [SAMPLES [BATCH [ROUNDS]]]\n");
        return EXIT_USAGE;
    }
    bench.rounds = (int)rounds;
    enum err status = trained_network_open(argv[1], &wish, &bench.network);
    if (status == ERR_OK) {
        status = open_bench(&bench, &source);
    }
    if (status == ERR_OK) {
        status = measure(&bench);
    }
    exits_infer_close(bench.infer);
    sample_input_close(bench.samples);
    free(bench.predicted);
    free(bench.chosen);
    free(bench.order);
    predict_input_close(bench.input);
    trained_network_close(&bench.network);
    return (int)exit_code_report(status);
}
