#include "launch/exit_code.h"

#include <stdio.h>
#include <stdlib.h>

enum exit_code exit_code_of(enum err status)
{
    switch (status) {
    case ERR_OK: return EXIT_DONE;
    case ERR_USAGE: return EXIT_USAGE;
    case ERR_CORRUPT: return EXIT_DATA;
    case ERR_MISSING: return EXIT_NO_INPUT;
    case ERR_IO: return EXIT_IO;
    case ERR_CONFIG: return EXIT_BAD_CONFIG;
    case ERR_DIFFERS: return EXIT_DIFFERS;
    case ERR_BEYOND_REPAIR: return EXIT_BEYOND_REPAIR;
    case ERR_NOT_FINITE: return EXIT_DO_NOT_RESTART;
    case ERR_HALTED: return EXIT_REQUEUE;
    case ERR_INVALID:
    case ERR_NO_MEMORY:
    case ERR_PEER_LOST:
    case ERR_COLLECTIVE:
    case ERR_TIMEOUT:
    case ERR_DEVICE: break;
    }
    return EXIT_INTERNAL;
}

enum exit_code exit_code_report(enum err status)
{
    char text[1024];

    if (status != ERR_OK) {
        err_text(text, sizeof(text));
        if (getenv("OFFRAMP_DEBUG") != NULL) {
            fprintf(stderr, "offramp: %s (%s, %s)\n", text, err_phrase(status), err_place());
        } else {
            fprintf(stderr, "offramp: %s\n", text);
        }
        err_clear();
    }
    return exit_code_of(status);
}
