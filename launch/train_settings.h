/*
 * launch/train_settings.h - the settings that fix the numbers of a run.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_SETTINGS_H
#define LAUNCH_TRAIN_SETTINGS_H

#include <stdbool.h>

#include "comm/base/err.h"
#include "launch/options_schema.h"
#include "launch/train_run.h"

/* False for settings that change where or how a run happens, but not its numbers. */
bool train_settings_fix(enum options_id option);

/*
 * What a resumed run must have the same as the one it goes on with: a line "name: value"
 * each, equal values in equal words. Where the data and the first weights come from is not
 * among them, but what they are. The caller frees *text_out. Errors: ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err train_settings_text(const struct train_run *run, char **text_out);

#endif
