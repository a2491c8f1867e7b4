/*
 * launch/run_model.h - which backbone a run has: that of init_from, or what the settings describe,
 * for its data.
 *
 * Threads: any.
 */
#ifndef LAUNCH_RUN_MODEL_H
#define LAUNCH_RUN_MODEL_H

#include "comm/base/err.h"
#include "comm/device/device.h"
#include "launch/options.h"
#include "launch/run_data.h"
#include "trainer/model/model_config.h"

/*
 * It has as many classes as the data; of texts, as many tokens as the longest one. Errors: those of
 * model_files_read_config(); ERR_CONFIG where backbone and data do not go together.
 */
ERR_MUST_CHECK enum err run_model_config(const struct options *options, const struct run_data *data,
                                         struct model_config *config_out);

/* Errors: ERR_CONFIG for what the device has no kernel for. */
ERR_MUST_CHECK enum err run_model_check_device(const struct model_config *config,
                                               const struct device *device);

#endif
