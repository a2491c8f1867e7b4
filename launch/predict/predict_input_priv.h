/* launch/predict/predict_input_priv.h - what the readers of inputs share. */
#ifndef LAUNCH_PREDICT_PREDICT_INPUT_PRIV_H
#define LAUNCH_PREDICT_PREDICT_INPUT_PRIV_H

#include "data/data_labels.h"
#include "data/data_records.h"
#include "data/data_tokenizer.h"
#include "launch/predict/predict_input.h"

/* Texts of a portion, while they are read and until the next: arrays that grow. */
struct predict_texts {
    struct data_records *records; /* of the input under way; NULL: none is */
    int64_t tokens_max;           /* a text is cut to so many */
    int64_t count, room;
    int64_t *ends;          /* [room] where text i ends in `tokens` */
    int32_t *labels;        /* [room] */
    struct predict_id *ids; /* [room] */
    bool has_ids;
    int32_t *tokens;
    int64_t token_count, token_room;
};

struct predict_input {
    const struct predict_source *source;
    struct options_run *run; /* what its settings lend; NULL: config.resolved.yaml is not there */
    const char *data_dir;    /* NULL: not known */
    struct data_labels *labels;
    struct data_normal normal;        /* of images */
    struct data_tokenizer *tokenizer; /* of texts; NULL: images */
    struct predict_texts texts;
    struct data_set *set; /* of the portion */
    int next;             /* input */
    int64_t done;         /* samples of portions so far */
};

/* The set of the input `source->inputs[input->next]`, and of those behind it that belong to it. */
ERR_MUST_CHECK enum err predict_images_next(struct predict_input *input);

/* The next texts, of one input or of several, into input->set; NULL at the end. */
ERR_MUST_CHECK enum err predict_texts_next(struct predict_input *input);
void predict_texts_close(struct predict_texts *texts);

#endif
