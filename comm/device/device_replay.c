#include "comm/device/device_replay.h"

enum err device_replay_run(struct device_replay *replay, struct device *device,
                           device_work_fn *work, void *self, const void *arguments)
{
    if (!device_has_graphs(device) || !replay->is_warm) {
        replay->is_warm = true;
        return work(self, arguments);
    }
    if (replay->graph == NULL) {
        ERR_TRY(device_graph_begin(device_current()));
        const enum err status = work(self, arguments);
        const enum err ended = device_graph_end(device_current(), &replay->graph);
        ERR_TRY(status);
        ERR_TRY(ended);
    }
    return device_graph_launch(replay->graph, device_current());
}

void device_replay_close(struct device_replay *replay)
{
    device_graph_close(replay->graph);
    *replay = (struct device_replay){0};
}
