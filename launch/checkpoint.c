#include "launch/checkpoint.h"

#include "launch/train_files.h"
#include "snapshot/snap_disk.h"
#include "trainer/model/model_files.h"

static const struct snap_disk_file needed[] = {
    {MODEL_CONFIG_FILE, SNAP_DISK_NEEDED},
    {MODEL_WEIGHTS_FILE, SNAP_DISK_NEEDED},
    {TRAIN_STATE_FILE, SNAP_DISK_NEEDED},
    {TRAIN_STATE_MOMENTS_FILE, SNAP_DISK_NEEDED_OR_PACKED},
    {TRAIN_STATE_EXITS_FILE, SNAP_DISK_OPTIONAL},
};

enum { NEEDED_COUNT = sizeof(needed) / sizeof(needed[0]) };

static enum err write_files(const struct train_state *state, const struct train_moments *moments,
                            const char *output_dir, const char *partial, const char *settings)
{
    struct train_files files;

    ERR_TRY(train_files_open(state, moments, settings, &files));
    enum err status = snap_disk_drop(output_dir, state->step); /* keepers may still write to it */
    if (status == ERR_OK) {
        status = file_make_folder(partial);
    }
    if (status == ERR_OK) {
        status = train_files_write(&files, partial);
    }
    train_files_close(&files);
    return status;
}

enum err checkpoint_save(const struct train_state *state, const struct train_moments *moments,
                         const char *output_dir, const char *settings, int64_t keep_count)
{
    char partial[FILE_PATH_BYTES_MAX];

    ERR_TRY(train_state_check(state));
    ERR_TRY(snap_disk_partial(partial, output_dir, state->step));
    enum err status = write_files(state, moments, output_dir, partial, settings);
    if (status == ERR_OK) {
        status = snap_disk_place(output_dir, state->step, keep_count);
    }
    if (status != ERR_OK) { /* the message of the first failure stays */
        (void)!file_remove_tree(partial);
    }
    return status;
}

enum err checkpoint_verify(const char *folder)
{
    return snap_disk_verify(folder, needed, NEEDED_COUNT);
}

enum err checkpoint_find(const char *output_dir, int64_t set_aside,
                         char folder_out[FILE_PATH_BYTES_MAX])
{
    return snap_disk_find(output_dir, needed, NEEDED_COUNT, set_aside, folder_out);
}
