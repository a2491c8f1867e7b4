#include "data/data_text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/data_labels.h"
#include "data/data_records.h"
#include "data/data_tokenizer.h"

enum { FIRST_SAMPLES = 4096, FIRST_TOKENS = 65536 };

/* A set while it is read: arrays that grow, as only the end of the file tells their size. */
struct growing {
    int64_t *ends;   /* [sample_room] where text i ends in `tokens` */
    int32_t *labels; /* [sample_room] */
    int64_t sample_count, sample_room;
    int32_t *tokens; /* [token_room] */
    int64_t token_count, token_room;
    int64_t tokens_max; /* of the longest */
};

static enum err no_room(const struct growing *growing)
{
    return ERR_FAIL(ERR_NO_MEMORY, "a set of more than %" PRId64 " texts and %" PRId64 " tokens",
                    growing->sample_count, growing->token_count);
}

/* Makes room for one more sample, of up to `tokens_max` tokens. */
static enum err make_room(struct growing *growing, int64_t tokens_max)
{
    if (growing->sample_count == growing->sample_room) {
        const int64_t room = 2 * growing->sample_room + FIRST_SAMPLES;
        int64_t *ends = realloc(growing->ends, (size_t)room * sizeof(*ends));
        growing->ends = ends == NULL ? growing->ends : ends;
        int32_t *labels = realloc(growing->labels, (size_t)room * sizeof(*labels));
        growing->labels = labels == NULL ? growing->labels : labels;
        if (ends == NULL || labels == NULL) {
            return no_room(growing);
        }
        growing->sample_room = room;
    }
    if (growing->token_room - growing->token_count < tokens_max) {
        const int64_t room = 2 * growing->token_room + tokens_max + FIRST_TOKENS;
        int32_t *tokens = realloc(growing->tokens, (size_t)room * sizeof(*tokens));
        if (tokens == NULL) {
            return no_room(growing);
        }
        growing->tokens = tokens;
        growing->token_room = room;
    }
    return ERR_OK;
}

static enum err add_record(struct growing *growing, const struct data_set_source *source,
                           const struct data_labels *labels, const struct data_record *record,
                           const char *path)
{
    int64_t count = 0;

    if (growing->sample_count == UINT32_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "%s: line %" PRId64 ": more than %" PRIu32 " texts", path,
                        record->line, UINT32_MAX);
    }
    ERR_TRY(make_room(growing, source->tokens_max));
    ERR_TRY(data_labels_find(labels, record, path, &growing->labels[growing->sample_count]));
    int32_t *tokens = growing->tokens + growing->token_count;
    ERR_TRY(data_tokenizer_encode(source->tokenizer, record->text, record->text_bytes, tokens,
                                  source->tokens_max, &count));
    if (count == 0) {
        tokens[count++] = source->tokenizer->pad_id;
    }
    growing->token_count += count;
    growing->tokens_max = count > growing->tokens_max ? count : growing->tokens_max;
    growing->ends[growing->sample_count++] = growing->token_count;
    return ERR_OK;
}

static enum err read_all(struct growing *growing, const struct data_set_source *source,
                         const struct data_labels *labels, struct data_records *records)
{
    struct data_record record;
    bool is_there = true;

    for (;;) {
        ERR_TRY(data_records_next(records, &record, &is_there));
        if (!is_there) {
            break;
        }
        ERR_TRY(add_record(growing, source, labels, &record, data_records_path(records)));
    }
    if (growing->sample_count == 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s: no text in it, expected at least one",
                        data_records_path(records));
    }
    return ERR_OK;
}

/* The set, which takes the names of the classes over. */
static enum err make_set(const struct growing *growing, struct data_labels *labels, int32_t pad_id,
                         struct data_set **set_out)
{
    struct data_set *set = NULL;

    ERR_TRY(
        data_set_open_blank_text(growing->sample_count, growing->token_count, labels->count, &set));
    memcpy(set->offsets + 1, growing->ends, (size_t)growing->sample_count * sizeof(int64_t));
    memcpy(set->tokens, growing->tokens, (size_t)growing->token_count * sizeof(int32_t));
    memcpy(set->labels, growing->labels, (size_t)growing->sample_count * sizeof(int32_t));
    set->tokens_max = growing->tokens_max;
    set->pad_id = pad_id;
    set->class_names = labels->names;
    labels->names = NULL;
    *set_out = set;
    return ERR_OK;
}

enum err data_text_open(const struct data_set_source *source, struct data_set **set_out)
{
    struct data_labels *labels = NULL;
    struct data_records *records = NULL;
    struct growing growing = {0};
    enum err status = ERR_OK;

    assert(source != NULL && source->format == DATA_TEXT && source->tokenizer != NULL);
    if (source->tokens_max < DATA_WORDPIECE_IDS_MIN || source->tokens_max > DATA_TOKENS_MAX) {
        return ERR_FAIL(ERR_INVALID, "a text of up to %" PRId64 " tokens, expected %d to %d",
                        source->tokens_max, DATA_WORDPIECE_IDS_MIN, DATA_TOKENS_MAX);
    }
    ERR_TRY(data_labels_open(source->folder, source->has_header, &labels));
    ERR_GOTO(close_all, status,
             data_records_open(source->folder, source->part == DATA_TRAIN ? "train" : "test",
                               source->has_header, &records));
    ERR_GOTO(close_all, status, read_all(&growing, source, labels, records));
    ERR_GOTO(close_all, status, make_set(&growing, labels, source->tokenizer->pad_id, set_out));

close_all:
    free(growing.tokens);
    free(growing.labels);
    free(growing.ends);
    data_records_close(records);
    data_labels_close(labels);
    return status;
}
