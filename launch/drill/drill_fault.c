#define _POSIX_C_SOURCE 200809L
#include "launch/drill/drill_fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MAX = 1000000000, HIT_MAX = 1000000, AFTER_MAX_MS = 30000 };

static const char *const victim_names[DRILL_VICTIMS] = {"", "rank", "node", "keeper"};

#define MAY(victim) (1u << (victim))

static const struct action {
    const char *name, *form, *help;
    unsigned victims;
} actions[DRILL_ACTIONS] = {
    [DRILL_KILL] = {"kill", "rank|node|keeper=N@step=S|point=P[@rank=R][#HIT][+MS]",
                    "SIGKILL; a node loses its memory with all its processes",
                    MAY(DRILL_RANK) | MAY(DRILL_NODE) | MAY(DRILL_KEEPER)},
    [DRILL_STOP] = {"stop", "rank=N@step=S|point=P[@rank=R][#HIT][+MS]",
                    "SIGSTOP: a rank that hangs", MAY(DRILL_RANK)},
    [DRILL_CORRUPT] = {"corrupt", "node=N@step=S|point=P[@rank=R][#HIT][+MS]",
                       "flip bytes in the node's snapshots, then kill the ranks", MAY(DRILL_NODE)},
    [DRILL_DROP_KEEPER] = {"drop-keeper", "node=N@step=S|point=P[@rank=R][#HIT][+MS]",
                           "SIGKILL of the node's keeper", MAY(DRILL_NODE)},
    [DRILL_FILL_DISK] = {"fill-disk", "step=S", "no checkpoint can be written for a while",
                         MAY(DRILL_RUN)},
    [DRILL_TERM] = {"term", "step=S", "SIGTERM to launch, and the same command again",
                    MAY(DRILL_RUN)},
    [DRILL_SUPERVISOR] = {"supervisor", "step=S", "SIGKILL of launch, and the same command again",
                          MAY(DRILL_RUN)},
    [DRILL_ORPHAN] = {"orphan", "rank=N@step=S",
                      "stop a rank, kill all who know of it, and the same command again",
                      MAY(DRILL_RANK)},
    [DRILL_POWER] = {"power", "node=N@step=S|point=P[@rank=R][#HIT][+MS]",
                     "a node of the virtual cluster goes without a word", MAY(DRILL_NODE)},
    [DRILL_CUT] = {"cut", "node=N@step=S|point=P[@rank=R][#HIT][+MS]",
                   "the cable of a node of the virtual cluster", MAY(DRILL_NODE)},
    [DRILL_FREEZE] = {"freeze", "node=N@step=S|point=P[@rank=R][#HIT][+MS]",
                      "SIGSTOP of all processes of a node of the virtual cluster", MAY(DRILL_NODE)},
};

const char *drill_action_name(enum drill_action action)
{
    assert(action < DRILL_ACTIONS);
    return actions[action].name;
}

const char *drill_action_help(enum drill_action action)
{
    assert(action < DRILL_ACTIONS);
    return actions[action].help;
}

const char *drill_action_form(enum drill_action action)
{
    assert(action < DRILL_ACTIONS);
    return actions[action].form;
}

/* A number in decimal digits that ends where `text` does or one of `stops` is; *rest_out is behind it. */
static bool read_number(const char *text, const char *stops, long most, long *value_out,
                        const char **rest_out)
{
    const size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 9 || strchr(stops, text[digits]) == NULL) {
        return false;
    }
    const long value = strtol(text, NULL, 10);
    if (value > most) {
        return false;
    }
    *value_out = value;
    *rest_out = text + digits;
    return true;
}

/* "VICTIM=NUMBER@", or nothing; *rest_out is behind it. */
static bool read_victim(const char *text, struct drill_fault *fault, const char **rest_out)
{
    long number = 0;

    fault->victim = DRILL_RUN;
    *rest_out = text;
    for (int v = DRILL_RANK; v < DRILL_VICTIMS; v++) {
        const size_t length = strlen(victim_names[v]);
        if (strncmp(text, victim_names[v], length) != 0 || text[length] != '=') {
            continue;
        }
        fault->victim = (enum drill_victim)v;
        if (!read_number(text + length + 1, "@", DRILL_NUMBER_MAX, &number, rest_out) ||
            **rest_out != '@' || (v != DRILL_RANK && number == 0)) {
            return false;
        }
        fault->number = (int)number;
        ++*rest_out;
    }
    return true;
}

static enum err read_point(const char *text, const char *whole, struct drill_fault *fault)
{
    char name[64];
    static const char BY[] = "@rank=";
    const size_t length = strcspn(text, "@#+");
    const char *rest = text + length;
    long hit = 1, after_ms = 0, met_by = 0;

    if (length < sizeof(name)) {
        memcpy(name, text, length);
        name[length] = '\0';
        fault->point = fault_find(name);
    }
    if (fault->point == FAULT_POINT_COUNT) {
        return ERR_FAIL(ERR_USAGE, "%s: no fault point is named %.*s: --list names all", whole,
                        (int)(length < 64 ? length : 64), text);
    }
    if (strncmp(rest, BY, sizeof(BY) - 1) == 0) {
        if (!read_number(rest + sizeof(BY) - 1, "#+", DRILL_NUMBER_MAX, &met_by, &rest)) {
            return ERR_FAIL(ERR_USAGE, "%s: the number of a rank is expected behind @rank=", whole);
        }
        fault->met_by = (int)met_by;
    }
    if (*rest == '@') {
        return ERR_FAIL(ERR_USAGE, "%s: rank=R is expected behind the second @", whole);
    }
    if (*rest == '#' && (!read_number(rest + 1, "+", HIT_MAX, &hit, &rest) || hit == 0)) {
        return ERR_FAIL(ERR_USAGE, "%s: a number from 1 to %d is expected behind #", whole,
                        HIT_MAX);
    }
    if (*rest == '+' && !read_number(rest + 1, "", AFTER_MAX_MS, &after_ms, &rest)) {
        return ERR_FAIL(ERR_USAGE, "%s: at most %d milliseconds are expected behind +", whole,
                        AFTER_MAX_MS);
    }
    fault->hit = (int)hit;
    fault->after_ms = (int)after_ms;
    return ERR_OK;
}

enum err drill_fault_parse(enum drill_action action, const char *text,
                           struct drill_fault *fault_out)
{
    static const char STEP[] = "step=", POINT[] = "point=";
    const struct action *known = &actions[action];
    struct drill_fault fault = {.action = action, .point = FAULT_POINT_COUNT, .met_by = -1};
    const char *rest = NULL;
    long step = 0;

    assert(action < DRILL_ACTIONS);
    const bool is_read = read_victim(text, &fault, &rest);
    if (!is_read || (MAY(fault.victim) & known->victims) == 0) {
        return ERR_FAIL(ERR_USAGE, "--%s %.100s: %s is expected", known->name, text, known->form);
    }
    if (strncmp(rest, POINT, sizeof(POINT) - 1) == 0 && strstr(known->form, POINT) != NULL) {
        ERR_TRY_AS(read_point(rest + sizeof(POINT) - 1, text, &fault), "--%s", known->name);
    } else if (strncmp(rest, STEP, sizeof(STEP) - 1) != 0 ||
               !read_number(rest + sizeof(STEP) - 1, "", STEP_MAX, &step, &rest) || step == 0) {
        return ERR_FAIL(ERR_USAGE, "--%s %.100s: %s is expected", known->name, text, known->form);
    }
    fault.step = step;
    *fault_out = fault;
    return ERR_OK;
}

static void format(const struct drill_fault *fault, bool is_name, char text[DRILL_FAULT_BYTES])
{
    const char *const equals = is_name ? "-" : "=", *const at = is_name ? "-" : "@";
    char victim[32] = "", by[24] = "", hit[16] = "", after[16] = "";

    if (fault->victim != DRILL_RUN) {
        snprintf(victim, sizeof(victim), "%s%s%d%s", victim_names[fault->victim], equals,
                 fault->number, at);
    }
    if (fault->hit > 1) {
        snprintf(hit, sizeof(hit), "%s%d", is_name ? "-" : "#", fault->hit);
    }
    if (fault->step == 0 && fault->met_by >= 0) {
        snprintf(by, sizeof(by), is_name ? "-rank-%d" : "@rank=%d", fault->met_by);
    }
    if (fault->after_ms > 0) {
        snprintf(after, sizeof(after), "+%d", fault->after_ms);
    }
    if (fault->step > 0) {
        snprintf(text, DRILL_FAULT_BYTES, "%s%s%s%sstep%s%" PRId64, is_name ? "" : "--",
                 actions[fault->action].name, is_name ? "-" : " ", victim, equals, fault->step);
    } else {
        snprintf(text, DRILL_FAULT_BYTES, "%s%s%s%s%s%s%s%s%s", is_name ? "" : "--",
                 actions[fault->action].name, is_name ? "-" : " ", victim,
                 is_name ? "" : "point=", fault_name(fault->point), by, hit, after);
    }
}

void drill_fault_text(const struct drill_fault *fault, char text[DRILL_FAULT_BYTES])
{
    format(fault, false, text);
}

void drill_fault_name(const struct drill_fault *fault, char name[DRILL_FAULT_BYTES])
{
    format(fault, true, name);
}

bool drill_fault_loses_job(const struct drill_fault *fault)
{
    switch (fault->action) {
    case DRILL_DROP_KEEPER:
    case DRILL_FILL_DISK: return false;
    case DRILL_KILL: return fault->victim != DRILL_KEEPER;
    default: return true;
    }
}

bool drill_fault_is_virtual(const struct drill_fault *fault)
{
    return fault->action == DRILL_POWER || fault->action == DRILL_CUT ||
           fault->action == DRILL_FREEZE;
}
