/* Unit tests of comm/base/safetensors.c. GOLDEN_FOLDER is tests/golden. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/bytes.h"
#include "comm/base/file.h"
#include "comm/base/safetensors.h"
#include "tests/support/bytes_from_seed.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

#define GOLDEN_FILE GOLDEN_FOLDER "/reference.safetensors"

/* A block of exactly the file's size, so that a sanitizer sees a read beyond it. */
struct image {
    uint8_t *bytes;
    size_t count;
};

/* A file of this header, with `length` in front of it, and buffer_bytes of data behind it. */
static struct image image_open(const char *header, uint64_t length, size_t buffer_bytes)
{
    const size_t header_bytes = strlen(header);
    const struct image image = {malloc(8 + header_bytes + buffer_bytes),
                                8 + header_bytes + buffer_bytes};

    ck_assert_ptr_nonnull(image.bytes);
    bytes_put_u64(image.bytes, length);
    memcpy(image.bytes + 8, header, header_bytes);
    bytes_from_seed(image.bytes + 8 + header_bytes, buffer_bytes, 1);
    return image;
}

static enum err parse(const char *header, size_t buffer_bytes)
{
    const struct image image = image_open(header, strlen(header), buffer_bytes);
    struct safetensors *file = NULL;
    const enum err status = safetensors_parse(image.bytes, image.count, "input", &file);

    safetensors_close(file);
    free(image.bytes);
    return status;
}

static const struct {
    const char *header;
    size_t buffer_bytes;
    const char *part;
} broken_rules[] = {
    /* where the tensors lie */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
     7, "tensor b begins at 3 where 4 was expected: an overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
     4, "overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[5,7]}}",
     7, "tensor b begins at 5 where 4 was expected: a hole"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]}}", 5,
     "tensor a begins at 1 where 0 was expected: a hole"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
     4, "tensor e begins at 2"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5,
     "tensors end at 4 of 5 bytes"},
    {"{}", 1, "tensors end at 0 of 1 bytes"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 3,
     "tensor a: data_offsets [0, 4) lie outside the 3 bytes"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[-4,0]}}", 4, "tensor a: data_off"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}}", 4, "tensor a: data_off"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
     "tensor a: data_offsets [0, 9223372036854775807) lie outside"},
    /* how large they are */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
     "tensor a: 4 bytes where dtype and shape need 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]}}", 0,
     "tensor a: 0 bytes where dtype and shape need 4"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,4]}}", 4,
     "tensor a: 4 bytes where dtype and shape need 0"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
     "tensor a: the size overflows at dimension 0"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "tensor a: the size overflows at dimension 1"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,3],\"data_offsets\":[0,0]}}", 0,
     "tensor a: the size overflows at dimension 1"},
    /* what an entry is */
    {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor a: dtype F31 is not known"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, "dtype F4 is not known"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype f32"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor a: dtype: found an integer, expected a string"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0,
     "tensor a: dimension 0 is no integer >= 0"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2.0],\"data_offsets\":[0,2]}}", 2, "dimension 0"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":2,\"data_offsets\":[0,2]}}", 2, "tensor a: shape is no"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
     "tensor a: shape is no list of at most 8"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0]}}", 2,
     "tensor a: data_offsets is no pair"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2,2]}}", 2, "no pair"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,\"2\"]}}", 2, "no pair"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2]}}", 2, "tensor a: its entry is not"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"offsets\":[0,2]}}", 2, "tensor a: data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2],\"x\":1}}", 2,
     "tensor a: its entry is not"},
    {"{\"a\":[\"U8\",[2],[0,2]]}", 2, "tensor a: its entry is not"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
     4, "duplicate object key near '\"a\"'"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
     "duplicate object key near '\"dtype\"'"},
    /* metadata */
    {"{\"__metadata__\":[\"a\"]}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"epoch\":3}}", 0, "__metadata__.epoch is no string"},
    {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0, "duplicate object key"},
    /* the header as a whole */
    {"[]", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"{}x", 0, "end of file expected"},
    {"{\"a\"", 0, "not JSON"},
    {"{", 0, "header of 1 bytes"},
    {"", 0, "header of 0 bytes"},
};

START_TEST(parse__refuses_a_broken_rule_and_names_the_tensor)
{
    for (size_t i = 0; i < sizeof(broken_rules) / sizeof(broken_rules[0]); i++) {
        EXPECT_ERR(parse(broken_rules[i].header, broken_rules[i].buffer_bytes), ERR_CORRUPT,
                   broken_rules[i].part);
    }
}
END_TEST

START_TEST(parse__refuses_a_header_longer_than_the_file_or_the_limit)
{
    static const uint64_t lengths[] = {3, 100000000, 100000001, UINT64_MAX, UINT64_MAX - 7};
    struct safetensors *file = NULL;
    uint8_t few[7] = {2};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const struct image image = image_open("{}", lengths[i], 0);
        EXPECT_ERR(safetensors_parse(image.bytes, image.count, "input", &file), ERR_CORRUPT,
                   "in a file of 10; at most 100000000 are allowed");
        free(image.bytes);
    }
    EXPECT_ERR(safetensors_parse(few, sizeof(few), "input", &file), ERR_CORRUPT, "file of 7");
    EXPECT_ERR(safetensors_parse(few, 0, "input", &file), ERR_CORRUPT, "file of 0");
    ck_assert_ptr_null(file);
}
END_TEST

START_TEST(parse__accepts_a_header_at_the_limit_and_none_above)
{
    enum { LIMIT = 100000000 };
    uint8_t *bytes = malloc(8 + LIMIT + 1);
    struct safetensors *file = NULL;

    ck_assert_ptr_nonnull(bytes);
    memset(bytes + 8, ' ', LIMIT + 1);
    memcpy(bytes + 8, "{}", 2);
    bytes_put_u64(bytes, LIMIT);
    EXPECT_OK(safetensors_parse(bytes, 8 + LIMIT, "input", &file));
    safetensors_close(file);
    bytes_put_u64(bytes, LIMIT + 1);
    EXPECT_ERR(safetensors_parse(bytes, 8 + LIMIT + 1, "input", &file), ERR_CORRUPT, "100000001");
    free(bytes);
}
END_TEST

START_TEST(parse__accepts_what_the_rules_allow)
{
    static const char header[] =
        "{\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[6,10]},"
        "\"__metadata__\":{\"format\":\"pt\",\"\":\"\"},"
        "\"none\":{\"data_offsets\":[6,6],\"shape\":[3,0,5],\"dtype\":\"F64\"},"
        "\"\":{\"dtype\":\"U8\",\"shape\":[2,3],\"data_offsets\":[0,6]},"
        "\"last\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[10,10]}}   ";
    const struct image image = image_open(header, strlen(header), 10);
    struct safetensors *file = NULL;
    char text[32];

    EXPECT_OK(safetensors_parse(image.bytes, image.count, "input", &file));
    ck_assert_uint_eq(safetensors_count(file), 4);
    const struct safetensors_tensor *const nameless = safetensors_at(file, 0); /* by place */
    ck_assert_str_eq(nameless->name, "");
    ck_assert_ptr_eq(nameless->bytes, image.bytes + 8 + strlen(header));
    safetensors_shape_text(nameless, text, sizeof(text));
    ck_assert_str_eq(text, "[2, 3]");
    const struct safetensors_tensor *const scalar = safetensors_find(file, "scalar");
    ck_assert_ptr_nonnull(scalar);
    ck_assert_int_eq(scalar->rank, 0);
    ck_assert_uint_eq(scalar->byte_count, 4);
    ck_assert_ptr_eq(scalar->bytes, (const uint8_t *)nameless->bytes + 6);
    safetensors_shape_text(scalar, text, sizeof(text));
    ck_assert_str_eq(text, "[]");
    const struct safetensors_tensor *const none = safetensors_find(file, "none");
    ck_assert_int_eq(none->dtype, SAFETENSORS_F64);
    ck_assert_uint_eq(none->byte_count, 0);
    ck_assert_ptr_null(safetensors_find(file, "__metadata__"));
    ck_assert_ptr_null(safetensors_find(file, "scala"));
    ck_assert_str_eq(safetensors_metadata(file, "format"), "pt");
    ck_assert_ptr_null(safetensors_metadata(file, "author"));
    safetensors_close(file);
    free(image.bytes);
    EXPECT_OK(parse("{}", 0));
}
END_TEST

START_TEST(shape_text__stays_inside_a_small_text)
{
    const struct safetensors_tensor tensor = {.rank = 3, .shape = {1000, 1000, 1000}};
    char text[24];

    for (size_t bytes = 1; bytes <= 20; bytes++) {
        memset(text, '#', sizeof(text));
        safetensors_shape_text(&tensor, text, bytes);
        ck_assert_ptr_nonnull(memchr(text, '\0', bytes));
        ck_assert_int_eq(text[bytes], '#');
    }
    ck_assert_str_eq(text, "[1000, 1000, 1000]");
}
END_TEST

/*
 * reference.safetensors was written by the Python package safetensors 0.8.0 with the metadata
 * {"format": "pt"} from: of_X for each dtype X, shape [2], bytes 1, 2, 3, ... (of_BOOL: 0, 1);
 * "weight" F32 [2, 3] = 0, 0.5, ... 2.5; "a scalar" F32 [] = -1; "nothing" I64 [0, 3].
 */
enum { REFERENCE_TENSORS = SAFETENSORS_DTYPE_COUNT + 3 };

static const uint8_t counting[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t truth[2] = {0, 1};
static const float weight[6] = {0, 0.5f, 1, 1.5f, 2, 2.5f};
static const float scalar_value = -1;

/* In no particular order. Names of dtypes are made in names[]. */
static void describe_reference(struct safetensors_tensor tensors[REFERENCE_TENSORS],
                               char names[SAFETENSORS_DTYPE_COUNT][16])
{
    static const size_t widths[SAFETENSORS_DTYPE_COUNT] = {
        [SAFETENSORS_C64] = 8,     [SAFETENSORS_F64] = 8, [SAFETENSORS_I64] = 8,
        [SAFETENSORS_U64] = 8,     [SAFETENSORS_F32] = 4, [SAFETENSORS_I32] = 4,
        [SAFETENSORS_U32] = 4,     [SAFETENSORS_F16] = 2, [SAFETENSORS_BF16] = 2,
        [SAFETENSORS_I16] = 2,     [SAFETENSORS_U16] = 2, [SAFETENSORS_F8_E4M3] = 1,
        [SAFETENSORS_F8_E5M2] = 1, [SAFETENSORS_I8] = 1,  [SAFETENSORS_U8] = 1,
        [SAFETENSORS_BOOL] = 1};

    for (int d = 0; d < SAFETENSORS_DTYPE_COUNT; d++) {
        const enum safetensors_dtype dtype = (enum safetensors_dtype)d;
        snprintf(names[d], sizeof(names[d]), "of_%s", safetensors_dtype_name(dtype));
        tensors[d] = (struct safetensors_tensor){
            .name = names[d],
            .dtype = dtype,
            .rank = 1,
            .shape = {2},
            .bytes = dtype == SAFETENSORS_BOOL ? truth : counting,
            .byte_count = 2 * widths[d],
        };
    }
    tensors[SAFETENSORS_DTYPE_COUNT] =
        (struct safetensors_tensor){"weight", SAFETENSORS_F32, 2, {2, 3}, weight, sizeof(weight)};
    tensors[SAFETENSORS_DTYPE_COUNT + 1] = (struct safetensors_tensor){
        "a scalar", SAFETENSORS_F32, 0, {0}, &scalar_value, sizeof(scalar_value)};
    tensors[SAFETENSORS_DTYPE_COUNT + 2] =
        (struct safetensors_tensor){"nothing", SAFETENSORS_I64, 2, {0, 3}, NULL, 0};
}

static void expect_same_tensors(const struct safetensors *file,
                                const struct safetensors_tensor *tensors, size_t count)
{
    ck_assert_uint_eq(safetensors_count(file), count);
    for (size_t i = 0; i < count; i++) {
        const struct safetensors_tensor *const found = safetensors_find(file, tensors[i].name);
        ck_assert_ptr_nonnull(found);
        ck_assert_int_eq(found->dtype, tensors[i].dtype);
        ck_assert_int_eq(found->rank, tensors[i].rank);
        ck_assert_uint_eq(found->byte_count, tensors[i].byte_count);
        for (int d = 0; d < found->rank; d++) {
            ck_assert_int_eq(found->shape[d], tensors[i].shape[d]);
        }
        if (found->byte_count > 0) {
            ck_assert_int_eq(memcmp(found->bytes, tensors[i].bytes, found->byte_count), 0);
        }
    }
}

START_TEST(open__reads_what_the_reference_wrote)
{
    struct safetensors_tensor tensors[REFERENCE_TENSORS];
    char names[SAFETENSORS_DTYPE_COUNT][16];
    struct safetensors *file = NULL;

    describe_reference(tensors, names);
    EXPECT_OK(safetensors_open(GOLDEN_FILE, &file));
    expect_same_tensors(file, tensors, REFERENCE_TENSORS);
    ck_assert_str_eq(safetensors_metadata(file, "format"), "pt");
    safetensors_close(file);
}
END_TEST

START_TEST(write__gives_the_bytes_of_the_reference)
{
    struct safetensors_tensor tensors[REFERENCE_TENSORS];
    char names[SAFETENSORS_DTYPE_COUNT][16];
    char path[FILE_PATH_BYTES_MAX];
    struct temp_folder folder;
    struct file_map ours, reference;

    temp_folder_open(&folder);
    describe_reference(tensors, names);
    EXPECT_OK(file_path(path, folder.path, "ours"));
    EXPECT_OK(safetensors_write(path, tensors, REFERENCE_TENSORS, "format", "pt"));
    EXPECT_OK(file_map(path, &ours));
    EXPECT_OK(file_map(GOLDEN_FILE, &reference));
    ck_assert_uint_eq(ours.count, reference.count);
    ck_assert_int_eq(memcmp(ours.bytes, reference.bytes, ours.count), 0);
    file_unmap(&ours);
    file_unmap(&reference);
    temp_folder_close(&folder);
}
END_TEST

START_TEST(write__is_read_back_when_names_and_sizes_are_odd)
{
    uint8_t bytes[1000];
    const struct safetensors_tensor tensors[] = {
        {"a\"quote\\", SAFETENSORS_U8, 1, {333}, bytes, 333},
        {"new\nline", SAFETENSORS_BF16, 3, {1, 7, 1}, bytes + 1, 14},
        {"\xc3\xa9", SAFETENSORS_BOOL, 1, {1}, bytes + 5, 1},
        {"", SAFETENSORS_F64, 8, {1, 1, 2, 1, 1, 2, 1, 1}, bytes + 3, 32},
        {"x", SAFETENSORS_F64, 1, {0}, NULL, 0},
    };
    const size_t count = sizeof(tensors) / sizeof(tensors[0]);
    struct safetensors *file = NULL;
    struct temp_folder folder;
    char path[FILE_PATH_BYTES_MAX];

    bytes_from_seed(bytes, sizeof(bytes), 2);
    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "tensors"));
    for (size_t n = 0; n <= count; n++) { /* over the old file each time */
        EXPECT_OK(safetensors_write(path, tensors, n, NULL, NULL));
        EXPECT_OK(safetensors_open(path, &file));
        expect_same_tensors(file, tensors, n);
        ck_assert_ptr_null(safetensors_metadata(file, "format"));
        safetensors_close(file);
    }
    temp_folder_close(&folder);
}
END_TEST

START_TEST(write__refuses_a_name_it_cannot_write_and_makes_no_file)
{
    const struct safetensors_tensor tensor = {"\xff", SAFETENSORS_U8, 1, {4}, counting, 4};
    struct temp_folder folder;
    char path[FILE_PATH_BYTES_MAX];

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "tensors"));
    EXPECT_ERR(safetensors_write(path, &tensor, 1, NULL, NULL), ERR_INVALID, "not UTF-8");
    ck_assert(!file_exists(path));
    temp_folder_close(&folder);
}
END_TEST

/* At every length: a tensor is there whole or not at all, and without a whole head there is no file. */
START_TEST(open_cut__has_what_is_left)
{
    const struct safetensors_tensor tensors[] = {{"a", SAFETENSORS_U8, 1, {5}, counting, 5},
                                                 {"b", SAFETENSORS_U8, 1, {3}, counting + 5, 3}};
    struct safetensors *file = NULL;
    struct temp_folder folder;
    char path[FILE_PATH_BYTES_MAX];
    struct file_map map;

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "tensors"));
    EXPECT_OK(safetensors_write(path, tensors, 2, NULL, NULL));
    EXPECT_OK(file_map(path, &map));
    for (size_t cut = 0; cut <= map.count; cut++) {
        const size_t left = map.count - cut;
        temp_folder_write(&folder, "cut", map.bytes, left);
        EXPECT_OK(file_path(path, folder.path, "cut"));
        if (cut > 8) {
            EXPECT_ERR(safetensors_open_cut(path, &file), ERR_CORRUPT, "cut");
            continue;
        }
        EXPECT_OK(safetensors_open_cut(path, &file));
        const struct safetensors_tensor *a = safetensors_find(file, "a");
        const struct safetensors_tensor *b = safetensors_find(file, "b");
        ck_assert_int_eq(a->bytes != NULL, cut <= 3);
        ck_assert_int_eq(b->bytes != NULL, cut == 0);
        ck_assert(a->bytes == NULL || memcmp(a->bytes, counting, 5) == 0);
        safetensors_close(file);
        if (cut > 0) {
            EXPECT_ERR(safetensors_open(path, &file), ERR_CORRUPT, "cut");
        }
    }
    file_unmap(&map);
    temp_folder_close(&folder);
}
END_TEST

START_TEST(open__tells_a_missing_file_from_a_broken_one)
{
    struct safetensors *file = NULL;
    struct temp_folder folder;
    char path[FILE_PATH_BYTES_MAX];

    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "tensors"));
    EXPECT_ERR(safetensors_open(path, &file), ERR_MISSING, path);
    EXPECT_OK(file_write_text(path, ""));
    EXPECT_ERR(safetensors_open(path, &file), ERR_CORRUPT, path);
    ck_assert_ptr_null(file);
    temp_folder_close(&folder);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tcase = tcase_create("safetensors");

    tcase_add_test(tcase, parse__refuses_a_broken_rule_and_names_the_tensor);
    tcase_add_test(tcase, parse__refuses_a_header_longer_than_the_file_or_the_limit);
    tcase_add_test(tcase, parse__accepts_a_header_at_the_limit_and_none_above);
    tcase_add_test(tcase, parse__accepts_what_the_rules_allow);
    tcase_add_test(tcase, shape_text__stays_inside_a_small_text);
    tcase_add_test(tcase, open__reads_what_the_reference_wrote);
    tcase_add_test(tcase, write__gives_the_bytes_of_the_reference);
    tcase_add_test(tcase, write__is_read_back_when_names_and_sizes_are_odd);
    tcase_add_test(tcase, write__refuses_a_name_it_cannot_write_and_makes_no_file);
    tcase_add_test(tcase, open__tells_a_missing_file_from_a_broken_one);
    tcase_add_test(tcase, open_cut__has_what_is_left);
    suite_add_tcase(suite, tcase);
    return suite;
}
