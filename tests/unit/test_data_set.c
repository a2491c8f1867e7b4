/*
 * Unit tests of data/data_set.c and data/data_cifar.c, on files made by the test, and on
 * Fashion-MNIST where it is installed.
 */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "data/data_cifar.h"
#include "data/data_set.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

#define FASHION_MNIST "/usr/share/datasets/fashion-mnist"

enum { IMAGES = 5, HEIGHT = 3, WIDTH = 4, PIXELS = HEIGHT * WIDTH };

static struct temp_folder folder;

/* A valid pair of idx files, for tests to damage. */
static uint8_t images[16 + IMAGES * PIXELS];
static uint8_t labels[8 + IMAGES];

static void make_folder(void)
{
    temp_folder_open(&folder);
    memcpy(images, (const uint8_t[]){0, 0, 8, 3, 0, 0, 0, IMAGES, 0, 0, 0, HEIGHT, 0, 0, 0, WIDTH},
           16);
    bytes_from_seed(images + 16, sizeof(images) - 16, 1);
    memcpy(labels, (const uint8_t[]){0, 0, 8, 1, 0, 0, 0, IMAGES, 9, 0, 3, 1, 4}, sizeof(labels));
}

static void free_folder(void)
{
    temp_folder_close(&folder);
}

static struct data_set_source source_of(enum data_format format, enum data_part part)
{
    return (struct data_set_source){.format = format, .folder = folder.path, .part = part};
}

static void write_idx(size_t images_bytes, size_t labels_bytes)
{
    temp_folder_write(&folder, "t10k-images-idx3-ubyte", images, images_bytes);
    temp_folder_write(&folder, "t10k-labels-idx1-ubyte", labels, labels_bytes);
}

static void refuses(const struct data_set_source *source, enum err expected, const char *part)
{
    struct data_set *set = NULL;
    char text[1024];

    ck_assert_int_eq(data_set_open(source, &set), expected);
    ck_assert_ptr_null(set);
    err_text(text, sizeof(text));
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" lacks \"%s\"", text, part);
}

START_TEST(open__reads_a_pair_of_idx_files)
{
    const struct data_set_source source = source_of(DATA_IDX, DATA_TEST);
    struct data_set *set = NULL;

    write_idx(sizeof(images), sizeof(labels));
    ck_assert_int_eq(data_set_open(&source, &set), ERR_OK);
    ck_assert_int_eq(set->shape.count, IMAGES);
    ck_assert_int_eq(set->shape.channels, 1);
    ck_assert_int_eq(set->shape.height, HEIGHT);
    ck_assert_int_eq(set->shape.width, WIDTH);
    ck_assert_int_eq(set->shape.class_count, 10);
    ck_assert_mem_eq(set->images, images + 16, IMAGES * PIXELS);
    for (int i = 0; i < IMAGES; i++) {
        ck_assert_int_eq(set->labels[i], labels[8 + i]);
    }
    ck_assert_mem_eq(data_set_image(set, 2), images + 16 + 2 * PIXELS, PIXELS);
    data_set_close(set);
}
END_TEST

START_TEST(open__refuses_idx_files_that_do_not_fit_each_other_or_the_classes)
{
    struct data_set_source source = source_of(DATA_IDX, DATA_TEST);

    write_idx(sizeof(images), sizeof(labels));
    source.class_count = 9;
    refuses(&source, ERR_CORRUPT, "labels-idx1-ubyte: label 9 of sample 0, expected 0 to 8");
    source.class_count = 257;
    refuses(&source, ERR_INVALID, "class_count is 257, expected 1 to 256");
    source.class_count = -1;
    refuses(&source, ERR_INVALID, "class_count is -1");
    source.class_count = 0;

    labels[7] = IMAGES - 1;
    write_idx(sizeof(images), sizeof(labels) - 1);
    refuses(&source, ERR_CORRUPT, "labels-idx1-ubyte: 4 labels, expected 5");
}
END_TEST

START_TEST(open__passes_on_what_the_parser_refuses_with_the_name_of_the_file)
{
    const struct data_set_source source = source_of(DATA_IDX, DATA_TEST);

    write_idx(sizeof(images) - 1, sizeof(labels));
    refuses(&source, ERR_CORRUPT,
            "t10k-images-idx3-ubyte: truncated: 59 values, expected 5 x 3 x 4");
    write_idx(sizeof(images), 3);
    refuses(&source, ERR_CORRUPT, "t10k-labels-idx1-ubyte: truncated");
    images[3] = 1;
    write_idx(sizeof(images), sizeof(labels));
    refuses(&source, ERR_CORRUPT, "magic 0x00000801, expected 0x00000803");
    images[3] = 3;
    images[7] = 0;
    write_idx(sizeof(images), sizeof(labels));
    refuses(&source, ERR_CORRUPT, "0 x 3 x 4 values, expected at least one");
}
END_TEST

START_TEST(open__names_the_package_when_files_are_missing)
{
    const struct data_set_source train = source_of(DATA_IDX, DATA_TRAIN);
    const struct data_set_source test = source_of(DATA_IDX, DATA_TEST);
    const struct data_set_source cifar10 = source_of(DATA_CIFAR10, DATA_TRAIN);
    const struct data_set_source cifar100 = source_of(DATA_CIFAR100, DATA_TEST);

    refuses(&train, ERR_MISSING, "/train-images-idx3-ubyte: no such file");
    refuses(&train, ERR_MISSING, "install the package dataset-fashion-mnist or set data_dir");
    temp_folder_write(&folder, "t10k-images-idx3-ubyte", images, sizeof(images));
    refuses(&test, ERR_MISSING, "/t10k-labels-idx1-ubyte: no such file");
    refuses(&cifar10, ERR_MISSING, "/data_batch_1.bin: no such file");
    refuses(&cifar100, ERR_MISSING, "/test.bin: no such file");
}
END_TEST

/* Whether the contents of `set` have another hash than set->hash. */
static bool changes_hash(const struct data_set *set)
{
    struct hash hash;

    ck_assert_int_eq(data_set_hash(set, &hash), ERR_OK);
    return hash.low != set->hash.low || hash.high != set->hash.high;
}

START_TEST(open__gives_the_same_hash_for_plain_and_gzip_and_another_for_another_byte)
{
    const struct data_set_source source = source_of(DATA_IDX, DATA_TEST);
    struct data_set *plain = NULL;
    struct data_set *packed = NULL;
    char text[HASH_TEXT_BYTES];
    char path[1024];

    write_idx(sizeof(images), sizeof(labels));
    ck_assert_int_eq(data_set_open(&source, &plain), ERR_OK);
    snprintf(path, sizeof(path), "%s/t10k-images-idx3-ubyte", folder.path);
    ck_assert_int_eq(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/t10k-images-idx3-ubyte.gz", folder.path);
    gzFile file = gzopen(path, "wb");
    ck_assert_int_eq(gzwrite(file, images, sizeof(images)), sizeof(images));
    ck_assert_int_eq(gzclose(file), Z_OK);
    ck_assert_int_eq(data_set_open(&source, &packed), ERR_OK);
    hash_text(plain->hash, text);
    ck_assert_str_eq(text, "c4522fc9ba6582facefc12197e8f4c12");
    hash_text(packed->hash, text);
    ck_assert_str_eq(text, "c4522fc9ba6582facefc12197e8f4c12");
    ck_assert(!changes_hash(packed));

    packed->images[PIXELS * IMAGES - 1] ^= 1;
    ck_assert(changes_hash(packed));
    packed->images[PIXELS * IMAGES - 1] ^= 1;
    packed->labels[IMAGES - 1] ^= 1;
    ck_assert(changes_hash(packed));
    packed->labels[IMAGES - 1] ^= 1;
    packed->shape.class_count++;
    ck_assert(changes_hash(packed));
    data_set_close(plain);
    data_set_close(packed);
}
END_TEST

START_TEST(hash__sees_every_label_of_a_set_larger_than_one_block)
{
    const struct data_set_shape shape = {
        .count = 2500, .channels = 1, .height = 1, .width = 1, .class_count = 2};
    struct data_set *set = NULL;

    ck_assert_int_eq(data_set_open_blank(&shape, &set), ERR_OK);
    ck_assert_int_eq(data_set_hash(set, &set->hash), ERR_OK);
    for (int64_t i = 0; i < shape.count; i++) {
        set->labels[i] = 1;
        ck_assert(changes_hash(set));
        set->labels[i] = 0;
    }
    ck_assert(!changes_hash(set));
    data_set_close(set);
}
END_TEST

START_TEST(open_blank__refuses_a_shape_out_of_range)
{
    const struct data_set_shape good = {
        .count = 1, .channels = 1, .height = 1, .width = 1, .class_count = 1};
    struct data_set_shape shapes[] = {good, good, good, good, good, good, good, good};
    struct data_set *set = NULL;

    shapes[0].count = 0;
    shapes[1].count = (int64_t)UINT32_MAX + 1;
    shapes[2].channels = 0;
    shapes[3].channels = DATA_CHANNELS_MAX + 1;
    shapes[4].height = 0;
    shapes[5].width = INT64_MAX;
    shapes[6].class_count = 0;
    shapes[7].class_count = DATA_CLASSES_MAX + 1;
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(data_set_open_blank(&shapes[i], &set), ERR_INVALID);
    }
    struct data_set_shape vast = good;
    vast.count = vast.height = vast.width = UINT32_MAX;
    ck_assert_int_eq(data_set_open_blank(&vast, &set), ERR_NO_MEMORY);
    ck_assert_ptr_null(set);
}
END_TEST

/* 20 records of which record i has label i % 10 (fine, after coarse label 77). */
static uint8_t *make_records(int label_bytes, size_t *count_out)
{
    const size_t record_bytes = (size_t)label_bytes + DATA_CIFAR_PIXELS;
    uint8_t *records = malloc(20 * record_bytes);

    ck_assert_ptr_nonnull(records);
    bytes_from_seed(records, 20 * record_bytes, 5);
    for (size_t i = 0; i < 20; i++) {
        records[i * record_bytes] = 77;
        records[i * record_bytes + (size_t)label_bytes - 1] = (uint8_t)(i % 10);
    }
    *count_out = 20 * record_bytes;
    return records;
}

START_TEST(open__joins_the_five_batches_of_cifar_10)
{
    const struct data_set_source source = source_of(DATA_CIFAR10, DATA_TRAIN);
    struct data_set *set = NULL;
    size_t count = 0;
    uint8_t *records = make_records(1, &count);
    const size_t part = count / 5;
    char name[32];

    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "data_batch_%zu.bin", i + 1);
        temp_folder_write(&folder, name, records + i * part, part);
    }
    ck_assert_int_eq(data_set_open(&source, &set), ERR_OK);
    ck_assert_int_eq(set->shape.count, 20);
    ck_assert_int_eq(set->shape.channels, 3);
    ck_assert_int_eq(set->shape.height, 32);
    ck_assert_int_eq(set->shape.width, 32);
    ck_assert_int_eq(set->shape.class_count, 10);
    for (int64_t i = 0; i < 20; i++) {
        ck_assert_int_eq(set->labels[i], i % 10);
        ck_assert_mem_eq(data_set_image(set, i), records + i * 3073 + 1, DATA_CIFAR_PIXELS);
    }
    data_set_close(set);
    free(records);
}
END_TEST

START_TEST(open__takes_the_fine_label_of_cifar_100)
{
    const struct data_set_source source = source_of(DATA_CIFAR100, DATA_TEST);
    struct data_set *set = NULL;
    size_t count = 0;
    uint8_t *records = make_records(2, &count);

    temp_folder_write(&folder, "test.bin", records, count);
    ck_assert_int_eq(data_set_open(&source, &set), ERR_OK);
    ck_assert_int_eq(set->shape.count, 20);
    ck_assert_int_eq(set->shape.class_count, 100);
    for (int64_t i = 0; i < 20; i++) {
        ck_assert_int_eq(set->labels[i], i % 10);
        ck_assert_mem_eq(data_set_image(set, i), records + i * 3074 + 2, DATA_CIFAR_PIXELS);
    }
    data_set_close(set);
    free(records);
}
END_TEST

START_TEST(open__refuses_cifar_files_that_are_empty_cut_too_long_or_mislabelled)
{
    const struct data_set_source source = source_of(DATA_CIFAR10, DATA_TEST);
    size_t count = 0;
    uint8_t *records = make_records(1, &count);

    temp_folder_write(&folder, "test_batch.bin", records, 0);
    refuses(&source, ERR_CORRUPT, "test_batch.bin: empty");
    temp_folder_write(&folder, "test_batch.bin", records, count - 1);
    refuses(&source, ERR_CORRUPT, "61459 bytes, expected whole records of 3073");
    temp_folder_write(&folder, "test_batch.bin", records, 3074);
    refuses(&source, ERR_CORRUPT, "or 1 trailing bytes");
    records[3 * 3073] = 10;
    temp_folder_write(&folder, "test_batch.bin", records, count);
    refuses(&source, ERR_CORRUPT, "test_batch.bin: label 10 of sample 3, expected 0 to 9");
    free(records);
}
END_TEST

START_TEST(open__reads_fashion_mnist_where_it_is_installed)
{
    struct data_set_source source = {.format = DATA_IDX, .folder = FASHION_MNIST};
    struct data_set *set = NULL;
    int per_class[10] = {0};

    if (access(FASHION_MNIST, R_OK) != 0) {
        printf("SKIPPED: no " FASHION_MNIST "; install the package dataset-fashion-mnist\n");
        return;
    }
    ck_assert_int_eq(data_set_open(&source, &set), ERR_OK);
    ck_assert_int_eq(set->shape.count, 60000);
    ck_assert_int_eq(set->image_pixels, 784);
    for (int64_t i = 0; i < set->shape.count; i++) {
        per_class[set->labels[i]]++;
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(per_class[i], 6000);
    }
    data_set_close(set);
    source.part = DATA_TEST;
    ck_assert_int_eq(data_set_open(&source, &set), ERR_OK);
    ck_assert_int_eq(set->shape.count, 10000);
    data_set_close(set);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("data_set");
    TCase *tcase = tcase_create("data_set");

    tcase_add_checked_fixture(tcase, make_folder, free_folder);
    tcase_add_test(tcase, open__reads_a_pair_of_idx_files);
    tcase_add_test(tcase, open__refuses_idx_files_that_do_not_fit_each_other_or_the_classes);
    tcase_add_test(tcase, open__passes_on_what_the_parser_refuses_with_the_name_of_the_file);
    tcase_add_test(tcase, open__names_the_package_when_files_are_missing);
    tcase_add_test(tcase,
                   open__gives_the_same_hash_for_plain_and_gzip_and_another_for_another_byte);
    tcase_add_test(tcase, hash__sees_every_label_of_a_set_larger_than_one_block);
    tcase_add_test(tcase, open_blank__refuses_a_shape_out_of_range);
    tcase_add_test(tcase, open__joins_the_five_batches_of_cifar_10);
    tcase_add_test(tcase, open__takes_the_fine_label_of_cifar_100);
    tcase_add_test(tcase, open__refuses_cifar_files_that_are_empty_cut_too_long_or_mislabelled);
    tcase_add_test(tcase, open__reads_fashion_mnist_where_it_is_installed);
    suite_add_tcase(suite, tcase);
    return suite;
}
