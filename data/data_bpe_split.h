/*
 * data/data_bpe_split.h - the words that GPT-2's byte-pair encoding works within.
 *
 * What the regular expression published with GPT-2 matches, one match after the other:
 *
 *      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * A blank belongs to the word that it precedes; of more white space before a word the last
 * character is left for it. Every byte is in one word: nothing is dropped.
 *
 * Threads: any. Memory: none.
 */
#ifndef DATA_DATA_BPE_SPLIT_H
#define DATA_DATA_BPE_SPLIT_H

#include <stddef.h>

/*
 * Where the word ends that begins at `at` < text_bytes: beyond `at`, at most text_bytes.
 * Bytes that are not UTF-8 count as U+FFFD. Cannot fail. Cost: linear in the word.
 */
size_t data_bpe_split(const char *text, size_t text_bytes, size_t at);

#endif
