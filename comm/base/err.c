#include "comm/base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHAIN_BYTES_MAX = 1024 };

static _Thread_local char chain[CHAIN_BYTES_MAX];
static _Thread_local char place[128];

enum err_scope err_scope(enum err code)
{
    assert(code != ERR_OK);
    if (code <= ERR_BEYOND_REPAIR) {
        return ERR_SCOPE_RUN;
    }
    if (code <= ERR_DEVICE) {
        return ERR_SCOPE_PROCESS;
    }
    if (code <= ERR_PEER_LOST) {
        return ERR_SCOPE_GROUP;
    }
    return ERR_SCOPE_CALL;
}

const char *err_phrase(enum err code)
{
    switch (code) {
    case ERR_OK: return "no error";
    case ERR_INVALID: return "invalid argument";
    case ERR_NO_MEMORY: return "out of memory";
    case ERR_IO: return "file operation failed";
    case ERR_CORRUPT: return "corrupt data";
    case ERR_MISSING: return "missing input";
    case ERR_CONFIG: return "bad configuration";
    case ERR_USAGE: return "wrong usage";
    case ERR_TIMEOUT: return "deadline passed";
    case ERR_PEER_LOST: return "peer lost";
    case ERR_COLLECTIVE: return "collective failed";
    case ERR_DEVICE: return "device failed";
    case ERR_DIFFERS: return "ranks differ";
    case ERR_BEYOND_REPAIR: return "beyond repair";
    case ERR_NOT_FINITE: return "not finite";
    case ERR_HALTED: return "halted";
    }
    return "unknown error";
}

/* One line, and nothing a terminal obeys, whatever the input was that a message quotes. */
static void tame_chain(void)
{
    for (char *c = chain; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = ' ';
        }
    }
}

enum err err_fail_(const char *file, int line, enum err code, const char *format, ...)
{
    va_list args;

    assert(code != ERR_OK);
    va_start(args, format);
    vsnprintf(chain, sizeof(chain), format, args);
    va_end(args);
    tame_chain();
    snprintf(place, sizeof(place), "%.100s:%d", file, line);
    return code;
}

enum err err_context_(enum err code, const char *format, ...)
{
    char inner[CHAIN_BYTES_MAX];
    va_list args;

    assert(code != ERR_OK);
    memcpy(inner, chain, sizeof(inner));
    va_start(args, format);
    const int context_bytes = vsnprintf(chain, sizeof(chain), format, args);
    va_end(args);
    /* The outermost context is kept whole; it is the oldest part that gives way. */
    if (context_bytes >= 0 && (size_t)context_bytes < sizeof(chain)) {
        snprintf(chain + context_bytes, sizeof(chain) - (size_t)context_bytes, ": %.700s", inner);
    }
    tame_chain();
    return code;
}

void err_text(char *text, size_t text_bytes)
{
    assert(text != NULL);
    assert(text_bytes >= 4);
    if ((size_t)snprintf(text, text_bytes, "%s", chain) >= text_bytes) {
        memcpy(text + text_bytes - 4, "...", 4);
    }
}

const char *err_place(void)
{
    return place;
}

void err_clear(void)
{
    chain[0] = '\0';
    place[0] = '\0';
}
