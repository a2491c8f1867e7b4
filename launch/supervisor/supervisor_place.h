/*
 * launch/supervisor/supervisor_place.h - how many ranks a start has, and on which nodes: pure functions.
 *
 * A full job has ranks_per_node on each node. On fewer nodes there are as many ranks as these hold
 * and the work can be shared by, dealt out evenly (mpirun --map-by node). Each node shall have one at
 * least: ranks read the snapshots of the node they are on, and nobody else does.
 */
#ifndef LAUNCH_SUPERVISOR_PLACE_H
#define LAUNCH_SUPERVISOR_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "launch/supervisor/supervisor_nodes.h"

/*
 * How many: a divisor of `shares`, the largest that fits into ranks_per_node on each of the nodes whose
 * is_used [list->count] is set. Where that leaves nodes without a rank, the smallest that does not and
 * fits into their slots, if there is one. At least 1.
 */
int place_ranks(const struct nodes_list *list, const bool is_used[], int ranks_per_node,
                int64_t shares);

/* The nodes for mpirun's --host, with room for `rank_count`: "node01:2,node07:2". */
void place_hosts(const struct nodes_list *list, const bool is_used[], int ranks_per_node,
                 int rank_count, char *text, size_t text_bytes);

#endif
