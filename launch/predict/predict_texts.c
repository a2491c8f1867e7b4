/* Texts to be predicted, a portion at a time, so that memory does not grow with their number. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/predict/predict_input_priv.h"

/* Texts of a portion, in batches: those of like length share one. Of standard input a batch, lest somebody waits. */
enum { PORTION_BATCHES = 32 };

static bool ends_with(const char *name, size_t bytes, const char *end)
{
    const size_t end_bytes = strlen(end);

    return bytes >= end_bytes && memcmp(name + bytes - end_bytes, end, end_bytes) == 0;
}

static enum data_records_kind kind_of(const struct predict_source *source, const char *path)
{
    size_t bytes = strlen(path);

    switch (source->format) {
    case PREDICT_LINES: return DATA_RECORDS_LINES;
    case PREDICT_TSV: return DATA_RECORDS_TSV;
    case PREDICT_JSONL: return DATA_RECORDS_JSONL;
    default: break;
    }
    if (ends_with(path, bytes, ".gz")) {
        bytes -= strlen(".gz");
    }
    if (ends_with(path, bytes, ".tsv")) {
        return DATA_RECORDS_TSV;
    }
    return ends_with(path, bytes, ".jsonl") || ends_with(path, bytes, ".ndjson")
               ? DATA_RECORDS_JSONL
               : DATA_RECORDS_LINES;
}

static enum err open_next(struct predict_input *input)
{
    const struct predict_source *source = input->source;
    const bool has_header = source->network->options.text_header;
    const char *path = source->inputs[input->next++];
    struct stat status;

    if (strcmp(path, "-") != 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        return data_records_open(path, "test", has_header, &input->texts.records);
    }
    return data_records_open_file(path, kind_of(source, path), has_header, &input->texts.records);
}

static enum err no_room(const struct predict_texts *texts)
{
    return ERR_FAIL(ERR_NO_MEMORY, "%" PRId64 " texts of %" PRId64 " tokens", texts->count,
                    texts->token_count);
}

static enum err make_room(struct predict_texts *texts)
{
    if (texts->count == texts->room) {
        const size_t room = (size_t)(2 * texts->room + 64);
        int64_t *ends = realloc(texts->ends, room * sizeof(*ends));
        texts->ends = ends == NULL ? texts->ends : ends;
        int32_t *labels = realloc(texts->labels, room * sizeof(*labels));
        texts->labels = labels == NULL ? texts->labels : labels;
        struct predict_id *ids = realloc(texts->ids, room * sizeof(*ids));
        texts->ids = ids == NULL ? texts->ids : ids;
        if (ends == NULL || labels == NULL || ids == NULL) {
            return no_room(texts);
        }
        texts->room = (int64_t)room;
    }
    if (texts->token_room - texts->token_count < texts->tokens_max) {
        const int64_t room = 2 * texts->token_room + texts->tokens_max;
        int32_t *tokens = realloc(texts->tokens, (size_t)room * sizeof(*tokens));
        if (tokens == NULL) {
            return no_room(texts);
        }
        texts->tokens = tokens;
        texts->token_room = room;
    }
    return ERR_OK;
}

static enum err take_id(struct predict_texts *texts, const struct data_record *record)
{
    struct predict_id *id = &texts->ids[texts->count];

    *id = (struct predict_id){0};
    if (!record->has_id) {
        return ERR_OK;
    }
    texts->has_ids = true;
    if (record->id.text == NULL) {
        *id = (struct predict_id){.kind = PREDICT_ID_NUMBER, .number = record->id.number};
        return ERR_OK;
    }
    *id = (struct predict_id){.kind = PREDICT_ID_TEXT, .text = strdup(record->id.text)};
    return id->text == NULL ? no_room(texts) : ERR_OK;
}

static enum err add(struct predict_input *input, const struct data_record *record)
{
    struct predict_texts *texts = &input->texts;
    int64_t count = 0;

    ERR_TRY(make_room(texts));
    texts->labels[texts->count] = PREDICT_NO_LABEL;
    if (record->has_label) {
        ERR_TRY(data_labels_find(input->labels, record, data_records_path(texts->records),
                                 &texts->labels[texts->count]));
    }
    int32_t *tokens = texts->tokens + texts->token_count;
    ERR_TRY(data_tokenizer_encode(input->tokenizer, record->text, record->text_bytes, tokens,
                                  texts->tokens_max, &count));
    if (count == 0) {
        tokens[count++] = input->tokenizer->pad_id;
    }
    ERR_TRY(take_id(texts, record));
    texts->token_count += count;
    texts->ends[texts->count++] = texts->token_count;
    return ERR_OK;
}

static enum err make_set(struct predict_input *input)
{
    const struct predict_texts *texts = &input->texts;
    int64_t before = 0;

    ERR_TRY(data_set_open_blank_text(texts->count, texts->token_count,
                                     input->source->network->whole.num_labels, &input->set));
    struct data_set *set = input->set;
    memcpy(set->offsets + 1, texts->ends, (size_t)texts->count * sizeof(int64_t));
    memcpy(set->tokens, texts->tokens, (size_t)texts->token_count * sizeof(int32_t));
    memcpy(set->labels, texts->labels, (size_t)texts->count * sizeof(int32_t));
    set->pad_id = input->tokenizer->pad_id;
    for (int64_t i = 0; i < texts->count; i++) {
        const int64_t length = texts->ends[i] - before;
        set->tokens_max = length > set->tokens_max ? length : set->tokens_max;
        before = texts->ends[i];
    }
    return ERR_OK;
}

static void forget(struct predict_texts *texts)
{
    for (int64_t i = 0; i < texts->count; i++) {
        if (texts->ids[i].kind == PREDICT_ID_TEXT) {
            free(texts->ids[i].text);
        }
    }
    texts->count = texts->token_count = 0;
    texts->has_ids = false;
}

enum err predict_texts_next(struct predict_input *input)
{
    const struct predict_source *source = input->source;
    struct predict_texts *texts = &input->texts;
    struct data_record record;
    bool is_there = false, is_slow = false;

    forget(texts);
    while (texts->count < source->batch * (is_slow ? 1 : PORTION_BATCHES) &&
           texts->count < source->samples_max - input->done) {
        if (texts->records == NULL && input->next == source->input_count) {
            break;
        }
        if (texts->records == NULL) {
            ERR_TRY(open_next(input));
        }
        is_slow = strcmp(source->inputs[input->next - 1], "-") == 0;
        if (is_slow && texts->count >= source->batch) {
            break; /* of a file before it there are enough */
        }
        ERR_TRY(data_records_next(texts->records, &record, &is_there));
        if (is_there) {
            ERR_TRY(add(input, &record));
        } else {
            data_records_close(texts->records);
            texts->records = NULL;
        }
    }
    return texts->count == 0 ? ERR_OK : make_set(input);
}

void predict_texts_close(struct predict_texts *texts)
{
    forget(texts);
    data_records_close(texts->records);
    free(texts->ends);
    free(texts->labels);
    free(texts->ids);
    free(texts->tokens);
    *texts = (struct predict_texts){0};
}
