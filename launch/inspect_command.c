#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/inspect.h"

enum { KEY_VERIFY = 1000, KEY_JSON };

struct arguments {
    const char *path;
    bool verifies, json;
};

static const struct argp_option inspect_options[] = {
    {"verify", KEY_VERIFY, NULL, 0, "also hash everything, and compare", 0},
    {"json", KEY_JSON, NULL, 0, "print one JSON document", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case KEY_VERIFY: arguments->verifies = true; return 0;
    case KEY_JSON: arguments->json = true; return 0;
    case ARGP_KEY_ARG:
        if (arguments->path != NULL) {
            argp_error(state, "one path is expected, found %s and %s", arguments->path, text);
        }
        arguments->path = text;
        return 0;
    case ARGP_KEY_END:
        if (arguments->path == NULL) {
            argp_error(state, "a checkpoint, an output_dir or memory of snapshots is expected");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const char *text_of(const struct jdoc *object, const char *key)
{
    const char *text = jdoc_as_text(jdoc_get(object, key));

    return text == NULL ? "?" : text;
}

static int64_t int_of(const struct jdoc *object, const char *key)
{
    return jdoc_as_int(jdoc_get(object, key));
}

static bool print_error(const struct jdoc *object, const char *indent)
{
    const char *text = jdoc_as_text(jdoc_get(object, "error"));

    if (text != NULL) {
        printf("%sDAMAGED: %s\n", indent, text);
    }
    return text != NULL;
}

static double mib(int64_t bytes)
{
    return (double)bytes / (1024 * 1024);
}

static void print_slot(const struct jdoc *slot, int index, const struct jdoc *layout)
{
    printf("    slot %d  %-9s", index, text_of(slot, "state"));
    if (int_of(slot, "version") != 0) {
        printf("  step %" PRId64 ", incarnation %" PRId64, int_of(slot, "version"),
               int_of(slot, "incarnation"));
    }
    if (jdoc_is_true(jdoc_get(slot, "changed"))) {
        printf("; was written to meanwhile");
    } else if (jdoc_get(slot, "good_data") != NULL) {
        printf("; good: data %" PRId64 " of %" PRId64, int_of(slot, "good_data"),
               int_of(layout, "data"));
        if (strcmp(text_of(slot, "state"), "SEALED") != 0) {
            printf(", parity %" PRId64 " of %" PRId64, int_of(slot, "good_parity"),
                   int_of(layout, "parity"));
        }
    }
    putchar('\n');
    print_error(slot, "      ");
}

/* Members of one layout, which most often are all, share its line; the digits are in their names. */
static void print_layout(const struct jdoc *layout)
{
    const char *hash = text_of(layout, "hash");

    printf("  layout %s: ranks %" PRId64 ", nodes %" PRId64 ", groups %" PRId64
           "; survives the loss of %s\n",
           strlen(hash) == 32 ? hash + 16 : hash, int_of(layout, "ranks"), int_of(layout, "nodes"),
           int_of(layout, "groups"), text_of(layout, "survives"));
}

static void print_memory(const struct jdoc *memory)
{
    const struct jdoc *members = jdoc_get(memory, "members");
    const char *hash = "";

    printf("%s: memory of snapshots, members: %zu\n", text_of(memory, "path"), jdoc_count(members));
    for (size_t i = 0; i < jdoc_count(members); i++) {
        const struct jdoc *member = jdoc_at(members, i);
        const struct jdoc *layout = jdoc_get(member, "layout");
        const struct jdoc *slots = jdoc_get(member, "slots");
        if (layout != NULL && strcmp(hash, text_of(layout, "hash")) != 0) {
            hash = text_of(layout, "hash");
            print_layout(layout);
        }
        printf("  %s\n", text_of(member, "file"));
        if (print_error(member, "    ")) {
            continue;
        }
        printf("    rank %" PRId64 " of group %" PRId64 " (%" PRId64 "+%" PRId64 "), node %" PRId64
               ", %.1f MiB, %s\n",
               int_of(member, "rank"), int_of(member, "group"), int_of(layout, "data"),
               int_of(layout, "parity"), int_of(member, "node"), mib(int_of(member, "bytes")),
               jdoc_is_true(jdoc_get(member, "in_use")) ? "in use by a process"
                                                        : "not in use by a process");
        for (size_t s = 0; s < jdoc_count(slots); s++) {
            print_slot(jdoc_at(slots, s), (int)s, layout);
        }
    }
}

/* A setting, its numbers in the usual number of digits: "0.1, 0.2". */
static void print_value(const char *text)
{
    while (*text != '\0') {
        char *end = NULL;
        const double value = strtod(text, &end);
        const size_t length = strcspn(text, ",");
        if (end == text + length && end != text) {
            printf("%g", value);
        } else {
            printf("%.*s", (int)length, text);
        }
        text += length;
        if (*text == ',') {
            putchar(*text++);
            for (; *text == ' '; text++) {
                putchar(' ');
            }
        }
    }
}

static void print_settings(const struct jdoc *checkpoint)
{
    static const char *const names[] = {"seed",    "model",        "exit_loss",
                                        "lambdas", "training set", "kernels"};
    static const char *const of_stage[] = {"optim", "learning_rate", "train_batch_size",
                                           "num_train_epochs", "num_steps"};
    const struct jdoc *settings = jdoc_get(checkpoint, "settings");
    char key[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        printf("  %s: ", names[i]);
        print_value(text_of(settings, names[i]));
        putchar('\n');
    }
    printf("  stage:");
    for (size_t i = 0; i < sizeof(of_stage) / sizeof(of_stage[0]); i++) {
        snprintf(key, sizeof(key), "stage %" PRId64 " (%s) %s", int_of(checkpoint, "stage"),
                 text_of(checkpoint, "stage_kind"), of_stage[i]);
        printf("%s %s ", i == 0 ? "" : ",", of_stage[i]);
        print_value(text_of(settings, key));
    }
    putchar('\n');
}

static void print_checkpoint(const struct jdoc *checkpoint)
{
    const struct jdoc *files = jdoc_get(checkpoint, "files");

    printf("%s: a checkpoint", text_of(checkpoint, "path"));
    if (jdoc_get(checkpoint, "settings") != NULL) {
        printf(" after step %" PRId64 ": step %" PRId64 " of stage %" PRId64 " (%s)\n",
               int_of(checkpoint, "step"), int_of(checkpoint, "stage_step"),
               int_of(checkpoint, "stage"), text_of(checkpoint, "stage_kind"));
        print_settings(checkpoint);
    } else {
        putchar('\n');
    }
    for (size_t i = 0; i < jdoc_count(files); i++) {
        const struct jdoc *file = jdoc_at(files, i);
        printf("  %-24s %12" PRId64 " bytes\n", text_of(file, "name"), int_of(file, "bytes"));
    }
    if (jdoc_is_true(jdoc_get(checkpoint, "verified"))) {
        printf("  all files are as its manifest says\n");
    }
    print_error(checkpoint, "  ");
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static void print_run(const struct jdoc *run)
{
    const struct jdoc *checkpoints = jdoc_get(run, "checkpoints");
    const struct jdoc *memory = jdoc_get(run, "memory");

    printf("%s: a run", text_of(run, "path"));
    if (jdoc_get(run, "state_hash") != NULL) {
        printf(", %s after step %" PRId64 " on %" PRId64 " ranks, state %s",
               text_of(run, "verdict"), int_of(run, "step"), int_of(run, "world_size"),
               text_of(run, "state_hash"));
    } else if (jdoc_get(run, "verdict") != NULL) {
        printf(", %s with exit code %" PRId64, text_of(run, "verdict"), int_of(run, "exit_code"));
    }
    putchar('\n');
    print_error(run, "  ");
    for (size_t i = 0; i < jdoc_count(checkpoints); i++) {
        const struct jdoc *checkpoint = jdoc_at(checkpoints, i);
        const struct jdoc *files = jdoc_get(checkpoint, "files");
        int64_t bytes = 0;
        for (size_t f = 0; f < jdoc_count(files); f++) {
            bytes += int_of(jdoc_at(files, f), "bytes");
        }
        printf("  %s: step %" PRId64 " of stage %" PRId64 " (%s), %.1f MiB%s\n",
               last_name(text_of(checkpoint, "path")), int_of(checkpoint, "stage_step"),
               int_of(checkpoint, "stage"), text_of(checkpoint, "stage_kind"), mib(bytes),
               jdoc_is_true(jdoc_get(checkpoint, "verified")) ? ", as its manifest says" : "");
        print_error(checkpoint, "    ");
    }
    if (memory != NULL) {
        print_memory(memory);
    }
}

static enum err print_json(const struct jdoc *doc)
{
    char *text = NULL;

    ERR_TRY(jdoc_text(doc, 2, &text));
    puts(text);
    free(text);
    return ERR_OK;
}

static enum err print(const struct jdoc *doc, bool json)
{
    const char *kind = text_of(doc, "kind");

    if (json) {
        return print_json(doc);
    }
    if (strcmp(kind, "memory") == 0) {
        print_memory(doc);
    } else if (strcmp(kind, "checkpoint") == 0) {
        print_checkpoint(doc);
    } else {
        print_run(doc);
    }
    return ERR_OK;
}

int command_inspect(int argc, char **argv)
{
    static const struct argp argp = {
        inspect_options,
        parse,
        "PATH",
        "Tells what lies at PATH: a checkpoint, the output_dir of a run, a folder with memory of "
        "snapshots, or one member's file in it. Looks only, and disturbs no run under way.",
        NULL,
        NULL,
        NULL};
    struct arguments arguments = {0};
    struct jdoc *doc = NULL;
    int damage_count = 0;

    arguments_parse(&argp, argc, argv, &arguments);
    enum err status = inspect(arguments.path, arguments.verifies, &doc, &damage_count);
    if (status == ERR_OK) {
        status = print(doc, arguments.json);
    }
    if (status == ERR_OK && damage_count > 0) {
        status = ERR_FAIL(ERR_CORRUPT, "%s: damaged parts: %d", arguments.path, damage_count);
    }
    jdoc_close(doc);
    return (int)exit_code_report(status);
}
