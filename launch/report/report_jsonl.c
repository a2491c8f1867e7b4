#include "launch/report/report_jsonl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "comm/base/file.h"

static size_t count_lines(const struct file_map *map)
{
    const char *at = (const char *)map->bytes, *end = at + map->count;
    size_t count = 0;

    for (; at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) {
        count++;
    }
    return count;
}

static enum err read_line(const char *text, size_t length, const char *path, size_t number,
                          struct jdoc *lines)
{
    struct jdoc *line = NULL;
    char what[FILE_PATH_BYTES_MAX + 32];

    snprintf(what, sizeof(what), "%s, line %zu of the file", path, number);
    ERR_TRY(jdoc_parse(text, length, what, &line));
    if (!jdoc_is_object(line)) {
        jdoc_close(line);
        return ERR_FAIL(ERR_CORRUPT, "%s: no JSON object", what);
    }
    jdoc_append(lines, line);
    return ERR_OK;
}

enum err report_jsonl_read(const char *path, size_t lines_max, struct jdoc **lines_out,
                           size_t *every_out)
{
    struct file_map map;
    enum err status = ERR_OK;

    assert(lines_max > 0);
    ERR_TRY(file_map(path, &map));
    const size_t count = count_lines(&map);
    const size_t every = count == 0 ? 1 : 1 + (count - 1) / lines_max;
    const char *at = (const char *)map.bytes;
    struct jdoc *lines = jdoc_array();
    for (size_t i = 0; i < count && status == ERR_OK; i++) {
        const char *end = memchr(at, '\n', map.count - (size_t)(at - (const char *)map.bytes));
        if ((count - 1 - i) % every == 0) {
            status = read_line(at, (size_t)(end - at), path, i + 1, lines);
        }
        at = end + 1;
    }
    file_unmap(&map);
    if (status != ERR_OK) {
        jdoc_close(lines);
        return status;
    }
    *lines_out = lines;
    *every_out = every;
    return ERR_OK;
}
