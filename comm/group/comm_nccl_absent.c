/* In place of comm_nccl.c in a program that is built without CUDA. */
#include "comm/group/comm_nccl.h"

enum err comm_nccl_open(struct comm_group *group, const struct comm_nccl_args *args,
                        struct comm_reduce **reduce_out)
{
    (void)group;
    (void)args;
    (void)reduce_out;
    return ERR_FAIL(ERR_CONFIG, "this program was built without CUDA");
}
