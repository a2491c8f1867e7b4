#include "data/data_unicode.h"

#include <assert.h>
#include <string.h>

#include <utf8proc.h>

/* Below these utf8proc need not be asked, which takes most of the time of ASCII text. */
enum { ASCII_END = 0x80, FIRST_DECOMPOSED = 0xC0, FIRST_MARK = 0x300 };

const char *data_unicode_version(void)
{
    return utf8proc_unicode_version();
}

/* The bytes that follow `lead`, -1 if none may, and the range of the first of them. */
static int follow_count(uint8_t lead, uint8_t *low_out, uint8_t *high_out)
{
    *low_out = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high_out = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0x80) {
        return 0;
    }
    if (lead < 0xC2 || lead > 0xF4) {
        return -1;
    }
    return lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
}

int32_t data_unicode_next(const char *text, size_t text_bytes, size_t *at)
{
    assert(*at < text_bytes);
    const uint8_t lead = (uint8_t)text[(*at)++];
    uint8_t low = 0;
    uint8_t high = 0;
    const int count = follow_count(lead, &low, &high);

    if (count <= 0) {
        return count == 0 ? lead : DATA_UNICODE_REPLACEMENT;
    }
    int32_t code = lead & (0x3F >> count);
    for (int i = 0; i < count; i++) {
        if (*at == text_bytes) {
            return DATA_UNICODE_REPLACEMENT;
        }
        const uint8_t byte = (uint8_t)text[*at];
        if (byte < low || byte > high) {
            return DATA_UNICODE_REPLACEMENT;
        }
        code = code << 6 | (byte & 0x3F);
        low = 0x80;
        high = 0xBF;
        (*at)++;
    }
    return code;
}

size_t data_unicode_put(int32_t code, char bytes_out[DATA_UNICODE_BYTES_MAX])
{
    utf8proc_uint8_t bytes[DATA_UNICODE_BYTES_MAX];
    const utf8proc_ssize_t count = utf8proc_encode_char(code, bytes);

    assert(count >= 1 && count <= DATA_UNICODE_BYTES_MAX);
    memcpy(bytes_out, bytes, (size_t)count);
    return (size_t)count;
}

bool data_unicode_is_space(int32_t code)
{
    if (code < ASCII_END) {
        return code == ' ' || (code >= '\t' && code <= '\r');
    }
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return true;
    case UTF8PROC_CATEGORY_CC: return code == 0x85;
    default: return false;
    }
}

bool data_unicode_is_letter(int32_t code)
{
    if (code < ASCII_END) {
        return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
    }
    const utf8proc_category_t category = utf8proc_category(code);

    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool data_unicode_is_number(int32_t code)
{
    if (code < ASCII_END) {
        return code >= '0' && code <= '9';
    }
    const utf8proc_category_t category = utf8proc_category(code);

    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool data_unicode_is_mark(int32_t code)
{
    return code >= FIRST_MARK && utf8proc_category(code) == UTF8PROC_CATEGORY_MN;
}

bool data_unicode_is_punctuation(int32_t code)
{
    if (code < ASCII_END) {
        return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
               (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    }
    const utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool data_unicode_is_control(int32_t code)
{
    if (code < ASCII_END) {
        return code < ' ' || code == 0x7F;
    }
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO: return true;
    default: return false;
    }
}

int data_unicode_combining_class(int32_t code)
{
    return code < FIRST_MARK ? 0 : utf8proc_get_property(code)->combining_class;
}

int data_unicode_decompose(int32_t code, int32_t codes_out[DATA_UNICODE_DECOMPOSED_MAX])
{
    int boundary = 0;
    if (code < FIRST_DECOMPOSED) {
        codes_out[0] = code;
        return 1;
    }
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        code, codes_out, DATA_UNICODE_DECOMPOSED_MAX, UTF8PROC_DECOMPOSE, &boundary);

    assert(count >= 1 && count <= DATA_UNICODE_DECOMPOSED_MAX);
    return (int)count;
}

int data_unicode_lower(int32_t code, int32_t codes_out[DATA_UNICODE_LOWER_MAX])
{
    if (code == 0x130) { /* the one whose lower case is not one code point */
        codes_out[0] = 'i';
        codes_out[1] = 0x307;
        return 2;
    }
    if (code < ASCII_END) {
        codes_out[0] = code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code;
        return 1;
    }
    codes_out[0] = utf8proc_tolower(code);
    return 1;
}
