#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/arguments.h"
#include "launch/checkpoint.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/exit_rules.h"
#include "launch/options.h"

enum { KEY_REFERENCE = 1000, KEY_RULES };

struct arguments {
    const char *path;
    struct arguments_sets sets;
    bool reference, rules;
};

static const struct argp_option config_options[] = {
    {"reference", KEY_REFERENCE, NULL, 0, "print the reference of all settings", 0},
    {"rules", KEY_RULES, NULL, 0, "print the table of exit rules", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &arguments->sets; return 0;
    case KEY_REFERENCE: arguments->reference = true; return 0;
    case KEY_RULES: arguments->rules = true; return 0;
    case ARGP_KEY_ARG:
        if (arguments->path != NULL) {
            argp_error(state, "one recipe is expected, found %s and %s", arguments->path, text);
        }
        arguments->path = text;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int command_config(int argc, char **argv)
{
    static const struct argp_child children[] = {{&arguments_set_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {config_options,
                                     parse,
                                     "[RECIPE]",
                                     "Checks settings and prints them with where each comes from.",
                                     children,
                                     NULL,
                                     NULL};
    struct arguments arguments = {0};
    struct options_run *options = NULL;
    char *text = NULL;

    arguments_parse(&argp, argc, argv, &arguments);
    if (arguments.reference) {
        options_print_reference();
        return EXIT_DONE;
    }
    if (arguments.rules) {
        exit_rules_print();
        return EXIT_DONE;
    }
    enum err status =
        options_load(arguments.path, arguments.sets.texts, arguments.sets.count, &options);
    if (status == ERR_OK) {
        status = options_text(options, &text);
    }
    if (status == ERR_OK) {
        fputs(text, stdout);
    }
    free(text);
    options_close(options);
    arguments_close(&arguments.sets);
    return (int)exit_code_report(status);
}

int command_verify(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: offramp verify CHECKPOINT_DIR\n");
        return EXIT_USAGE;
    }
    const enum err status = checkpoint_verify(argv[1]);
    if (status == ERR_OK) {
        printf("%s: all files are as its manifest says\n", argv[1]);
    }
    return (int)exit_code_report(status);
}
