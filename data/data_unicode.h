/*
 * data/data_unicode.h - code points of UTF-8 text, and what tokenizers ask about them.
 *
 * Categories, canonical decompositions and lower case are those of utf8proc, which only
 * data_unicode.c includes; its version of Unicode is data_unicode_version(). A code point is
 * an int32_t in 0..0x10FFFF, never a surrogate.
 *
 * Threads: any. Memory: none.
 */
#ifndef DATA_DATA_UNICODE_H
#define DATA_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DATA_UNICODE_REPLACEMENT = 0xFFFD,
    DATA_UNICODE_BYTES_MAX = 4,      /* of one code point in UTF-8 */
    DATA_UNICODE_DECOMPOSED_MAX = 4, /* code points that one decomposes into */
    DATA_UNICODE_LOWER_MAX = 2,      /* code points of one's lower case */
};

/* "15.0.0" */
const char *data_unicode_version(void);

/*
 * The code point at text[*at], *at < text_bytes, and moves *at behind it. Bytes that are not
 * UTF-8 give U+FFFD, one for every maximal part of what could have begun a code point, as
 * the Unicode Standard recommends (section 3.9) and Python's errors="replace" does.
 */
int32_t data_unicode_next(const char *text, size_t text_bytes, size_t *at);

/* Writes `code` as UTF-8, not NUL-terminated, and returns the number of bytes, 1..4. */
size_t data_unicode_put(int32_t code, char bytes_out[DATA_UNICODE_BYTES_MAX]);

bool data_unicode_is_space(int32_t code);  /* the property White_Space */
bool data_unicode_is_letter(int32_t code); /* category L */
bool data_unicode_is_number(int32_t code); /* category N */
bool data_unicode_is_mark(int32_t code);   /* category Mn: accents, mostly */

/* ASCII that is neither letter, digit, blank nor control; category P beyond. */
bool data_unicode_is_punctuation(int32_t code);

/* Categories Cc, Cf and Co: controls, zero-width joiners, private use. Not the unassigned. */
bool data_unicode_is_control(int32_t code);

/* 0 for a base character, else where among marks it stands after a decomposition. */
int data_unicode_combining_class(int32_t code);

/*
 * The canonical decomposition (NFD) of one code point, and how many that are, 1 to 4. That
 * marks of a whole text stand in canonical order is the caller's to see to.
 */
int data_unicode_decompose(int32_t code, int32_t codes_out[DATA_UNICODE_DECOMPOSED_MAX]);

/*
 * The lower case of one code point, and how many that are. Without context or language, as
 * Rust's char::to_lowercase(): only U+0130 has two, and a final sigma is like any other.
 */
int data_unicode_lower(int32_t code, int32_t codes_out[DATA_UNICODE_LOWER_MAX]);

#endif
