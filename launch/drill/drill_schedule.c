#define _POSIX_C_SOURCE 200809L
#include "launch/drill/drill_schedule.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/rng.h"

enum {
    MATRIX_STEP = 30, /* of the loss that a recovery is about */
    MATRIX_HIT = 12,  /* of a point that is met at every step */
};

void drill_cases_release(struct drill_cases *cases)
{
    for (int i = 0; i < cases->count; i++) {
        free(cases->cases[i].faults);
    }
    free(cases->cases);
    *cases = (struct drill_cases){0};
}

static bool is_taken(const struct drill_cases *cases, const char *name)
{
    for (int i = 0; i < cases->count; i++) {
        if (strcmp(cases->cases[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

enum err drill_cases_add(struct drill_cases *cases, const char *name,
                         const struct drill_fault *faults, int count)
{
    struct drill_case added = {.count = count};
    struct drill_case *grown =
        realloc(cases->cases, ((size_t)cases->count + 1) * sizeof(*cases->cases));

    assert(count > 0);
    cases->cases = grown == NULL ? cases->cases : grown;
    added.faults = malloc((size_t)count * sizeof(*faults));
    if (grown == NULL || added.faults == NULL) {
        free(added.faults);
        return ERR_FAIL(ERR_NO_MEMORY, "%d faults", count);
    }
    memcpy(added.faults, faults, (size_t)count * sizeof(*faults));
    snprintf(added.name, sizeof(added.name), "%s", name);
    for (int i = 2; is_taken(cases, added.name); i++) {
        snprintf(added.name, sizeof(added.name), "%.100s.%d", name, i);
    }
    cases->cases[cases->count++] = added;
    return ERR_OK;
}

/* What a point belongs to, and so how often it is met, and what has to happen before. */
enum kind { KIND_STEP, KIND_SNAPSHOT, KIND_TILE, KIND_KEEPER, KIND_RECOVERY, KIND_REBUILD };

static enum kind kind_of(enum fault_point point)
{
    switch (point) {
    case FAULT_COMM_REDUCE: return KIND_STEP;
    case FAULT_SNAP_TILE:
    case FAULT_SNAP_STRIPES: return KIND_TILE;
    case FAULT_SNAP_RESTORE: return KIND_RECOVERY;
    case FAULT_SNAP_REBUILT: return KIND_REBUILD;
    case FAULT_KEEPER_TAKE:
    case FAULT_KEEPER_WRITE:
    case FAULT_KEEPER_PLACE:
    case FAULT_SAVE_BEFORE_MANIFEST:
    case FAULT_SAVE_BEFORE_RENAME:
    case FAULT_SAVE_AFTER_RENAME: return KIND_KEEPER;
    default: return KIND_SNAPSHOT;
    }
}

/* One run: at `point` the victim is killed; before a point of a recovery, another is. */
static enum err add_point(struct drill_size size, enum fault_point point, enum drill_victim victim,
                          int number, struct drill_cases *cases)
{
    const enum kind kind = kind_of(point);
    const bool recovers = kind == KIND_RECOVERY || kind == KIND_REBUILD;
    char name[DRILL_FAULT_BYTES];
    struct drill_fault faults[2] = {
        {.action = DRILL_KILL, .step = MATRIX_STEP, .point = FAULT_POINT_COUNT},
        {.action = DRILL_KILL,
         .victim = victim,
         .number = number,
         .point = point,
         .met_by = -1,
         .hit = recovers || kind == KIND_KEEPER ? 1 : MATRIX_HIT},
    };

    faults[0].victim = kind == KIND_REBUILD ? DRILL_NODE : DRILL_RANK;
    /* Of nodes another than the second victim, which would have no rank left to meet the point. */
    faults[0].number = kind == KIND_REBUILD ? (number == 1 ? size.nodes : 1) : 0;
    drill_fault_name(&faults[1], name);
    return drill_cases_add(cases, name, recovers ? faults : faults + 1, recovers ? 2 : 1);
}

enum err drill_schedule_matrix(struct drill_size size, bool every_victim, struct drill_cases *cases)
{
    for (int p = 0; p < FAULT_POINT_COUNT; p++) {
        for (int v = DRILL_RANK; v < DRILL_VICTIMS; v++) {
            const int count = v == DRILL_RANK ? size.ranks : size.nodes;
            const int first = v == DRILL_RANK ? 0 : 1;
            for (int n = every_victim || count == 1 ? 0 : 1; n < count; n++) {
                ERR_TRY(
                    add_point(size, (enum fault_point)p, (enum drill_victim)v, first + n, cases));
                if (!every_victim) {
                    break;
                }
            }
        }
    }
    return ERR_OK;
}

static int compare_steps(const void *a, const void *b)
{
    const struct drill_fault *left = a, *right = b;

    return (left->step > right->step) - (left->step < right->step);
}

struct drill_kind {
    enum drill_action action;
    enum drill_victim victim;
};

static struct drill_kind draw_kind(bool is_virtual, uint64_t number)
{
    static const struct drill_kind on_plain[] = {
        {DRILL_KILL, DRILL_RANK},     {DRILL_KILL, DRILL_NODE},    {DRILL_KILL, DRILL_KEEPER},
        {DRILL_STOP, DRILL_RANK},     {DRILL_CORRUPT, DRILL_NODE}, {DRILL_TERM, DRILL_RUN},
        {DRILL_SUPERVISOR, DRILL_RUN}};
    static const struct drill_kind on_virtual[] = {
        {DRILL_KILL, DRILL_RANK},  {DRILL_KILL, DRILL_NODE}, {DRILL_STOP, DRILL_RANK},
        {DRILL_POWER, DRILL_NODE}, {DRILL_CUT, DRILL_NODE},  {DRILL_FREEZE, DRILL_NODE}};

    return is_virtual ? on_virtual[number % (sizeof(on_virtual) / sizeof(on_virtual[0]))]
                      : on_plain[number % (sizeof(on_plain) / sizeof(on_plain[0]))];
}

static struct drill_fault draw(struct drill_size size, uint64_t seed, int i, int64_t last_step)
{
    const uint64_t index = (uint64_t)i;
    const double where = rng_uniform(seed, RNG_DRILL, index, 0);
    const struct drill_kind kind = draw_kind(size.is_virtual, rng_u64(seed, RNG_DRILL, index, 1));
    const uint64_t who = rng_u64(seed, RNG_DRILL, index, 2);
    struct drill_fault fault = {.action = kind.action,
                                .victim = kind.victim,
                                .step = 2 + (int64_t)(where * (double)(last_step - 1)),
                                .point = FAULT_POINT_COUNT};

    if (fault.victim == DRILL_RANK) {
        fault.number = (int)(who % (uint64_t)size.ranks);
    } else if (fault.victim != DRILL_RUN) {
        fault.number = 1 + (int)(who % (uint64_t)size.nodes);
    }
    return fault;
}

enum err drill_schedule_random(struct drill_size size, uint64_t seed, int count, int64_t last_step,
                               struct drill_cases *cases)
{
    struct drill_fault *faults = calloc((size_t)count, sizeof(*faults));
    char name[DRILL_FAULT_BYTES];

    assert(count > 0 && last_step >= 2);
    if (faults == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%d faults", count);
    }
    for (int i = 0; i < count; i++) {
        faults[i] = draw(size, seed, i, last_step);
    }
    qsort(faults, (size_t)count, sizeof(*faults), compare_steps);
    snprintf(name, sizeof(name), "random-%d-seed-%" PRIu64, count, seed);
    const enum err status = drill_cases_add(cases, name, faults, count);
    if (status == ERR_OK) {
        cases->cases[cases->count - 1].draws = true;
    }
    free(faults);
    return status;
}
