/* tests/support/local_ranks.h - a function on every rank of a comm_local group, each a thread. */
#ifndef TESTS_SUPPORT_LOCAL_RANKS_H
#define TESTS_SUPPORT_LOCAL_RANKS_H

#include <check.h>
#include <pthread.h>

#include "comm/base/err.h"
#include "comm/group/comm_local.h"
#include "tests/support/err_expect.h"

/* Fails with ERR_FAIL(), not with Check's macros: those belong to the main thread. */
typedef enum err local_rank_fn(struct comm_group *group, void *context);

struct local_rank {
    pthread_t thread;
    struct comm_group *group;
    local_rank_fn *run;
    void *context;
    enum err status;
    char text[512]; /* the message, if it failed */
};

static inline void *local_rank_main(void *argument)
{
    struct local_rank *rank = argument;

    rank->status = rank->run(rank->group, rank->context);
    if (rank->status != ERR_OK) {
        err_text(rank->text, sizeof(rank->text));
    }
    comm_close(rank->group);
    return NULL;
}

/* Runs and joins; ranks [COMM_LOCAL_RANKS_MAX] keep what each returned. */
static inline void local_ranks_try(int rank_count, local_rank_fn *run, void *context,
                                   struct local_rank ranks[COMM_LOCAL_RANKS_MAX])
{
    struct comm_group *groups[COMM_LOCAL_RANKS_MAX];
    struct comm_local *local = NULL;

    EXPECT_OK(comm_local_open(rank_count, groups, &local));
    for (int r = 0; r < rank_count; r++) {
        ranks[r] = (struct local_rank){.group = groups[r], .run = run, .context = context};
        ck_assert_int_eq(pthread_create(&ranks[r].thread, NULL, local_rank_main, &ranks[r]), 0);
    }
    for (int r = 0; r < rank_count; r++) {
        ck_assert_int_eq(pthread_join(ranks[r].thread, NULL), 0);
    }
    comm_local_close(local);
}

/* The same, where all ranks are to succeed. */
static inline void local_ranks_run(int rank_count, local_rank_fn *run, void *context)
{
    struct local_rank ranks[COMM_LOCAL_RANKS_MAX];

    local_ranks_try(rank_count, run, context, ranks);
    for (int r = 0; r < rank_count; r++) {
        if (ranks[r].status != ERR_OK) {
            ck_abort_msg("rank %d of %d: %s: %s", r, rank_count, err_phrase(ranks[r].status),
                         ranks[r].text);
        }
    }
}

#endif
