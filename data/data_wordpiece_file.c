#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/jdoc.h"
#include "data/data_file.h"
#include "data/data_vocab_file.h"
#include "data/data_wordpiece_priv.h"

const char *const data_wordpiece_special_names[DATA_WORDPIECE_SPECIALS] = {
    [DATA_WORDPIECE_PAD] = "[PAD]",   [DATA_WORDPIECE_UNK] = "[UNK]",
    [DATA_WORDPIECE_CLS] = "[CLS]",   [DATA_WORDPIECE_SEP] = "[SEP]",
    [DATA_WORDPIECE_MASK] = "[MASK]",
};

static const char CONFIG[] = "tokenizer_config.json";

/* Sets *value_out if the key is there and not null. */
static enum err read_switch(const struct jdoc *object, const char *key, const char *what,
                            bool *is_set_out, bool *value_out)
{
    const struct jdoc *value = jdoc_get(object, key);

    if (*is_set_out || value == NULL || jdoc_is_null(value)) {
        return ERR_OK;
    }
    if (!jdoc_is_bool(value)) {
        return ERR_FAIL(ERR_CORRUPT, "%s: %s: expected true, false or null", what, key);
    }
    *is_set_out = true;
    *value_out = jdoc_is_true(value);
    return ERR_OK;
}

/* How text is cleaned: from `config`, or else `normalizer`; each may be NULL. */
static enum err read_switches(const struct jdoc *config, const struct jdoc *normalizer,
                              struct data_wordpiece *tokenizer)
{
    const struct {
        const char *config_key, *normalizer_key;
        bool *value;
    } switches[] = {
        {"do_lower_case", "lowercase", &tokenizer->lowers},
        {"strip_accents", "strip_accents", &tokenizer->strips_accents},
        {"tokenize_chinese_chars", "handle_chinese_chars", &tokenizer->splits_ideographs},
    };

    tokenizer->lowers = true;
    tokenizer->splits_ideographs = true;
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        bool is_set = false;
        ERR_TRY(read_switch(config, switches[i].config_key, CONFIG, &is_set, switches[i].value));
        ERR_TRY(read_switch(normalizer, switches[i].normalizer_key, DATA_TOKENIZER_JSON, &is_set,
                            switches[i].value));
        if (!is_set && switches[i].value == &tokenizer->strips_accents) {
            tokenizer->strips_accents = tokenizer->lowers;
        }
    }
    return ERR_OK;
}

static enum err read_cleaning(const char *folder, const struct jdoc *config,
                              const struct jdoc *json, struct data_wordpiece *tokenizer)
{
    ERR_TRY_AS(read_switches(config, jdoc_get(json, "normalizer"), tokenizer), "%s", folder);
    return ERR_OK;
}

static enum err find_specials(struct data_wordpiece *tokenizer, const char *what)
{
    for (int i = 0; i < DATA_WORDPIECE_SPECIALS; i++) {
        const char *name = data_wordpiece_special_names[i];
        tokenizer->special_ids[i] = data_vocab_find(tokenizer->vocab, name, strlen(name));
        if (tokenizer->special_ids[i] < 0 && i != DATA_WORDPIECE_MASK) {
            return ERR_FAIL(ERR_CORRUPT,
                            "%s: %s is none of its %" PRId64
                            " tokens, expected a vocabulary of BERT",
                            what, name, data_vocab_count(tokenizer->vocab));
        }
    }
    return ERR_OK;
}

static enum err read_vocab(const char *folder, const struct jdoc *json,
                           struct data_wordpiece *tokenizer)
{
    struct data_file *file = NULL;
    const struct jdoc *model = jdoc_get(json, "model");

    const enum err missing = data_file_open(
        folder, "vocab.txt", DATA_VOCAB_FILE_BYTES_MAX,
        "expected the folder of a BERT model, with vocab.txt or tokenizer.json", &file);
    if (missing == ERR_MISSING && model != NULL) {
        err_clear();
        ERR_TRY(data_vocab_need_model(model, "WordPiece", folder));
        ERR_TRY_AS(data_vocab_add_object(tokenizer->vocab, jdoc_get(model, "vocab"), "model.vocab"),
                   "%s/%s", folder, DATA_TOKENIZER_JSON);
        return find_specials(tokenizer, folder);
    }
    ERR_TRY(missing);
    enum err status =
        data_vocab_add_lines(tokenizer->vocab, (const char *)file->bytes, file->count, file->path);
    if (status == ERR_OK) {
        status = find_specials(tokenizer, file->path);
    }
    data_file_close(file);
    return status;
}

enum err data_wordpiece_open(const char *folder, struct data_wordpiece **tokenizer_out)
{
    struct jdoc *config = NULL;
    struct jdoc *json = NULL;
    enum err status = ERR_OK;

    assert(folder != NULL && tokenizer_out != NULL);
    struct data_wordpiece *tokenizer = calloc(1, sizeof(*tokenizer));
    if (tokenizer == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a tokenizer");
    }
    ERR_GOTO(close_tokenizer, status, data_vocab_open(&tokenizer->vocab));
    ERR_GOTO(close_tokenizer, status, data_vocab_read_json(folder, CONFIG, &config));
    ERR_GOTO(close_tokenizer, status, data_vocab_read_json(folder, DATA_TOKENIZER_JSON, &json));
    ERR_GOTO(close_tokenizer, status, read_vocab(folder, json, tokenizer));
    ERR_GOTO(close_tokenizer, status, read_cleaning(folder, config, json, tokenizer));
    *tokenizer_out = tokenizer;
    tokenizer = NULL;

close_tokenizer:
    jdoc_close(json);
    jdoc_close(config);
    data_wordpiece_close(tokenizer);
    return status;
}

void data_wordpiece_close(struct data_wordpiece *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    data_vocab_close(tokenizer->vocab);
    free(tokenizer);
}
