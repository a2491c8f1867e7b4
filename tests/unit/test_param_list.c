/* Unit tests of trainer/model/param_list.c and of the layout of model_tensors.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/file.h"
#include "comm/base/safetensors.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"
#include "trainer/model/model_tensors.h"
#include "trainer/model/param_list.h"

enum { BLOCK_ELEMS_MAX = 1024 };

static struct temp_folder folder;
static char path[FILE_PATH_BYTES_MAX];
static struct param_list list;
static float block[BLOCK_ELEMS_MAX], loaded[BLOCK_ELEMS_MAX];

/* "w" [3, 5] and "w2" [2, 5] joined to it, then "b" [3] in the next part. */
static void set_up(void)
{
    const struct param params[] = {
        {.name = "w", .rank = 2, .shape = {3, 5}, .init = PARAM_XAVIER},
        {.name = "w2", .rank = 2, .shape = {2, 5}, .init = PARAM_NORMAL, .joined = true},
        {.name = "b", .rank = 1, .shape = {3}, .init = PARAM_ONE, .part = 1},
    };

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "weights"));
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        EXPECT_OK(param_list_add(&list, &params[i]));
    }
    param_list_init(&list, block, 0.02, 1, 0);
}

static void tear_down(void)
{
    param_list_close(&list);
    temp_folder_close(&folder);
}

START_TEST(add__joins_where_asked_and_aligns_elsewhere)
{
    int64_t begin = 0, end = 0;

    ck_assert_int_eq(list.params[0].offset, 0);
    ck_assert_int_eq(list.params[1].offset, 15);
    ck_assert_int_eq(list.params[2].offset, PARAM_ALIGN_ELEMS);
    ck_assert_int_eq(list.block_elems, 2 * PARAM_ALIGN_ELEMS);
    param_list_part(&list, 0, &begin, &end);
    ck_assert_int_eq(begin, 0);
    ck_assert_int_eq(end, PARAM_ALIGN_ELEMS);
    param_list_part(&list, 1, &begin, &end);
    ck_assert_int_eq(begin, PARAM_ALIGN_ELEMS);
    ck_assert_int_eq(end, list.block_elems);
    param_list_part(&list, 7, &begin, &end);
    ck_assert_int_eq(begin, end);
}
END_TEST

START_TEST(add__refuses_a_dimension_or_a_size_that_cannot_be)
{
    const struct param none = {.name = "none", .rank = 2, .shape = {2, 0}, .part = 1};
    const struct param vast = {.name = "vast", .rank = 2, .shape = {INT64_MAX, 2}, .part = 1};
    const struct param large = {.name = "large", .rank = 1, .shape = {INT64_MAX - 63}, .part = 1};

    EXPECT_ERR(param_list_add(&list, &none), ERR_CONFIG, "tensor none: dimension 1 is 0");
    EXPECT_ERR(param_list_add(&list, &vast), ERR_CONFIG, "tensor vast: dimension 1");
    EXPECT_ERR(param_list_add(&list, &large), ERR_CONFIG, "tensor large: the block is too large");
    ck_assert_int_eq(list.count, 3);
    ck_assert_int_eq(list.block_elems, 2 * PARAM_ALIGN_ELEMS);
}
END_TEST

START_TEST(add__keeps_all_when_there_are_many)
{
    for (int64_t i = 0; i < 1000; i++) {
        struct param param = {.rank = 1, .shape = {i + 1}, .part = 1};
        snprintf(param.name, sizeof(param.name), "p%d", (int)i);
        EXPECT_OK(param_list_add(&list, &param));
    }
    ck_assert_int_eq(list.count, 1003);
    ck_assert_str_eq(list.params[1002].name, "p999");
    ck_assert_int_eq(list.params[1002].offset + 1024, list.block_elems);
}
END_TEST

START_TEST(init__is_a_function_of_seed_and_salt_and_leaves_gaps_zero)
{
    param_list_init(&list, loaded, 0.02, 1, 0);
    ck_assert_int_eq(memcmp(block, loaded, sizeof(block)), 0);
    for (int64_t i = 25; i < PARAM_ALIGN_ELEMS; i++) {
        ck_assert_double_eq(block[i], 0);
    }
    const float bound = sqrtf(6.0f / 8);
    for (int64_t i = 0; i < 15; i++) {
        ck_assert_double_le(fabsf(block[i]), bound);
    }
    for (int64_t i = 15; i < 25; i++) {
        ck_assert_double_le(fabsf(block[i]), 0.04f);
        ck_assert_double_ne(block[i], 0);
    }
    ck_assert_double_eq(block[PARAM_ALIGN_ELEMS + 2], 1);
    param_list_init(&list, loaded, 0.02, 1, 1);
    ck_assert_double_ne(block[0], loaded[0]);
    param_list_init(&list, loaded, 0.02, 2, 0);
    ck_assert_double_ne(block[0], loaded[0]);
}
END_TEST

static void save(void)
{
    struct safetensors_tensor tensors[4];

    param_list_tensors(&list, block, tensors);
    EXPECT_OK(safetensors_write(path, tensors, (size_t)list.count, "format", "pt"));
}

START_TEST(load__gives_back_what_was_written_and_zero_gaps)
{
    save();
    memset(loaded, 0xa5, sizeof(loaded));
    EXPECT_OK(param_list_load(&list, device_cpu(), loaded, path));
    ck_assert_int_eq(memcmp(block, loaded, (size_t)list.block_elems * sizeof(float)), 0);
    float beyond = 0;
    memset(&beyond, 0xa5, sizeof(beyond));
    ck_assert_int_eq(memcmp(&loaded[list.block_elems], &beyond, sizeof(beyond)), 0);
}
END_TEST

/* A file of the list's tensors, with tensor `which` as `changed` says (none: left out). */
static void write_changed(size_t which, const struct safetensors_tensor *changed)
{
    struct safetensors_tensor all[4];
    struct safetensors_tensor tensors[4];
    size_t count = 0;

    param_list_tensors(&list, block, all);
    for (size_t i = 0; i < 3; i++) {
        if (i == which && changed != NULL) {
            tensors[count++] = *changed;
        } else if (i != which) {
            tensors[count++] = all[i];
        }
    }
    if (which >= 3 && changed != NULL) {
        tensors[count++] = *changed;
    }
    EXPECT_OK(safetensors_write(path, tensors, count, NULL, NULL));
}

START_TEST(load__refuses_another_set_of_tensors_and_names_the_first)
{
    const struct safetensors_tensor turned = {"w", SAFETENSORS_F32, 2, {5, 3}, block, 60};
    const struct safetensors_tensor flat = {"w", SAFETENSORS_F32, 1, {15}, block, 60};
    const struct safetensors_tensor whole = {"w", SAFETENSORS_I32, 2, {3, 5}, block, 60};
    const struct safetensors_tensor half = {"w", SAFETENSORS_BF16, 2, {3, 5}, block, 30};
    const struct safetensors_tensor strange = {"extra", SAFETENSORS_F32, 1, {2}, block, 8};

    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_MISSING, path);
    write_changed(1, NULL);
    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT,
               "tensor w2 is missing");
    write_changed(0, &turned);
    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT,
               "tensor w is F32 [5, 3], the configuration asks for F32 [3, 5]");
    write_changed(0, &flat);
    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT,
               "tensor w is F32 [15]");
    write_changed(0, &whole);
    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT,
               "tensor w is I32 [3, 5]");
    write_changed(0, &half);
    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT,
               "tensor w is BF16 [3, 5]");
    write_changed(3, &strange);
    EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT,
               "tensor extra is not one of");
    write_changed(3, NULL);
    EXPECT_OK(param_list_load(&list, device_cpu(), loaded, path));
}
END_TEST

START_TEST(load__refuses_what_is_not_finite)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        block[15 + 4] = values[i];
        save();
        EXPECT_ERR(param_list_load(&list, device_cpu(), loaded, path), ERR_CORRUPT, "at element 4");
    }
}
END_TEST

/* What belongs to other parts may be anything: of another type, not finite, unknown, cut off. */
START_TEST(load_parts__reads_nothing_else)
{
    struct safetensors_tensor tensors[4];
    struct file_map map;

    block[PARAM_ALIGN_ELEMS] = NAN;
    param_list_tensors(&list, block, tensors);
    tensors[3] = (struct safetensors_tensor){"z", SAFETENSORS_F32, 1, {7}, block, 28};
    EXPECT_OK(safetensors_write(path, tensors, 4, NULL, NULL));
    EXPECT_OK(file_map(path, &map));
    for (size_t cut = 0; cut <= 29; cut++) {
        temp_folder_write(&folder, "cut", map.bytes, map.count - cut);
        EXPECT_OK(file_path(path, folder.path, "cut"));
        memset(loaded, 0xa5, sizeof(loaded));
        if (cut == 29) {
            EXPECT_ERR(param_list_load_parts(&list, 1, device_cpu(), loaded, path), ERR_CORRUPT,
                       "tensor w2 is cut off");
            continue;
        }
        EXPECT_OK(param_list_load_parts(&list, 1, device_cpu(), loaded, path));
        ck_assert_mem_eq(loaded, block, 25 * sizeof(float));
        for (int64_t i = 25; i < list.block_elems; i++) {
            ck_assert_double_eq(loaded[i], 0);
        }
        EXPECT_ERR(param_list_load_parts(&list, 2, device_cpu(), loaded, path), ERR_CORRUPT,
                   "tensor b holds");
    }
    file_unmap(&map);
}
END_TEST

START_TEST(layout__finds_each_tensor_where_its_name_says)
{
    const struct model_config config = {.image_size = 8,
                                        .patch_size = 4,
                                        .num_channels = 3,
                                        .hidden_size = 6,
                                        .num_hidden_layers = 12,
                                        .num_attention_heads = 2,
                                        .intermediate_size = 10,
                                        .num_labels = 7};
    struct param_list layout;
    int64_t begin = 0, end = 0, last_end = 0;

    EXPECT_OK(model_layout_open(&config, &layout));
    const struct param *const up = &layout.params[model_tensor_index(&config, MODEL_up_weight, 11)];
    ck_assert_str_eq(up->name, "vit.encoder.layer.11.intermediate.dense.weight");
    ck_assert_int_eq(up->shape[0], 10);
    ck_assert_int_eq(up->shape[1], 6);
    ck_assert_int_eq(up->part, 12);
    const struct param *const positions =
        &layout.params[model_tensor_index(&config, MODEL_positions, 0)];
    ck_assert_str_eq(positions->name, "vit.embeddings.position_embeddings");
    ck_assert_int_eq(positions->shape[1], 5);
    const int64_t query = model_tensor_index(&config, MODEL_query_weight, 3);
    ck_assert_int_eq(layout.params[query + 2].offset, layout.params[query].offset + 2 * 36);
    const int64_t bias = model_tensor_index(&config, MODEL_class_bias, 0);
    ck_assert_int_eq(bias, layout.count - 1);
    ck_assert_str_eq(layout.params[bias].name, "classifier.bias");
    for (int part = 0; part < model_part_count(&config); part++) { /* parts tile the block */
        param_list_part(&layout, part, &begin, &end);
        ck_assert_int_eq(begin, last_end);
        ck_assert_int_gt(end, begin);
        last_end = end;
    }
    ck_assert_int_eq(last_end, layout.block_elems);
    param_list_close(&layout);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("param_list");
    TCase *tcase = tcase_create("param_list");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, add__joins_where_asked_and_aligns_elsewhere);
    tcase_add_test(tcase, add__refuses_a_dimension_or_a_size_that_cannot_be);
    tcase_add_test(tcase, add__keeps_all_when_there_are_many);
    tcase_add_test(tcase, init__is_a_function_of_seed_and_salt_and_leaves_gaps_zero);
    tcase_add_test(tcase, load__gives_back_what_was_written_and_zero_gaps);
    tcase_add_test(tcase, load__refuses_another_set_of_tensors_and_names_the_first);
    tcase_add_test(tcase, load__refuses_what_is_not_finite);
    tcase_add_test(tcase, load_parts__reads_nothing_else);
    tcase_add_test(tcase, layout__finds_each_tensor_where_its_name_says);
    suite_add_tcase(suite, tcase);
    return suite;
}
