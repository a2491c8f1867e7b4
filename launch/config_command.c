#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch/checkpoint.h"
#include "launch/commands.h"
#include "launch/exit_code.h"
#include "launch/options.h"

enum { SETS_MAX = 128, KEY_SET = 1000, KEY_REFERENCE };

struct arguments {
    const char *path;
    const char *sets[SETS_MAX];
    int set_count;
    bool reference;
};

static const struct argp_option config_options[] = {
    {"set", KEY_SET, "KEY=VALUE", 0, "a setting that overrides the file", 0},
    {"reference", KEY_REFERENCE, NULL, 0, "print the reference of all settings", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case KEY_SET:
        if (arguments->set_count == SETS_MAX) {
            argp_error(state, "more than %d settings", SETS_MAX);
        }
        arguments->sets[arguments->set_count++] = text;
        return 0;
    case KEY_REFERENCE: arguments->reference = true; return 0;
    case ARGP_KEY_ARG: arguments->path = text; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

int command_config(int argc, char **argv)
{
    static const struct argp argp = {config_options,
                                     parse,
                                     "[RECIPE]",
                                     "Checks settings and prints them with where each comes from.",
                                     NULL,
                                     NULL,
                                     NULL};
    struct arguments arguments = {0};
    struct options_run *options = NULL;
    char *text = NULL;

    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.reference) {
        options_print_reference();
        return EXIT_DONE;
    }
    enum err status = options_load(arguments.path, arguments.sets, arguments.set_count, &options);
    if (status == ERR_OK) {
        status = options_text(options, &text);
    }
    if (status == ERR_OK) {
        fputs(text, stdout);
    }
    free(text);
    options_close(options);
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
