/*
 * A program that is a keeper and nothing else, for tests: takes the arguments that a rank starts one
 * with. OFFRAMP_TEST_GRACE_S is its grace_s; 10 without.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/keeper.h"

static int number_in(const char *text)
{
    char *end = NULL;
    const long number = strtol(text, &end, 10);

    if (*end != '\0' || number < 0 || number > INT_MAX) {
        fprintf(stderr, "%s is no number of seconds\n", text);
        exit(EXIT_FAILURE);
    }
    return (int)number;
}

int main(int argc, char **argv)
{
    const char *grace = getenv("OFFRAMP_TEST_GRACE_S");
    struct keeper_options options = {.grace_s = grace == NULL ? 10 : number_in(grace)};
    char text[512];

    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--folder") == 0) {
            options.folder = argv[i + 1];
        } else if (strcmp(argv[i], "--retain-s") == 0) {
            options.retain_s = number_in(argv[i + 1]);
        }
    }
    if (options.folder == NULL || keeper_run(&options) != ERR_OK) {
        err_text(text, sizeof(text));
        fprintf(stderr, "%s: %s\n", argv[0], text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
