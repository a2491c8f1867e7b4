#include "launch/incarnation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char INCARNATION_FILE[] = "incarnation";
static const char VARIABLE[] = "OFFRAMP_INCARNATION";

enum { TRIES_MAX = 3 }; /* two may be other people's kills */

enum err incarnation_path(const char *output_dir, char path[FILE_PATH_BYTES_MAX])
{
    return file_path(path, output_dir, INCARNATION_FILE);
}

/* A whole number from 1 in `text`, that has a next one; 0 for anything else. */
static uint64_t number_in(const char *text)
{
    char *end = NULL;

    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    const bool is_number = text[0] >= '0' && text[0] <= '9' && errno == 0 && number < UINT64_MAX;
    return is_number && *end == '\0' ? number : 0;
}

/*
 * What the folder says; number 0 if it has said nothing yet. One that cannot be read is not the
 * same: a first start takes what is in memory for another run's.
 */
static enum err read_last(const char *output_dir, struct incarnation *last_out)
{
    struct incarnation last = {.tried = -1};
    char path[FILE_PATH_BYTES_MAX];
    char text[96] = "";
    struct file_map map;

    *last_out = last;
    ERR_TRY(incarnation_path(output_dir, path));
    const enum err status = file_map(path, &map);
    if (status == ERR_MISSING) {
        err_clear();
        return ERR_OK;
    }
    ERR_TRY(status);
    memcpy(text, map.bytes, map.count < sizeof(text) ? map.count : sizeof(text) - 1);
    file_unmap(&map);
    if (sscanf(text, "%" SCNu64 " %" SCNd64 " %d", &last.number, &last.tried, &last.tries) != 3 ||
        last.number == 0 || last.number == UINT64_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: no number from 1, step and tries are in it", path);
    }
    *last_out = last;
    return ERR_OK;
}

enum err incarnation_last(const char *output_dir, uint64_t *number_out)
{
    struct incarnation last;

    ERR_TRY(read_last(output_dir, &last));
    *number_out = last.number;
    return ERR_OK;
}

static enum err write_line(const char *output_dir, const struct incarnation *incarnation)
{
    char path[FILE_PATH_BYTES_MAX];
    char text[96];

    ERR_TRY(incarnation_path(output_dir, path));
    snprintf(text, sizeof(text), "%" PRIu64 " %" PRId64 " %d\n", incarnation->number,
             incarnation->tried, incarnation->tries);
    return file_write_text(path, text);
}

static enum err choose(const char *output_dir, struct incarnation *incarnation)
{
    const char *given = getenv(VARIABLE);
    struct incarnation last;

    ERR_TRY(read_last(output_dir, &last));
    *incarnation = (struct incarnation){
        .number = last.number + 1,
        .is_first = last.number == 0,
        .tried = last.tried,
        .tries = last.tries,
        .set_aside = last.tries >= TRIES_MAX && last.tried > 0 ? last.tried : -1};
    if (given == NULL || given[0] == '\0') {
        return ERR_OK;
    }
    incarnation->number = number_in(given);
    incarnation->fences = true;
    if (incarnation->number <= last.number) {
        return ERR_FAIL(ERR_CONFIG,
                        "%s is '%s', expected a number above %" PRIu64 ", the last start of %s",
                        VARIABLE, given, last.number, output_dir);
    }
    return ERR_OK;
}

enum err incarnation_next(struct comm_group *world, const char *output_dir, int64_t deadline_ms,
                          struct incarnation *incarnation_out)
{
    struct incarnation incarnation = {0};
    int64_t ignored = 0;

    if (comm_rank(world) == 0) {
        ERR_TRY(choose(output_dir, &incarnation));
    }
    ERR_TRY(comm_agree_max(world, 0, deadline_ms, &ignored)); /* rank 0 may have failed */
    ERR_TRY(comm_broadcast(world, &incarnation, sizeof(incarnation), 0, deadline_ms));
    *incarnation_out = incarnation;
    return ERR_OK;
}

enum err incarnation_claim(const char *output_dir, struct incarnation *incarnation, int64_t step)
{
    incarnation->tries = incarnation->tried == step ? incarnation->tries + 1 : 1;
    incarnation->tried = step;
    return write_line(output_dir, incarnation);
}

enum err incarnation_succeed(const char *output_dir, struct incarnation *incarnation)
{
    if (incarnation->tried < 0) {
        return ERR_OK;
    }
    incarnation->tried = -1;
    incarnation->tries = 0;
    return write_line(output_dir, incarnation);
}

enum err incarnation_check(const char *output_dir, uint64_t number)
{
    struct incarnation last;

    ERR_TRY(read_last(output_dir, &last));
    if (last.number > number) {
        return ERR_FAIL(ERR_CONFIG,
                        "start %" PRIu64 " of %s has taken over, this is start %" PRIu64,
                        last.number, output_dir, number);
    }
    return ERR_OK;
}
