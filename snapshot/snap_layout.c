#include "snapshot/snap_layout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"

static const uint8_t magic[8] = {'O', 'F', 'L', 'A', 'Y', '1', '\r', '\n'};

/* Bytes of the written terms. */
enum { AT_RANKS = 8, AT_DATA = 12, AT_PARITY = 16, AT_ZERO = 20, AT_REPLICATED = 24, AT_SALT = 32 };

static_assert(AT_SALT + 8 == SNAP_LAYOUT_HEAD_BYTES, "the fields fill the head");

static const uint64_t BYTES_MAX = (uint64_t)1 << 56; /* sums of all ranks stay below 2^63 */
static const uint64_t SLICE_ALIGN_BYTES = 64;

/* Ranks by (domain, node), then rank. */
struct ranked {
    uint32_t domain, node;
    int rank, round;
};

static int by_place(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->domain != y->domain) {
        return x->domain < y->domain ? -1 : 1;
    }
    if (x->node != y->node) {
        return x->node < y->node ? -1 : 1;
    }
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int descending(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;

    return (y > x) - (y < x);
}

static uint64_t round_up(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

/* The usual choice for so many holders: design of small and large jobs alike. */
static void choose_code(int holders, int *k_out, int *m_out)
{
    const int m = holders == 1 ? 0 : holders <= 3 ? 1 : 2;
    const int k = holders <= 5 ? holders - m : holders <= 64 ? 4 : 8;

    *m_out = m;
    *k_out = k < 1 ? 1 : k;
}

static enum err check_terms(const struct snap_terms *terms)
{
    uint64_t all = terms->replicated_bytes;

    if (terms->rank_count < 1 || terms->rank_count > SNAP_RANKS_MAX) {
        return ERR_FAIL(ERR_CONFIG, "%d ranks, 1 to %d are possible", terms->rank_count,
                        SNAP_RANKS_MAX);
    }
    if (terms->data_count < 0 || terms->parity_count < 0 || terms->parity_count > SNAP_PARITY_MAX ||
        (terms->data_count == 0) != (terms->data_count + terms->parity_count == 0) ||
        terms->data_count + terms->parity_count > SNAP_ROWS_MAX) {
        return ERR_FAIL(ERR_CONFIG, "%d data and %d parity members: up to %d of parity, %d in all",
                        terms->data_count, terms->parity_count, SNAP_PARITY_MAX, SNAP_ROWS_MAX);
    }
    for (int r = 0; r < terms->rank_count && all <= BYTES_MAX; r++) {
        all = terms->places[r].private_bytes > BYTES_MAX ? BYTES_MAX + 1
                                                         : all + terms->places[r].private_bytes;
    }
    if (all > BYTES_MAX) {
        return ERR_FAIL(ERR_CONFIG, "a state of more than %" PRIu64 " bytes", BYTES_MAX);
    }
    return ERR_OK;
}

/* Where part `r` of n of the replicated bytes begins. */
static uint64_t cut(uint64_t bytes, int r, int n)
{
    const uint64_t whole = bytes / (uint64_t)n * (uint64_t)r;
    const uint64_t rest = bytes % (uint64_t)n * (uint64_t)r / (uint64_t)n;

    return r == n ? bytes : (whole + rest) / SLICE_ALIGN_BYTES * SLICE_ALIGN_BYTES;
}

static void fill_members(const struct snap_terms *terms, struct snap_layout *layout)
{
    const int n = terms->rank_count;

    for (int r = 0; r < n; r++) {
        struct snap_member *member = &layout->members[r];
        const uint64_t at = cut(terms->replicated_bytes, r, n);
        member->place = terms->places[r];
        member->replicated_at = at;
        member->replicated_bytes = cut(terms->replicated_bytes, r + 1, n) - at;
        member->bytes = member->replicated_bytes + member->place.private_bytes;
    }
}

/*
 * Ranks in rounds: round l has the l-th rank of every node that has so many, nodes sorted by
 * domain. On one node every process is alone in a "node" and all are in one round. Fills
 * sorted [rank_count] round by round and round_sizes; `starts` [rank_count] is scratch, and both
 * are zero before. Returns the number of rounds.
 */
static int deal_rounds(struct snap_layout *layout, struct ranked *ranks, int *sorted,
                       int *round_sizes, int *starts)
{
    const int n = layout->rank_count;
    int rounds = 0;

    for (int r = 0; r < n; r++) {
        ranks[r] =
            (struct ranked){layout->members[r].place.domain, layout->members[r].place.node, r, 0};
    }
    qsort(ranks, (size_t)n, sizeof(*ranks), by_place);
    layout->node_count = layout->domain_count = 0;
    for (int i = 0; i < n; i++) {
        layout->domain_count += i == 0 || ranks[i].domain != ranks[i - 1].domain;
        layout->node_count += i == 0 || ranks[i].node != ranks[i - 1].node;
    }
    if (layout->node_count == 1) {
        for (int i = 0; i < n; i++) {
            sorted[i] = ranks[i].rank;
        }
        round_sizes[0] = n;
        return 1;
    }
    for (int i = 0; i < n; i++) { /* the round of a rank is its place on its node */
        ranks[i].round = i > 0 && ranks[i].node == ranks[i - 1].node ? ranks[i - 1].round + 1 : 0;
        rounds = ranks[i].round + 1 > rounds ? ranks[i].round + 1 : rounds;
        round_sizes[ranks[i].round]++;
    }
    for (int l = 1; l < rounds; l++) { /* where each round begins */
        starts[l] = starts[l - 1] + round_sizes[l - 1];
    }
    for (int i = 0; i < n; i++) {
        sorted[starts[ranks[i].round]++] = ranks[i].rank;
    }
    return rounds;
}

static enum err plan_round(const struct snap_terms *terms, int holders, int *group_count_out,
                           int *parity_out)
{
    int k = terms->data_count, m = terms->parity_count;

    if (k == 0) {
        choose_code(holders, &k, &m);
    }
    if (m >= holders && m > 0) {
        return ERR_FAIL(ERR_CONFIG,
                        "%d parity members want a group of at least %d nodes, some ranks have "
                        "only %d to share with",
                        m, m + 1, holders);
    }
    const int groups = holders / (k + m) < 1 ? 1 : holders / (k + m);
    if ((holders + groups - 1) / groups > SNAP_ROWS_MAX) {
        return ERR_FAIL(ERR_CONFIG, "a group of %d members, at most %d are possible",
                        (holders + groups - 1) / groups, SNAP_ROWS_MAX);
    }
    *group_count_out = groups;
    *parity_out = m;
    return ERR_OK;
}

/* Deals the ranks of one round to its groups in turn, so that neighbours part. */
static void fill_groups(struct snap_layout *layout, const int *round, int holders, int groups,
                        int parity_count, int *used)
{
    for (int g = 0; g < groups; g++) {
        struct snap_group *group = &layout->groups[layout->group_count];
        uint64_t most = 0;
        group->members = layout->group_members + *used;
        for (int i = g; i < holders; i += groups) {
            struct snap_member *member = &layout->members[round[i]];
            member->group = layout->group_count;
            member->index = group->member_count++;
            layout->group_members[(*used)++] = round[i];
            most = member->bytes > most ? member->bytes : most;
        }
        group->parity_count = parity_count;
        group->data_count = group->member_count - parity_count;
        assert(group->data_count >= 1); /* plan_round() saw to it */
        const uint64_t k = (uint64_t)group->data_count;
        group->segment_bytes = round_up((most + k - 1) / k, SNAP_SEGMENT_ALIGN_BYTES);
        layout->group_count++;
    }
}

static enum err form_groups(const struct snap_terms *terms, struct snap_layout *layout)
{
    const size_t n = (size_t)terms->rank_count;
    struct ranked *ranks = calloc(n, sizeof(*ranks));
    int *lists = calloc(3 * n, sizeof(*lists)); /* ranks by round, sizes of rounds, scratch */
    enum err status = ERR_OK;
    int used = 0;

    if (ranks == NULL || lists == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "a layout of %zu ranks", n);
        goto out;
    }
    int *const sizes = lists + n;
    const int rounds = deal_rounds(layout, ranks, lists, sizes, lists + 2 * n);
    for (int l = 0; l < rounds; l++) {
        int groups = 0, parity_count = 0;
        const int *round = lists + used;
        ERR_GOTO(out, status, plan_round(terms, sizes[l], &groups, &parity_count));
        fill_groups(layout, round, sizes[l], groups, parity_count, &used);
    }
out:
    free(ranks);
    free(lists);
    return status;
}

static void write_terms(const struct snap_terms *terms, struct snap_layout *layout)
{
    uint8_t *to = layout->bytes;

    memcpy(to, magic, sizeof(magic));
    bytes_put_u32(to + AT_RANKS, (uint32_t)terms->rank_count);
    bytes_put_u32(to + AT_DATA, (uint32_t)terms->data_count);
    bytes_put_u32(to + AT_PARITY, (uint32_t)terms->parity_count);
    bytes_put_u64(to + AT_REPLICATED, terms->replicated_bytes);
    bytes_put_u64(to + AT_SALT, terms->salt);
    for (int r = 0; r < terms->rank_count; r++) {
        uint8_t *rank = to + SNAP_LAYOUT_HEAD_BYTES + (size_t)r * SNAP_LAYOUT_RANK_BYTES;
        bytes_put_u32(rank, terms->places[r].node);
        bytes_put_u32(rank + 4, terms->places[r].domain);
        bytes_put_u64(rank + 8, terms->places[r].private_bytes);
    }
    layout->hash = hash_bytes(layout->bytes, layout->byte_count);
}

static enum err allocate(const struct snap_terms *terms, struct snap_layout *layout)
{
    const size_t n = (size_t)terms->rank_count;

    layout->rank_count = terms->rank_count;
    layout->replicated_bytes = terms->replicated_bytes;
    layout->salt = terms->salt;
    layout->byte_count = SNAP_LAYOUT_HEAD_BYTES + n * SNAP_LAYOUT_RANK_BYTES;
    layout->members = calloc(n, sizeof(*layout->members));
    layout->groups = calloc(n, sizeof(*layout->groups));
    layout->group_members = calloc(n, sizeof(*layout->group_members));
    layout->bytes = calloc(1, layout->byte_count);
    if (layout->members == NULL || layout->groups == NULL || layout->group_members == NULL ||
        layout->bytes == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a layout of %zu ranks", n);
    }
    return ERR_OK;
}

enum err snap_layout_open(const struct snap_terms *terms, struct snap_layout **layout_out)
{
    enum err status = ERR_OK;

    ERR_TRY(check_terms(terms));
    struct snap_layout *layout = calloc(1, sizeof(*layout));
    if (layout == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a layout");
    }
    ERR_GOTO(err_close, status, allocate(terms, layout));
    fill_members(terms, layout);
    ERR_GOTO(err_close, status, form_groups(terms, layout));
    write_terms(terms, layout);
    *layout_out = layout;
    return ERR_OK;

err_close:
    snap_layout_close(layout);
    return status;
}

void snap_layout_close(struct snap_layout *layout)
{
    if (layout == NULL) {
        return;
    }
    free(layout->members);
    free(layout->groups);
    free(layout->group_members);
    free(layout->bytes);
    free(layout);
}

enum err snap_layout_read(const uint8_t *bytes, size_t byte_count, struct snap_layout **layout_out)
{
    if (byte_count < SNAP_LAYOUT_HEAD_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0) {
        return ERR_FAIL(ERR_CORRUPT, "no layout: %zu bytes, or another magic", byte_count);
    }
    const uint32_t ranks = bytes_get_u32(bytes + AT_RANKS);
    if (ranks < 1 || ranks > SNAP_RANKS_MAX ||
        byte_count != SNAP_LAYOUT_HEAD_BYTES + (size_t)ranks * SNAP_LAYOUT_RANK_BYTES) {
        return ERR_FAIL(ERR_CORRUPT, "a layout of %" PRIu32 " ranks in %zu bytes", ranks,
                        byte_count);
    }
    if (bytes_get_u32(bytes + AT_ZERO) != 0 || bytes_get_u32(bytes + AT_DATA) > SNAP_ROWS_MAX ||
        bytes_get_u32(bytes + AT_PARITY) > SNAP_ROWS_MAX) {
        return ERR_FAIL(ERR_CORRUPT, "a layout with a reserved or a wrong field");
    }
    struct snap_place *places = calloc(ranks, sizeof(*places));
    if (places == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a layout of %" PRIu32 " ranks", ranks);
    }
    for (uint32_t r = 0; r < ranks; r++) {
        const uint8_t *rank = bytes + SNAP_LAYOUT_HEAD_BYTES + (size_t)r * SNAP_LAYOUT_RANK_BYTES;
        places[r] = (struct snap_place){bytes_get_u32(rank), bytes_get_u32(rank + 4),
                                        bytes_get_u64(rank + 8)};
    }
    const struct snap_terms terms = {
        .rank_count = (int)ranks,
        .data_count = (int)bytes_get_u32(bytes + AT_DATA),
        .parity_count = (int)bytes_get_u32(bytes + AT_PARITY),
        .replicated_bytes = bytes_get_u64(bytes + AT_REPLICATED),
        .salt = bytes_get_u64(bytes + AT_SALT),
        .places = places,
    };
    const enum err status = snap_layout_open(&terms, layout_out);
    free(places);
    if (status == ERR_CONFIG) { /* what was written could be met */
        return err_context_(ERR_CORRUPT, "a layout that was written");
    }
    return status;
}

uint64_t snap_layout_data_bytes(const struct snap_layout *layout, int rank)
{
    const struct snap_group *group = &layout->groups[layout->members[rank].group];

    return group->segment_bytes * (uint64_t)group->data_count;
}

uint64_t snap_layout_parity_bytes(const struct snap_layout *layout, int rank)
{
    const struct snap_group *group = &layout->groups[layout->members[rank].group];

    return group->segment_bytes * (uint64_t)group->parity_count;
}

struct snap_piece snap_layout_piece(const struct snap_group *group, int stripe, int row)
{
    const int n = group->member_count, k = group->data_count, m = group->parity_count;

    assert(stripe >= 0 && stripe < n);
    assert(row >= 0 && row < n);
    if (row >= k) {
        return (struct snap_piece){group->members[(stripe + row - k) % n], true, row - k};
    }
    const int index = (stripe + m + row) % n;
    /* Of the stripes before this one, member `index` holds parity in index-m+1 .. index, mod n. */
    int segment = 0;
    for (int s = 0; s < stripe; s++) {
        segment += (index - s + n) % n >= m;
    }
    return (struct snap_piece){group->members[index], false, segment};
}

/* How many domains one group can lose, whichever they are: those with the most members come first. */
static int domains_covered(const struct snap_layout *layout, const struct snap_group *group)
{
    int sizes[SNAP_ROWS_MAX] = {0};
    int lost = 0, covered = 0;

    for (int i = 0; i < group->member_count; i++) {
        const uint32_t domain = layout->members[group->members[i]].place.domain;
        int first = 0;
        while (layout->members[group->members[first]].place.domain != domain) {
            first++;
        }
        sizes[first]++;
    }
    qsort(sizes, (size_t)group->member_count, sizeof(sizes[0]), descending);
    while (lost + sizes[covered] <= group->parity_count) { /* k >= 1 of the members remain */
        lost += sizes[covered++];
    }
    return covered;
}

struct snap_guarantee snap_layout_guarantee(const struct snap_layout *layout)
{
    struct snap_guarantee guarantee = {
        .nodes = SNAP_PARITY_MAX, .domains = SNAP_PARITY_MAX, .processes = layout->rank_count};

    for (int g = 0; g < layout->group_count; g++) {
        const struct snap_group *group = &layout->groups[g];
        const int domains = domains_covered(layout, group);
        if (group->parity_count < guarantee.nodes) {
            guarantee.nodes = group->parity_count;
        }
        if (domains < guarantee.domains) {
            guarantee.domains = domains;
        }
    }
    if (layout->node_count == 1) {
        guarantee.nodes = guarantee.domains = 0;
    }
    return guarantee;
}

void snap_layout_describe(const struct snap_layout *layout, char *text, size_t text_bytes)
{
    const struct snap_guarantee guarantee = snap_layout_guarantee(layout);

    if (layout->node_count == 1) {
        snprintf(text, text_bytes,
                 "any of the %d processes; all are on one node, whose loss only the disk covers",
                 layout->rank_count);
        return;
    }
    if (guarantee.nodes == 0) {
        snprintf(text, text_bytes, "any process; the loss of one of the %d nodes only by the disk",
                 layout->node_count);
        return;
    }
    bool has_domains = false; /* else each node is its own, and there is nothing more to say */
    for (int r = 0; r < layout->rank_count; r++) {
        const struct snap_place *place = &layout->members[r].place;
        has_domains = has_domains || place->domain != place->node;
    }
    const int used =
        snprintf(text, text_bytes, "any %d of %d nodes", guarantee.nodes, layout->node_count);
    if (has_domains && used > 0 && (size_t)used < text_bytes) {
        char domains[48] = "no whole domain";
        if (guarantee.domains > 0) {
            snprintf(domains, sizeof(domains), "any %d of %d domains", guarantee.domains,
                     layout->domain_count);
        }
        snprintf(text + used, text_bytes - (size_t)used, "; %s", domains);
    }
}
