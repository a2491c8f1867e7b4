#include "data/data_vocab_file.h"

#include <string.h>

#include "data/data_file.h"
#include "data/data_vocab.h"

enum err data_vocab_read_json(const char *folder, const char *name, struct jdoc **doc_out)
{
    struct data_file *file = NULL;
    struct jdoc *doc = NULL;

    const enum err found = data_file_open(folder, name, DATA_VOCAB_FILE_BYTES_MAX, "", &file);
    if (found == ERR_MISSING) {
        err_clear();
        *doc_out = NULL;
        return ERR_OK;
    }
    ERR_TRY(found);
    enum err status = jdoc_parse((const char *)file->bytes, file->count, file->path, &doc);
    if (status == ERR_OK && !jdoc_is_object(doc)) {
        status = ERR_FAIL(ERR_CORRUPT, "%s: expected a JSON object", file->path);
        jdoc_close(doc);
    }
    data_file_close(file);
    ERR_TRY(status);
    *doc_out = doc;
    return ERR_OK;
}

enum err data_vocab_need_model(const struct jdoc *model, const char *type, const char *folder)
{
    const char *found = NULL;

    ERR_TRY_AS(jdoc_need_text(model, "type", "model", &found), "%s/%s", folder,
               DATA_TOKENIZER_JSON);
    if (strcmp(found, type) != 0) {
        return ERR_FAIL(ERR_CORRUPT, "%s/%s: model.type is %.40s, expected %s", folder,
                        DATA_TOKENIZER_JSON, found, type);
    }
    return ERR_OK;
}
