/*
 * data/data_wordpiece.h - the tokenizer of BERT: text to ids, as Hugging Face's
 * BertTokenizerFast makes them.
 *
 *      text ─> special tokens taken out ─> cleaned ─> words ─> pieces of the vocabulary
 *
 *      special  [PAD] [UNK] [CLS] [SEP] [MASK], as they are written, become themselves
 *      cleaned  controls, private use, U+0000 and U+FFFD dropped; white space of any kind is a
 *               blank; blanks around each CJK ideograph; accents stripped (NFD without
 *               category Mn); lower case
 *      words    parted by blanks; a punctuation character is a word of its own
 *      pieces   the longest token that begins the word, then the longest "##..." that goes on,
 *               ...; [UNK] for the word if there is none, or it has more than 100 characters
 *
 * Source: J. Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for
 * Language Understanding", NAACL 2019, and the tokenizer published with it; M. Schuster and
 * K. Nakajima, "Japanese and Korean Voice Search", ICASSP 2012, for the pieces.
 *
 * Other than there: categories are those of data_unicode_version(), where Hugging Face's
 * library has those of Unicode 8 for punctuation and marks; 570 code points of scripts that
 * came later differ. Bytes that are not UTF-8 are read as U+FFFD, so they vanish.
 *
 * Memory: the vocabulary. Threads: after data_wordpiece_open() read-only, any.
 */
#ifndef DATA_DATA_WORDPIECE_H
#define DATA_DATA_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "data/data_vocab.h"

enum {
    DATA_WORDPIECE_CHARACTERS_MAX = 100, /* of a word that is not [UNK] */
    DATA_WORDPIECE_IDS_MIN = 2,          /* [CLS] and [SEP] */
};

enum data_wordpiece_special {
    DATA_WORDPIECE_PAD,
    DATA_WORDPIECE_UNK,
    DATA_WORDPIECE_CLS,
    DATA_WORDPIECE_SEP,
    DATA_WORDPIECE_MASK,
    DATA_WORDPIECE_SPECIALS,
};

struct data_wordpiece {
    struct data_vocab *vocab; /* owned */
    bool lowers;
    bool strips_accents;
    bool splits_ideographs;
    int32_t special_ids[DATA_WORDPIECE_SPECIALS]; /* of MASK -1 if the vocabulary lacks it */
};

/*
 * Reads vocab.txt of `folder`, or what it lacks from tokenizer.json there, and how it cleans:
 *
 *      tokenizer_config.json      tokenizer.json         if neither has it
 *      do_lower_case              normalizer.lowercase              true
 *      strip_accents              normalizer.strip_accents          null: as lower case
 *      tokenize_chinese_chars     normalizer.handle_chinese_chars   true
 *
 * The caller owns *tokenizer_out and ends it with data_wordpiece_close(). Errors, each naming
 * the file, what was found and what was expected: ERR_MISSING; ERR_IO; ERR_CORRUPT (no JSON,
 * of another type, a special token other than [MASK] is not in the vocabulary);
 * ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err data_wordpiece_open(const char *folder,
                                            struct data_wordpiece **tokenizer_out);

/* Frees a tokenizer. NULL is allowed. */
void data_wordpiece_close(struct data_wordpiece *tokenizer);

/*
 * [CLS], the ids of `text` as far as there is room, [SEP]. Returns how many that are. Cannot
 * fail, and allocates nothing.
 *
 * text     text_bytes bytes of any kind, 0 and NUL included
 * ids_out  [ids_max]  ids_max >= DATA_WORDPIECE_IDS_MIN
 *
 * Cost: a third of a microsecond a word of English; what comes after the last id that has room is not read.
 */
int64_t data_wordpiece_encode(const struct data_wordpiece *tokenizer, const char *text,
                              size_t text_bytes, int32_t *ids_out, int64_t ids_max);

#endif
