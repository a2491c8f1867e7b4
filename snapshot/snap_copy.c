#include "snapshot/snap_copy.h"

#include <string.h>

#ifdef __SSE2__ /* every x86-64 */
#include <emmintrin.h>

enum { LINE_BYTES = 64 };

static void copy_line(uint8_t *to, const uint8_t *from)
{
    __m128i *const line = (__m128i *)(void *)to;
    const __m128i *const source = (const __m128i *)(const void *)from;
    const __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);

    _mm_stream_si128(line, a);
    _mm_stream_si128(line + 1, b);
    _mm_stream_si128(line + 2, c);
    _mm_stream_si128(line + 3, d);
}

void snap_copy_past_caches(uint8_t *restrict to, const uint8_t *restrict from, size_t bytes)
{
    const size_t whole = bytes / LINE_BYTES * LINE_BYTES;

    for (size_t at = 0; at < whole; at += LINE_BYTES) {
        copy_line(to + at, from + at);
    }
    memcpy(to + whole, from + whole, bytes - whole);
    _mm_sfence();
}
#else
void snap_copy_past_caches(uint8_t *restrict to, const uint8_t *restrict from, size_t bytes)
{
    memcpy(to, from, bytes);
}
#endif
