#include "launch/export/export_sets.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/safetensors.h"
#include "trainer/model/param_list.h"

enum { TEXT_BYTES = 512 };

/* Of a number that a person may have rounded. */
static const double CLOSE = 1e-6;

enum err export_sets_choose(const struct trained_network *source, bool has_lambda, double lambda,
                            struct export_sets *sets_out)
{
    const struct options_f64s *lambdas = &source->options.lambdas;
    char text[TEXT_BYTES] = "";
    int at = 0;

    if (!has_lambda) {
        *sets_out = (struct export_sets){0, lambdas->count};
        return ERR_OK;
    }
    for (int s = 0; s < lambdas->count; s++) {
        if (fabs(lambdas->values[s] - lambda) <= CLOSE * fabs(lambda)) {
            *sets_out = (struct export_sets){s, 1};
            return ERR_OK;
        }
        if (at < TEXT_BYTES) {
            at += snprintf(text + at, (size_t)(TEXT_BYTES - at), "%s%g", s == 0 ? "" : ", ",
                           lambdas->values[s]);
        }
    }
    return ERR_FAIL(ERR_CONFIG, "%s has no lambda %g: it has %s", source->folder, lambda, text);
}

/* "exits.3.layer.0.norm.weight" -> "exits.0.layer.0.norm.weight", for the set that is exported as 0. */
static void rename_tensor(const char *name, int set, char to[PARAM_NAME_BYTES])
{
    const char *rest = strchr(strchr(name, '.') + 1, '.');

    snprintf(to, PARAM_NAME_BYTES, "exits.%d%s", set, rest);
}

enum err export_sets_write(const struct trained_network *source, const struct export_sets *sets,
                           const char *path)
{
    const struct param_list *params = exits_net_params(source->net);
    const size_t room = (size_t)params->count;
    struct safetensors_tensor *tensors = calloc(room, sizeof(*tensors));
    char(*names)[PARAM_NAME_BYTES] = calloc(room, sizeof(*names));
    enum err status = ERR_OK;
    size_t count = 0;

    if (tensors == NULL || names == NULL) {
        status = ERR_FAIL(ERR_NO_MEMORY, "%s", path);
        goto out;
    }
    param_list_tensors(params, exits_net_block(source->net), tensors);
    for (size_t t = 0; t < room; t++) {
        const int set = params->params[t].part - sets->first;
        if (set >= 0 && set < sets->count) {
            rename_tensor(params->params[t].name, set, names[count]);
            tensors[count] = tensors[t];
            tensors[count].name = names[count];
            count++;
        }
    }
    status = safetensors_write(path, tensors, count, "format", "pt");
out:
    free(names);
    free(tensors);
    return status;
}
