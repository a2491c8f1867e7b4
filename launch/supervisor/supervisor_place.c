#include "launch/supervisor/supervisor_place.h"

#include <stdio.h>

static int count_used(const struct nodes_list *list, const bool is_used[], int *slots_out)
{
    int count = 0;

    *slots_out = 0;
    for (int n = 0; n < list->count; n++) {
        count += is_used[n] ? 1 : 0;
        *slots_out += is_used[n] ? list->slots[n] : 0;
    }
    return count;
}

int place_ranks(const struct nodes_list *list, const bool is_used[], int ranks_per_node,
                int64_t shares)
{
    int slots = 0;
    const int used = count_used(list, is_used, &slots);
    int count = ranks_per_node * used;

    while (count > 1 && shares % count != 0) {
        count--;
    }
    for (int more = used; count < used && more <= slots; more++) {
        if (shares % more == 0) {
            return more;
        }
    }
    return count;
}

void place_hosts(const struct nodes_list *list, const bool is_used[], int ranks_per_node,
                 int rank_count, char *text, size_t text_bytes)
{
    int slots = 0;
    const bool needs_all = rank_count > ranks_per_node * count_used(list, is_used, &slots);
    size_t used = 0;

    for (int n = 0; n < list->count && used < text_bytes; n++) {
        if (is_used[n]) {
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s:%d", used > 0 ? "," : "",
                                     list->hosts[n], needs_all ? list->slots[n] : ranks_per_node);
        }
    }
}
