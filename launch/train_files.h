/*
 * launch/train_files.h - the state as the files of a checkpoint, each a list of pieces of memory.
 *
 *      config.json             the backbone's shape, as Hugging Face writes it
 *      model.safetensors       its parameters
 *      exits.safetensors       those of the exits, if the run has any
 *      optimizer.safetensors   moments, one tensor a block
 *      trainer_state.json      step, stage, counts, and the settings that fix the numbers
 *
 * Who writes a checkpoint writes these pieces one after the other; who takes snapshots protects
 * them in the same order, and so has the files' bytes.
 *
 * Threads: the step's.
 */
#ifndef LAUNCH_TRAIN_FILES_H
#define LAUNCH_TRAIN_FILES_H

#include "comm/base/err.h"
#include "comm/base/file.h"
#include "launch/train_state.h"

enum { TRAIN_FILES_MAX = 5 };

struct train_file {
    const char *name;
    struct file_piece *pieces; /* [piece_count] */
    size_t piece_count;
    void *own; /* the first piece: a text or a head made here */
};

struct train_files {
    struct train_file files[TRAIN_FILES_MAX];
    int count;
    struct device *device; /* whose memory all pieces but the first of a file are */
    char *text;            /* all of trainer_state.json: the same length at every step */
    size_t text_bytes;
};

/*
 * Lists the files of `state`, with `moments` as its moments; all are lent until the close. The
 * pieces and their sizes stay the same for as long. `settings` is train_settings_text(). Errors:
 * ERR_NO_MEMORY.
 */
ERR_MUST_CHECK enum err train_files_open(const struct train_state *state,
                                         const struct train_moments *moments, const char *settings,
                                         struct train_files *files_out);

/* Makes trainer_state.json say where the state is now. Errors: ERR_NO_MEMORY. */
ERR_MUST_CHECK enum err train_files_refresh(struct train_files *files,
                                            const struct train_state *state, const char *settings);

/* Writes them into `folder`, which exists. Errors: ERR_IO, ERR_NO_MEMORY; those of device_view_open(). */
ERR_MUST_CHECK enum err train_files_write(const struct train_files *files, const char *folder);

void train_files_close(struct train_files *files); /* one that is all zero is allowed */

#endif
