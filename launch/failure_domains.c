#define _DEFAULT_SOURCE
#include "launch/failure_domains.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "comm/base/hash.h"

enum { WORDS = 2, HOST_BYTES = 256 };

struct word {
    const char *text;
    size_t length;
};

struct entry {
    struct word host, domain;
    int line;
};

static int compare_words(struct word a, struct word b)
{
    const int order = memcmp(a.text, b.text, a.length < b.length ? a.length : b.length);

    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

static int by_host(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const int order = compare_words(x->host, y->host);

    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Words of a line without its comment, up to one more than there should be. */
static int split(const char *at, const char *end, struct word words[WORDS + 1])
{
    int count = 0;

    while (at < end && count <= WORDS) {
        while (at < end && is_blank(*at)) {
            at++;
        }
        const char *begin = at;
        while (at < end && !is_blank(*at)) {
            at++;
        }
        if (at > begin) {
            words[count++] = (struct word){begin, (size_t)(at - begin)};
        }
    }
    return count;
}

/* entries [as many as the text has lines] */
static enum err read_lines(const char *text, size_t text_bytes, const char *path,
                           struct entry *entries, size_t *count_out)
{
    const char *const end = text + text_bytes;
    size_t count = 0;
    int line = 0;

    for (const char *at = text; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline == NULL ? end : newline;
        const char *comment = memchr(at, '#', (size_t)(next - at));
        struct word words[WORDS + 1];
        line++;
        const int found = split(at, comment == NULL ? next : comment, words);
        if (found != 0 && found != WORDS) {
            return ERR_FAIL(ERR_CONFIG, "%s: line %d: \"%.*s\" is not HOST DOMAIN", path, line,
                            (int)(next - at < 60 ? next - at : 60), at);
        }
        if (found == WORDS) {
            entries[count++] = (struct entry){words[0], words[1], line};
        }
        at = next + (newline != NULL);
    }
    *count_out = count;
    return ERR_OK;
}

/* entries [count] by host: neighbours are all there is to compare. */
static enum err check_hosts(const struct entry *entries, size_t count, const char *path)
{
    for (size_t i = 1; i < count; i++) {
        const struct entry *a = &entries[i - 1], *b = &entries[i];
        if (compare_words(a->host, b->host) == 0 && compare_words(a->domain, b->domain) != 0) {
            return ERR_FAIL(ERR_CONFIG, "%s: line %d: %.*s is in %.*s, and in %.*s by line %d",
                            path, b->line, (int)b->host.length, b->host.text, (int)b->domain.length,
                            b->domain.text, (int)a->domain.length, a->domain.text, a->line);
        }
    }
    return ERR_OK;
}

static uint64_t find(const struct entry *entries, size_t count, const char *const *names,
                     int name_count)
{
    for (int n = 0; n < name_count; n++) {
        const struct word name = {names[n], strlen(names[n])};
        for (size_t i = 0; i < count; i++) {
            if (compare_words(entries[i].host, name) == 0) {
                const uint64_t domain =
                    hash_bytes(entries[i].domain.text, entries[i].domain.length).low;
                return domain != 0 ? domain : 1;
            }
        }
    }
    return 0;
}

enum err failure_domains_parse(const char *text, size_t text_bytes, const char *path,
                               const char *const *names, int name_count, uint64_t *domain_out)
{
    size_t lines = 1, count = 0;

    for (size_t i = 0; i < text_bytes; i++) {
        lines += text[i] == '\n';
    }
    struct entry *entries = calloc(lines, sizeof(*entries));
    if (entries == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%s: %zu lines", path, lines);
    }
    enum err status = read_lines(text, text_bytes, path, entries, &count);
    if (status == ERR_OK) {
        qsort(entries, count, sizeof(*entries), by_host);
        status = check_hosts(entries, count, path);
    }
    if (status == ERR_OK) {
        *domain_out = find(entries, count, names, name_count);
    }
    free(entries);
    return status;
}

/* The first rank whose host is not named speaks for all of them. */
static enum err tell_unnamed(struct comm_group *world, const char *path, const char *host,
                             bool is_named, int64_t deadline_ms)
{
    const int size = comm_size(world), rank = comm_rank(world);
    bool *named = calloc((size_t)size, sizeof(*named));
    int first = size, count = 0;

    if (named == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "domains of %d ranks", size);
    }
    named[rank] = is_named;
    const enum err status = comm_allgather(world, named, sizeof(*named), deadline_ms);
    for (int r = size - 1; r >= 0 && status == ERR_OK; r--) {
        first = named[r] ? first : r;
        count += !named[r];
    }
    free(named);
    if (status == ERR_OK && rank == first) {
        fprintf(stderr,
                "offramp: %s does not name %s, where rank %d of %d unnamed ranks runs: each such "
                "node counts as a domain of its own\n",
                path, host, rank, count);
    }
    return status;
}

enum err failure_domains_of_node(struct comm_group *world, const char *path, const char *folder,
                                 int64_t deadline_ms, uint64_t *domain_out)
{
    char host[HOST_BYTES] = "", part[HOST_BYTES];
    const char *slash = strrchr(folder, '/');
    struct file_map map;
    uint64_t domain = 0;

    if (path[0] == '\0') {
        *domain_out = 0;
        return ERR_OK;
    }
    gethostname(host, sizeof(host) - 1);
    snprintf(part, sizeof(part), "%.*s", (int)strcspn(host, "."), host);
    const char *const names[] = {slash == NULL ? folder : slash + 1, host, part};
    ERR_TRY_AS(file_map(path, &map), "failure_domains");
    const enum err status = failure_domains_parse((const char *)map.bytes, map.count, path, names,
                                                  sizeof(names) / sizeof(names[0]), &domain);
    file_unmap(&map);
    ERR_TRY_AS(status, "failure_domains");
    ERR_TRY(tell_unnamed(world, path, host, domain != 0, deadline_ms));
    *domain_out = domain;
    return ERR_OK;
}
