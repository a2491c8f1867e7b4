/*
 * launch/features.h - the exit features of a whole data set, from one pass of the backbone.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_FEATURES_H
#define LAUNCH_FEATURES_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "exits/exits_cache.h"
#include "launch/train_run.h"

/* The choices of feature_cache in options.def. */
enum features_cache { FEATURES_NOT_KEPT, FEATURES_IN_MEMORY, FEATURES_IN_FILE };

/*
 * A sample has a row of the cache, or each of its tokens has one, a language model's: row
 * i * R + t of the i-th sample's token t, R = model_config_rows().
 *
 * Which samples: the listed ones, in the order of the list; all of the set if it is NULL.
 */
struct features_source {
    const struct data_set *set;
    const uint32_t *samples; /* [count] */
    int64_t count;           /* of all if samples is NULL */
};

/*
 * The features of those samples, without augmentation; of a run without exits, the final
 * logits alone. Collective: each rank runs the backbone over its part, and the parts are
 * gathered. A row does not depend on the number of ranks. With `in_file` they are kept as
 * OUT/features-<key>.bin and mapped, and a file of the same key is used as it is.
 * Errors: those of the parts; ERR_NOT_FINITE.
 */
ERR_MUST_CHECK enum err features_open(struct train_run *run, const struct features_source *source,
                                      bool in_file, struct exits_cache **cache_out);

#endif
