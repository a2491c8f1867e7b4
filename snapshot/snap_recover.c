#include "snapshot/snap_recover.h"

bool snap_recover_has(const struct snap_inventory *inventory, uint64_t version,
                      const struct snap_piece *piece)
{
    const enum snap_state least = piece->is_parity ? SNAP_ENCODED : SNAP_SEALED;

    for (int i = 0; i < SNAP_SLOTS; i++) {
        const struct snap_holding *holding = &inventory->holdings[piece->rank][i];
        const uint64_t good = piece->is_parity ? holding->good_parity : holding->good_data;
        if (holding->slot.version == version && holding->slot.state >= least &&
            (good >> piece->segment & 1) != 0) {
            return true;
        }
    }
    return false;
}

int snap_recover_rows(const struct snap_inventory *inventory, uint64_t version, int group,
                      int stripe, int given_out[], int wanted_out[])
{
    const struct snap_group *of = &inventory->layout->groups[group];
    int given = 0;
    int wanted = 0;

    for (int row = 0; row < of->member_count; row++) {
        const struct snap_piece piece = snap_layout_piece(of, stripe, row);
        if (!snap_recover_has(inventory, version, &piece)) {
            if (wanted == of->parity_count) {
                return -1;
            }
            wanted_out[wanted++] = row;
        } else if (given < of->data_count) {
            given_out[given++] = row;
        }
    }
    return wanted;
}

static bool can_be_had(const struct snap_inventory *inventory, uint64_t version)
{
    int given[SNAP_ROWS_MAX], wanted[SNAP_ROWS_MAX];

    for (int g = 0; g < inventory->layout->group_count; g++) {
        for (int s = 0; s < inventory->layout->groups[g].member_count; s++) {
            if (snap_recover_rows(inventory, version, g, s, given, wanted) < 0) {
                return false;
            }
        }
    }
    return true;
}

static bool is_set_aside(uint64_t version, const uint64_t set_aside[], int count)
{
    int i = 0;

    while (i < count && set_aside[i] != version) {
        i++;
    }
    return i < count;
}

uint64_t snap_recover_choose(const struct snap_inventory *inventory, const uint64_t set_aside[],
                             int set_aside_count)
{
    uint64_t below = UINT64_MAX;

    for (;;) { /* the newest version below the last one tried */
        uint64_t version = 0;
        for (int r = 0; r < inventory->layout->rank_count; r++) {
            for (int i = 0; i < SNAP_SLOTS; i++) {
                const struct snap_slot *slot = &inventory->holdings[r][i].slot;
                if (slot->state >= SNAP_SEALED && slot->version < below &&
                    slot->version > version) {
                    version = slot->version;
                }
            }
        }
        if (version == 0 || (!is_set_aside(version, set_aside, set_aside_count) &&
                             can_be_had(inventory, version))) {
            return version;
        }
        below = version;
    }
}
