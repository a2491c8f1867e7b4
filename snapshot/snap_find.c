#define _GNU_SOURCE
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/snap_restore_priv.h"

enum { LAYOUTS_MAX = 16 };

/* Ranks that share a host and a folder lose their memory together. */
static enum err fill_places(struct restore *restore)
{
    struct snap *snap = restore->snap;
    char host[256] = "";
    struct where {
        struct hash node;
        uint64_t domain, private_bytes;
    } *all = calloc((size_t)restore->size, sizeof(*all));
    struct hash_state *state = NULL;

    snap->places = calloc((size_t)restore->size, sizeof(*snap->places));
    if (all == NULL || snap->places == NULL || hash_open(&state) != ERR_OK) {
        free(all);
        return ERR_FAIL(ERR_NO_MEMORY, "places of %d ranks", restore->size);
    }
    gethostname(host, sizeof(host) - 1);
    hash_add(state, host, sizeof(host));
    hash_add(state, snap->folder, strlen(snap->folder));
    all[restore->rank] =
        (struct where){hash_close(state), snap->options.domain, snap_bytes_of(snap, SNAP_PRIVATE)};
    const enum err status =
        comm_allgather(snap->control, all, sizeof(*all), snap->options.deadline_ms);
    for (int r = 0; r < restore->size && status == ERR_OK; r++) {
        int node = 0, first = 0;
        while (memcmp(&all[node].node, &all[r].node, sizeof(all[r].node)) != 0) {
            node++;
        }
        while (all[first].domain != all[r].domain) {
            first++;
        }
        /* A domain that is given is told from a node's own by its highest bit. */
        const uint32_t domain =
            all[r].domain == 0 ? (uint32_t)node : (uint32_t)first | (uint32_t)1 << 31;
        snap->places[r] = (struct snap_place){(uint32_t)node, domain, all[r].private_bytes};
    }
    free(all);
    for (int r = 0; r < restore->size && status == ERR_OK; r++) {
        if (snap->places[r].node == snap->places[restore->rank].node) {
            restore->local_index += r < restore->rank;
            restore->local_count++;
        }
    }
    return status;
}

/* Whether this rank is to open the memory of that member, found in its node's folder. */
static bool is_mine(const struct restore *restore, int member)
{
    const struct snap_place *places = restore->snap->places;

    if (member < restore->size && places[member].node == places[restore->rank].node) {
        return member == restore->rank;
    }
    return member % restore->local_count == restore->local_index;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Opens this rank's share of what lies in the folder. What is damaged counts as lost. */
static enum err find_areas(struct restore *restore)
{
    char path[FILE_PATH_BYTES_MAX];
    struct dirent **entries = NULL;
    enum err status = ERR_OK;
    const int count = scandir(restore->snap->folder, &entries, NULL, by_name);

    restore->found = calloc(count > 0 ? (size_t)count : 1, sizeof(struct snap_area *));
    if (count < 0 || restore->found == NULL) {
        status = ERR_FAIL(ERR_IO, "%s cannot be read", restore->snap->folder);
    }
    for (int i = 0; i < count && status == ERR_OK; i++) {
        uint64_t layout = 0;
        int member = 0;
        const char *name = entries[i]->d_name;
        if (!snap_area_is_named(name, SNAP_AREA_MEMBER, &layout, &member) ||
            !is_mine(restore, member)) {
            continue;
        }
        status = file_path(path, restore->snap->folder, name);
        if (status != ERR_OK) {
            break;
        }
        status = snap_area_open(path, &restore->snap->claim, &restore->found[restore->found_count]);
        if (status == ERR_OK) {
            restore->found_count++;
        } else if (status == ERR_CORRUPT) {
            err_clear();
            status = ERR_OK;
        }
    }
    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
    return status;
}

static enum err describe_area(const struct restore *restore, const struct snap_area *area,
                              struct record *record)
{
    *record = (struct record){.layout_hash = snap_area_layout(area)->hash,
                              .terms_bytes = snap_area_layout(area)->byte_count,
                              .member = snap_area_rank(area),
                              .host = restore->rank};
    for (int slot = 0; slot < SNAP_SLOTS; slot++) {
        ERR_TRY(snap_area_verify(area, slot, &record->holdings[slot]));
        const uint64_t incarnation = snap_area_header(area, slot)->incarnation;
        record->incarnation = incarnation > record->incarnation ? incarnation : record->incarnation;
        record->data_roots[slot] = snap_area_header(area, slot)->data_root;
        record->job_roots[slot] = snap_area_header(area, slot)->job_root;
        if (record->holdings[slot].slot.state >= SNAP_ENCODED) {
            struct hash job_root;
            ERR_TRY(snap_job_root(record->holdings[slot].slot.version, snap_area_roots(area, slot),
                                  snap_area_layout(area)->rank_count, &job_root));
            record->has_roots[slot] = hash_is_same(job_root, record->job_roots[slot]);
        }
    }
    return ERR_OK;
}

/* Verifies what was found and tells all ranks of it. */
static enum err share_records(struct restore *restore)
{
    struct snap *snap = restore->snap;
    int64_t most = 0;

    ERR_TRY(comm_agree_max(snap->control, restore->found_count, snap->options.deadline_ms, &most));
    const size_t total = (size_t)restore->size * (size_t)most;
    restore->records = calloc(total + 1, sizeof(*restore->records));
    if (restore->records == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "%zu records", total);
    }
    struct record *mine = restore->records + (size_t)restore->rank * (size_t)most;
    for (int64_t i = 0; i < most; i++) {
        mine[i].member = -1;
        if (i < restore->found_count) {
            ERR_TRY(describe_area(restore, restore->found[i], &mine[i]));
        }
    }
    if (most > 0) {
        ERR_TRY(comm_allgather(snap->control, restore->records,
                               (size_t)most * sizeof(*restore->records),
                               snap->options.deadline_ms));
    }
    for (size_t i = 0; i < total; i++) {
        if (restore->records[i].member >= 0) {
            restore->records[restore->record_count++] = restore->records[i];
        }
    }
    return ERR_OK;
}

/* The layout of a record, from the rank that has it. Collective. */
static enum err fetch_layout(struct restore *restore, const struct record *record,
                             struct snap_layout **layout_out)
{
    struct snap *snap = restore->snap;
    uint8_t *terms = calloc(1, record->terms_bytes + 1);

    if (terms == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a layout");
    }
    for (int i = 0; i < restore->found_count; i++) {
        const struct snap_layout *layout = snap_area_layout(restore->found[i]);
        if (hash_is_same(layout->hash, record->layout_hash)) {
            memcpy(terms, layout->bytes, layout->byte_count);
        }
    }
    enum err status = comm_broadcast(snap->control, terms, record->terms_bytes, record->host,
                                     snap->options.deadline_ms);
    if (status == ERR_OK) {
        status = snap_layout_read(terms, record->terms_bytes, layout_out);
    }
    free(terms);
    return status;
}

/* The records of one layout as an inventory; of two of one member the one that knows more. */
static enum err fill_inventory(struct restore *restore, const struct snap_layout *layout,
                               struct snap_holding (**holdings_out)[SNAP_SLOTS], int **host_of_out)
{
    const size_t n = (size_t)layout->rank_count;
    struct snap_holding(*holdings)[SNAP_SLOTS] = calloc(n, sizeof(*holdings));
    int *host_of = calloc(n, sizeof(*host_of));
    uint64_t *newest = calloc(n, sizeof(*newest));

    if (holdings == NULL || host_of == NULL || newest == NULL) {
        free(holdings);
        free(host_of);
        free(newest);
        return ERR_FAIL(ERR_NO_MEMORY, "an inventory");
    }
    for (size_t m = 0; m < n; m++) {
        host_of[m] = -1;
    }
    for (int i = 0; i < restore->record_count; i++) {
        const struct record *record = &restore->records[i];
        if (!hash_is_same(record->layout_hash, layout->hash) ||
            record->member >= layout->rank_count) {
            continue;
        }
        const struct snap_holding *held = record->holdings;
        const uint64_t version = held[0].slot.version > held[1].slot.version ? held[0].slot.version
                                                                             : held[1].slot.version;
        if (host_of[record->member] < 0 || version > newest[record->member]) {
            host_of[record->member] = record->host;
            newest[record->member] = version;
            memcpy(holdings[record->member], held, sizeof(holdings[0]));
        }
    }
    free(newest);
    *holdings_out = holdings;
    *host_of_out = host_of;
    return ERR_OK;
}

/* Tries one layout: keeps it if it has a newer version than what was chosen so far. */
static enum err try_layout(struct restore *restore, struct snap_layout *layout,
                           const uint64_t set_aside[], int set_aside_count)
{
    struct snap_holding(*holdings)[SNAP_SLOTS] = NULL;
    int *host_of = NULL;

    ERR_TRY(fill_inventory(restore, layout, &holdings, &host_of));
    const struct snap_inventory inventory = {layout,
                                             (const struct snap_holding(*)[SNAP_SLOTS])holdings};
    const uint64_t version = snap_recover_choose(&inventory, set_aside, set_aside_count);
    if (version <= restore->version) {
        free(holdings);
        free(host_of);
        snap_layout_close(layout);
        return ERR_OK;
    }
    free(restore->holdings);
    free(restore->host_of);
    snap_layout_close(restore->layout);
    restore->layout = layout;
    restore->version = version;
    restore->holdings = holdings;
    restore->host_of = host_of;
    return ERR_OK;
}

/* The newest version of all layouts that are there. */
static enum err choose(struct restore *restore, const uint64_t set_aside[], int set_aside_count)
{
    struct hash seen[LAYOUTS_MAX];
    int seen_count = 0;
    bool had_any = false;

    for (int i = 0; i < restore->record_count && seen_count < LAYOUTS_MAX; i++) {
        const struct record *record = &restore->records[i];
        struct snap_layout *layout = NULL;
        int s = 0;
        if (record->incarnation > restore->snap->options.incarnation) {
            return ERR_FAIL(ERR_CONFIG,
                            "start %" PRIu64
                            " of this job has written snapshots, this is start %" PRIu64
                            ": a later one has taken over",
                            record->incarnation, restore->snap->options.incarnation);
        }
        for (int slot = 0; slot < SNAP_SLOTS; slot++) {
            had_any = had_any || record->holdings[slot].slot.state >= SNAP_ENCODED;
        }
        while (s < seen_count && !hash_is_same(seen[s], record->layout_hash)) {
            s++;
        }
        if (s < seen_count) {
            continue;
        }
        seen[seen_count++] = record->layout_hash;
        ERR_TRY(fetch_layout(restore, record, &layout));
        ERR_TRY(try_layout(restore, layout, set_aside, set_aside_count));
    }
    if (restore->version == 0 && had_any && set_aside_count == 0) {
        return ERR_FAIL(ERR_BEYOND_REPAIR,
                        "%d members' memory is left, and no version can be made of it",
                        restore->record_count);
    }
    return ERR_OK;
}

enum err snap_find(struct restore *restore, const uint64_t set_aside[], int set_aside_count)
{
    ERR_TRY(fill_places(restore));
    ERR_TRY(find_areas(restore));
    while (restore->snap->options.discards && restore->found_count > 0) {
        ERR_TRY(snap_remove_area(restore, &restore->found[--restore->found_count]));
    }
    ERR_TRY(share_records(restore));
    ERR_TRY(choose(restore, set_aside, set_aside_count));
    return restore->version == 0 && set_aside_count > 0 ? choose(restore, NULL, 0) : ERR_OK;
}
