#include "comm/base/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#ifdef OFFRAMP_XXHASH_DISPATCH
/* XXH3 for the vectors of this CPU under the same names; plain xxhash.h is built for SSE2. */
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

struct hash hash_bytes(const void *bytes, size_t count)
{
    const XXH128_hash_t hash = XXH3_128bits(bytes, count);

    return (struct hash){hash.low64, hash.high64};
}

enum err hash_open(struct hash_state **state_out)
{
    XXH3_state_t *state = XXH3_createState();

    if (state == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "the state of a hash");
    }
    XXH3_128bits_reset(state);
    *state_out = (struct hash_state *)state;
    return ERR_OK;
}

void hash_add(struct hash_state *state, const void *bytes, size_t count)
{
    assert(state != NULL);
    XXH3_128bits_update((XXH3_state_t *)state, bytes, count);
}

struct hash hash_close(struct hash_state *state)
{
    assert(state != NULL);
    const XXH128_hash_t hash = XXH3_128bits_digest((XXH3_state_t *)state);

    XXH3_freeState((XXH3_state_t *)state);
    return (struct hash){hash.low64, hash.high64};
}

void hash_text(struct hash hash, char text_out[HASH_TEXT_BYTES])
{
    snprintf(text_out, HASH_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}
