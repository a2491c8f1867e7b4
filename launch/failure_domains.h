/*
 * launch/failure_domains.h - which nodes fail together: a file of lines "HOST DOMAIN".
 *
 *      # racks of the cluster
 *      node001   rack1
 *      node002   rack1
 *      node003   rack2
 *
 * Words are separated by blanks; # begins a comment. HOST is a host name as `hostname` prints it,
 * whole or up to its first dot, or the last part of the path of the node's snapshot folder, which
 * counts first: so that a test can have several nodes on one host.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_FAILURE_DOMAINS_H
#define LAUNCH_FAILURE_DOMAINS_H

#include <stddef.h>
#include <stdint.h>

#include "comm/base/err.h"
#include "comm/group/comm_group.h"

/*
 * The domain of the first of names [name_count] that is there, as a number that is not 0, the same
 * for the same word; 0 if none is. `path` is for messages.
 * Errors: ERR_CONFIG, with path and line, if a line is not two words or a host is there again with
 * another domain; ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err failure_domains_parse(const char *text, size_t text_bytes, const char *path,
                                              const char *const *names, int name_count,
                                              uint64_t *domain_out);

/*
 * The domain of this node, whose snapshots are in `folder`, by the file at `path`, which every
 * node has; 0 if the path is empty or the file does not name it. Hosts that are not named are
 * told on stderr, in one line of one rank. Collective.
 * Errors: those above; ERR_MISSING, ERR_IO for the file; those of groups.
 */
ERR_MUST_CHECK enum err failure_domains_of_node(struct comm_group *world, const char *path,
                                                const char *folder, int64_t deadline_ms,
                                                uint64_t *domain_out);

#endif
