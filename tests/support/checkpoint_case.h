/*
 * tests/support/checkpoint_case.h - a small training state in a folder of its own, saved at any
 * step with contents of that step, found again and compared.
 */
#ifndef TESTS_SUPPORT_CHECKPOINT_CASE_H
#define TESTS_SUPPORT_CHECKPOINT_CASE_H

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/rng.h"
#include "launch/checkpoint.h"
#include "launch/train_state.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"

static const char SETTINGS[] = "seed: 42\nlearning_rate: 1e-3\n";

static const char *const files[] = {"config.json",           "exits.safetensors",
                                    "manifest.json",         "model.safetensors",
                                    "optimizer.safetensors", "trainer_state.json"};
enum { FILE_COUNT = sizeof(files) / sizeof(files[0]) };

static struct temp_folder folder;
static struct train_state state;

static inline struct optim *open_optim(const struct param_list *list)
{
    const struct optim_options options = {
        .kind = OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    const struct optim_range range = {0, list->block_elems, 0, false, 0};
    struct optim *optim = NULL;
    struct kern_ops ops;

    EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    EXPECT_OK(optim_open(&options, &ops, &range, 1, list->block_elems, &optim));
    return optim;
}

static inline struct train_state open_state(void)
{
    const struct model_config config = {.image_size = 4,
                                        .patch_size = 2,
                                        .num_channels = 1,
                                        .hidden_size = 6,
                                        .num_hidden_layers = 2,
                                        .num_attention_heads = 2,
                                        .intermediate_size = 8,
                                        .num_labels = 3,
                                        .layer_norm_eps = 1e-6,
                                        .initializer_range = 0.02,
                                        .hidden_act = KERN_GELU_TANH};
    const struct exits_net_config exits = {.count = 1,
                                           .layers = {0},
                                           .set_count = 2,
                                           .width = 6,
                                           .classes = 3,
                                           .head = EXITS_HEAD_NORM_LINEAR,
                                           .gate = EXITS_GATE_MLP,
                                           .gate_hidden = 4,
                                           .layer_norm_eps = 1e-6f};
    struct train_state opened = {0};
    struct kern_ops ops;

    EXPECT_OK(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    EXPECT_OK(model_open(&config, &ops, &opened.model));
    EXPECT_OK(exits_net_open(&exits, &ops, &opened.net));
    opened.backbone_optim = open_optim(model_params(opened.model));
    opened.exits_optim = open_optim(exits_net_params(opened.net));
    return opened;
}

static inline void close_state(struct train_state *opened)
{
    optim_close(opened->exits_optim);
    optim_close(opened->backbone_optim);
    exits_net_close(opened->net);
    model_close(opened->model);
}

static inline void fill(float *values, int64_t count, uint64_t seed)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = (float)rng_normal(seed, RNG_TEST, (uint64_t)i, 0);
    }
}

/* Another state for each step, and all of it other. */
static inline void go_to_step(int64_t step)
{
    const int64_t model_elems = model_params(state.model)->block_elems;
    const int64_t exits_elems = exits_net_params(state.net)->block_elems;
    const uint64_t seed = 10 * (uint64_t)step;

    param_list_init(model_params(state.model), model_block(state.model), 0.02, seed, 0);
    param_list_init(exits_net_params(state.net), exits_net_block(state.net), 0.02, seed, 1);
    fill(optim_moment1(state.backbone_optim), model_elems, seed + 1);
    fill(optim_moment2(state.backbone_optim), model_elems, seed + 2);
    fill(optim_moment1(state.exits_optim), exits_elems, seed + 3);
    fill(optim_moment2(state.exits_optim), exits_elems, seed + 4);
    state.step = step;
    state.stage = 1;
    state.stage_step = step / 2;
    optim_counts(state.backbone_optim)[0] = step;
    optim_counts(state.exits_optim)[2] = 2 * step;
    state.balance.open[1] = 3 * (double)step;
    state.balance.sample_count = 5 * (double)step;
}

static inline void set_up(void)
{
    temp_folder_open(&folder);
    state = open_state();
}

static inline void tear_down(void)
{
    close_state(&state);
    EXPECT_OK(file_remove_tree(folder.path));
}

/* The state as it is. */
static inline enum err save_now(int64_t keep_count)
{
    const struct train_moments moments = train_state_moments(&state);

    return checkpoint_save(&state, &moments, folder.path, SETTINGS, keep_count);
}

static inline enum err save(int64_t step, int64_t keep_count)
{
    go_to_step(step);
    return save_now(keep_count);
}

static inline void path_in(char path[FILE_PATH_BYTES_MAX], int64_t step, const char *name)
{
    char within[128];

    snprintf(within, sizeof(within), "checkpoint-%d/%s", (int)step, name);
    EXPECT_OK(file_path(path, folder.path, within));
}

static inline bool is_there(const char *name)
{
    char path[FILE_PATH_BYTES_MAX];

    EXPECT_OK(file_path(path, folder.path, name));
    return file_exists(path);
}

/* checkpoint_find(), with what it says on stderr in said[4096]. */
static inline enum err find(char found[FILE_PATH_BYTES_MAX], char said[4096])
{
    FILE *to = tmpfile();

    ck_assert_ptr_nonnull(to);
    fflush(stderr);
    const int saved = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(fileno(to), STDERR_FILENO), 0);
    const enum err status = checkpoint_find(folder.path, -1, found);
    fflush(stderr);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
    rewind(to);
    said[fread(said, 1, 4095, to)] = '\0';
    fclose(to);
    return status;
}

/* The step of what is found; 0 for nothing at all; -1 where that is an error. */
static inline int64_t found_step(void)
{
    char found[FILE_PATH_BYTES_MAX];
    char said[4096];
    const enum err status = find(found, said);

    err_clear();
    if (status != ERR_OK) {
        ck_assert_int_eq(status, ERR_CORRUPT);
        return -1;
    }
    return found[0] == '\0' ? 0 : strtol(strrchr(found, '-') + 1, NULL, 10);
}

/* What is in the checkpoint of `step`, loaded into a state of its own, is the state of `of_step`. */
static inline void expect_state(int64_t step, int64_t of_step)
{
    char path[FILE_PATH_BYTES_MAX];
    struct train_state loaded = open_state();
    struct hash expected = {0}, found = {0};

    go_to_step(of_step);
    state.step = step;
    EXPECT_OK(train_state_hash(&state, &expected));
    path_in(path, step, "");
    EXPECT_OK(train_state_load(&loaded, path, SETTINGS));
    EXPECT_OK(train_state_load_optimizers(&loaded, path));
    EXPECT_OK(train_state_hash(&loaded, &found));
    ck_assert_int_eq(loaded.step, step);
    ck_assert_uint_eq(found.low, expected.low);
    ck_assert_uint_eq(found.high, expected.high);
    close_state(&loaded);
}

#endif
