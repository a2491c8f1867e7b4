/*
 * comm/group/comm_nccl.h - the sums of comm_reduce.h over the memory of CUDA devices, by NCCL.
 *
 * What comm_nccl_open() gives is a struct comm_reduce: started, polled, waited for and closed by
 * comm_reduce.h, with these differences:
 *
 * - `values` is device memory. A start waits for nothing on the host; on the device the sum begins
 *   once what is on the caller's stream at that moment is done, and runs on a stream of its own with
 *   high priority. After comm_reduce_wait() the caller's stream may use the sums.
 * - The whole sum is put on the stream by the start, so poll has nothing to move on: it asks NCCL for
 *   errors and looks which buckets are done.
 *   Cost on the host: an exchange of the tree is three calls of NCCL, which does not block and hands
 *   each to a thread of its own: tens of microseconds, 2 log2(ranks) times a bucket. So buckets of
 *   tens of MB, and few.
 * - TREE is the same tree with the same spans: pairs of ncclSend() and ncclRecv(), and an addition
 *   by the device between them. The bits are those of host memory. LIBRARY is ncclAllReduce().
 * - A failure - a peer that is gone, a wait in vain - aborts the communicator, so that no kernel of
 *   NCCL waits on the device for ever, and breaks the group.
 *
 * Not inside the recording of a graph: events are asked for.
 *
 * Memory: on the device one scratch block as large as the largest bucket. Threads: the group's.
 */
#ifndef COMM_GROUP_COMM_NCCL_H
#define COMM_GROUP_COMM_NCCL_H

#include <stdint.h>

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "comm/group/comm_reduce.h"

/* to[i] += from[i] on the calling thread's stream: the device's kern_add_fn. */
typedef void comm_nccl_add_fn(float *to, const float *from, int64_t count);

struct comm_nccl_args {
    struct device *device;        /* a CUDA device, another one for each rank; lent */
    struct device_stream *stream; /* the values are made on it; lent */
    enum comm_reduce_order order;
    comm_nccl_add_fn *add;
    const int64_t *bucket_elems; /* [bucket_count] as of comm_reduce_open() */
    int bucket_count;
    int64_t deadline_ms; /* of what is waited for in an open and in a start */
};

/*
 * Collective: makes a communicator of the group's ranks and sums a few floats once, so that the
 * connections are there. Of `group` it uses the messages only now, and carries nothing else until
 * the close. Of one rank there is no communicator, and the sums are the values.
 *
 * Errors: ERR_CONFIG in a program without CUDA; ERR_INVALID as comm_reduce_open(); ERR_NO_MEMORY;
 * ERR_DEVICE; ERR_COLLECTIVE if NCCL fails, with its words; ERR_TIMEOUT if a rank does not come.
 * Cost: seconds.
 */
ERR_MUST_CHECK enum err comm_nccl_open(struct comm_group *group, const struct comm_nccl_args *args,
                                       struct comm_reduce **reduce_out);

#endif
