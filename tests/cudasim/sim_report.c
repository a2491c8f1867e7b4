/*
 * tests/cudasim/sim_report.c - messages, places in the source, and the last word on leaks.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cudasim/sim_priv.h"

void cudasim_report(const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "cudasim: %s\n", text);
    fflush(stderr);
    abort();
}

void sim_place_here(struct sim_place *place_out)
{
    void *pc[SIM_PLACE_DEPTH + 2];
    const int depth = backtrace(pc, SIM_PLACE_DEPTH + 2);

    place_out->depth = 0;
    for (int i = 1; i < depth && place_out->depth < SIM_PLACE_DEPTH; i++) {
        place_out->pc[place_out->depth++] = pc[i];
    }
}

/* addr2line's answer for an address in a file: "FOLDER/FILE:LINE"; false if it has none. */
static bool ask_addr2line(const char *file, size_t address, char *text, size_t text_bytes)
{
    char command[600];

    snprintf(command, sizeof command, "exec addr2line -e '%s' 0x%zx 2>/dev/null", file, address);
    FILE *answer = popen(command, "r"); /* NOLINT(cert-env33-c): a test's own tool */
    if (answer == NULL) {
        return false;
    }
    char line[512] = "";
    const bool has_line = fgets(line, sizeof line, answer) != NULL;
    pclose(answer);
    if (!has_line || line[0] == '?' || strstr(line, ":?") != NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    const char *name = strrchr(line, '/');
    snprintf(text, text_bytes, "%s", name != NULL ? name + 1 : line);
    char *discriminator = strstr(text, " (");
    if (discriminator != NULL) {
        *discriminator = '\0';
    }
    return true;
}

void sim_place_text(const void *pc, char *text, size_t text_bytes)
{
    Dl_info info;

    if (pc == NULL || dladdr(pc, &info) == 0 || info.dli_fname == NULL) {
        snprintf(text, text_bytes, "an unknown place");
        return;
    }
    /* The call is before the address to which it returns. */
    size_t address = (size_t)((const char *)pc - 1 - (const char *)info.dli_fbase);
    if (!ask_addr2line(info.dli_fname, address, text, text_bytes)) {
        const char *name = strrchr(info.dli_fname, '/');
        snprintf(text, text_bytes, "%s+0x%zx", name != NULL ? name + 1 : info.dli_fname, address);
    }
}

/* Frames of the simulator itself, and of what is before main(). */
static bool is_of_no_interest(const char *place)
{
    return strncmp(place, "sim_", 4) == 0 || strncmp(place, "cuda_runtime_api.h", 18) == 0 ||
           strncmp(place, "libc", 4) == 0 || strchr(place, ':') == NULL;
}

void sim_places_text(const struct sim_place *place, char *text, size_t text_bytes)
{
    size_t used = 0;
    int shown = 0;

    snprintf(text, text_bytes, "an unknown place");
    for (int i = 0; i < place->depth && shown < 3 && used < text_bytes; i++) {
        char one[128];
        sim_place_text(place->pc[i], one, sizeof one);
        if (!is_of_no_interest(one)) {
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s",
                                     shown > 0 ? " from " : "", one);
            shown++;
        }
    }
}

static int leak_count;
static void (*library_leaks[8])(void);
static int library_count;

void sim_on_exit(void (*leaks)(void))
{
    pthread_mutex_lock(&sim_lock);
    for (int i = 0; i < library_count; i++) {
        if (library_leaks[i] == leaks) {
            leaks = NULL;
        }
    }
    if (leaks != NULL && library_count < 8) {
        library_leaks[library_count++] = leaks;
    }
    pthread_mutex_unlock(&sim_lock);
}

void sim_leak(const struct sim_place *place, const char *format, ...)
{
    char what[256];
    char where[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    sim_places_text(place, where, sizeof where);
    fprintf(stderr, "cudasim: leaked at the end of the process: %s, made at %s\n", what, where);
    leak_count++;
}

void sim_leaks_at_exit(void)
{
    sim_stream_leaks();
    sim_graph_leaks();
    sim_memory_leaks();
    for (int i = 0; i < library_count; i++) {
        library_leaks[i]();
    }
    if (leak_count > 0) {
        fflush(NULL);
        _exit(SIM_EXIT_LEAK);
    }
}
