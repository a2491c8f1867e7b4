#include "data/data_tokenizer.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/jdoc.h"
#include "data/data_file.h"
#include "data/data_vocab_file.h"

/* Plain or gzip; what cannot be looked at is for the reader to find out. */
static bool has_file(const char *folder, const char *name)
{
    char path[DATA_FILE_PATH_BYTES_MAX];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (file_exists(path)) {
        return true;
    }
    snprintf(path, sizeof(path), "%s/%s.gz", folder, name);
    return file_exists(path);
}

static enum err find_kind(const char *folder, bool *is_bpe_out)
{
    struct jdoc *json = NULL;

    if (has_file(folder, "vocab.txt") || has_file(folder, "vocab.json")) {
        *is_bpe_out = !has_file(folder, "vocab.txt");
        return ERR_OK;
    }
    ERR_TRY(data_vocab_read_json(folder, DATA_TOKENIZER_JSON, &json));
    if (json == NULL) {
        return ERR_FAIL(ERR_MISSING,
                        "%s: no tokenizer: expected vocab.txt (BERT), vocab.json and merges.txt "
                        "(GPT-2), or tokenizer.json",
                        folder);
    }
    const char *type = jdoc_as_text(jdoc_get(jdoc_get(json, "model"), "type"));
    *is_bpe_out = type != NULL && strcmp(type, "BPE") == 0;
    jdoc_close(json);
    return ERR_OK;
}

enum err data_tokenizer_open(const char *folder, struct data_tokenizer **tokenizer_out)
{
    enum err status = ERR_OK;
    bool is_bpe = false;

    assert(folder != NULL && tokenizer_out != NULL);
    ERR_TRY(find_kind(folder, &is_bpe));
    struct data_tokenizer *tokenizer = calloc(1, sizeof(*tokenizer));
    if (tokenizer == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a tokenizer");
    }
    status = is_bpe ? data_bpe_open(folder, &tokenizer->bpe)
                    : data_wordpiece_open(folder, &tokenizer->wordpiece);
    if (status != ERR_OK) {
        data_tokenizer_close(tokenizer);
        return status;
    }
    if (is_bpe) {
        tokenizer->vocab_count = data_vocab_count(tokenizer->bpe->vocab);
        tokenizer->pad_id = tokenizer->bpe->end_id >= 0 ? tokenizer->bpe->end_id : 0;
    } else {
        tokenizer->vocab_count = data_vocab_count(tokenizer->wordpiece->vocab);
        tokenizer->pad_id = tokenizer->wordpiece->special_ids[DATA_WORDPIECE_PAD];
    }
    *tokenizer_out = tokenizer;
    return ERR_OK;
}

void data_tokenizer_close(struct data_tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    data_wordpiece_close(tokenizer->wordpiece);
    data_bpe_close(tokenizer->bpe);
    free(tokenizer);
}

enum err data_tokenizer_encode(const struct data_tokenizer *tokenizer, const char *text,
                               size_t text_bytes, int32_t *ids_out, int64_t ids_max,
                               int64_t *count_out)
{
    if (tokenizer->bpe != NULL) {
        return data_bpe_encode(tokenizer->bpe, text, text_bytes, ids_out, ids_max, count_out);
    }
    *count_out = data_wordpiece_encode(tokenizer->wordpiece, text, text_bytes, ids_out, ids_max);
    return ERR_OK;
}
