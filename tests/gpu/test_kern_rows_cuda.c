/*
 * Tests of trainer/kernels/kern_rows_cuda.cu, kern_gate_cuda.cu and kern_embed_cuda.cu against the
 * portable versions: the bits of rows and of gates forward, the tolerance of products elsewhere.
 */
#include <string.h>

#include "tests/support/device_mirror.h"
#include "tests/support/float_block.h"
#include "tests/support/kern_versions.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_embed.h"
#include "trainer/kernels/kern_gate.h"
#include "trainer/kernels/kern_ops.h"
#include "trainer/kernels/kern_rows.h"

static const struct shape {
    int64_t rows, columns, ld_to, ld_from;
} SHAPES[] = {
    {0, 4, 4, 4},    {1, 1, 1, 1},     {1, 7, 7, 7},     {2, 8, 8, 16},  {3, 5, 9, 6},
    {5, 16, 20, 16}, {17, 33, 33, 40}, {9, 64, 68, 128}, {64, 3, 3, 64}, {2, 3000, 3000, 3001},
};
enum { SHAPE_COUNT = sizeof(SHAPES) / sizeof(SHAPES[0]) };

/* Two blocks of the same numbers: one for the portable version, one for that of the device. */
struct pair {
    struct float_block plain, there;
};

static struct pair open_pair(int64_t count, uint32_t sub)
{
    return (struct pair){float_block_normal(count, sub), float_block_normal(count, sub)};
}

static void close_same(const struct pair *pair, const char *what)
{
    for (int64_t i = 0; i < pair->plain.count; i++) {
        if (memcmp(pair->plain.data + i, pair->there.data + i, sizeof(float)) != 0) {
            ck_abort_msg("%s[%d] is %.9g, not %.9g", what, (int)i, (double)pair->there.data[i],
                         (double)pair->plain.data[i]);
        }
    }
    float_block_close(&pair->plain);
    float_block_close(&pair->there);
}

static void close_near(const struct pair *pair, const char *what, double tolerance)
{
    for (int64_t i = 0; i < pair->plain.count; i++) {
        if (!kern_is_close((double)pair->there.data[i], (double)pair->plain.data[i], tolerance)) {
            ck_abort_msg("%s[%d] is %.9g, not %.9g", what, (int)i, (double)pair->there.data[i],
                         (double)pair->plain.data[i]);
        }
    }
    float_block_close(&pair->plain);
    float_block_close(&pair->there);
}

START_TEST(rows__have_the_bits_of_the_portable_version_at_every_stride)
{
    const struct shape *s = &SHAPES[_i];
    const int64_t to_elems = s->rows * s->ld_to, from_elems = s->rows * s->ld_from;
    const struct pair copy = open_pair(to_elems, 1), sum = open_pair(to_elems, 2);
    const struct pair zero = open_pair(to_elems, 3), gather = open_pair(s->rows * s->columns, 4);
    const struct float_block from = float_block_normal(from_elems, 5);
    uint32_t index[64];
    struct device_mirror m = device_mirror_begin();
    const float *from_there = device_mirror_in(&m, from.data, from_elems);

    for (int64_t r = 0; r < s->rows; r++) {
        index[r] = (uint32_t)((r * 7 + 3) % s->rows);
    }
    kern_copy_rows_portable(copy.plain.data, s->ld_to, from.data, s->ld_from, s->rows, s->columns);
    kern_copy_rows_cuda(device_mirror_out(&m, copy.there.data, to_elems), s->ld_to, from_there,
                        s->ld_from, s->rows, s->columns);
    kern_add_rows_portable(sum.plain.data, s->ld_to, from.data, s->ld_from, 0.3f, s->rows,
                           s->columns);
    kern_add_rows_cuda(device_mirror_out(&m, sum.there.data, to_elems), s->ld_to, from_there,
                       s->ld_from, 0.3f, s->rows, s->columns);
    kern_zero_portable(zero.plain.data, to_elems);
    kern_zero_cuda(device_mirror_out(&m, zero.there.data, to_elems), to_elems);
    kern_gather_rows_portable(gather.plain.data, from.data, s->ld_from, index, s->rows, s->columns);
    kern_gather_rows_cuda(
        device_mirror_out(&m, gather.there.data, s->rows * s->columns), from_there, s->ld_from,
        device_mirror_of(&m, index, (size_t)s->rows * sizeof(*index), false), s->rows, s->columns);
    device_mirror_end(&m);
    close_same(&copy, "copy");
    close_same(&sum, "sum");
    close_same(&zero, "zero");
    close_same(&gather, "gather");
    float_block_close(&from);
}
END_TEST

START_TEST(keep_rows_and_count__have_the_bits_of_the_portable_version)
{
    static const uint32_t index[] = {1, 2, 5, 6};
    const struct pair rows = open_pair(7 * 33, 1), counts = open_pair(2, 2);
    const struct float_block scratch = float_block_open(4 * 33);
    struct device_mirror m = device_mirror_begin();

    kern_keep_rows_portable(rows.plain.data, scratch.data, index, 4, 33);
    kern_keep_rows_cuda(device_mirror_out(&m, rows.there.data, 7 * 33),
                        device_mirror_out(&m, scratch.data, 4 * 33),
                        device_mirror_of(&m, index, sizeof(index), false), 4, 33);
    kern_count_portable(counts.plain.data, 3, 0.1f);
    kern_count_cuda(device_mirror_out(&m, counts.there.data, 2), 3, 0.1f);
    device_mirror_end(&m);
    close_same(&rows, "rows");
    close_same(&counts, "counts");
    float_block_close(&scratch);
}
END_TEST

START_TEST(mean__has_the_bits_of_the_portable_version)
{
    static const int64_t shapes[][3] = {{1, 2, 1}, {3, 5, 7}, {2, 50, 32}, {5, 17, 33}, {0, 2, 4}};
    const int64_t B = shapes[_i][0], T = shapes[_i][1], D = shapes[_i][2];
    const struct pair mean = open_pair(B * D, 1), dx = open_pair(B * T * D, 2);
    const struct float_block x = float_block_normal(B * T * D, 3);
    const struct float_block dmean = float_block_normal(B * D, 4);
    struct device_mirror m = device_mirror_begin();

    kern_mean_forward_portable(mean.plain.data, x.data, B, T, D);
    kern_mean_forward_cuda(device_mirror_out(&m, mean.there.data, B * D),
                           device_mirror_in(&m, x.data, B * T * D), B, T, D);
    kern_mean_backward_portable(dx.plain.data, dmean.data, B, T, D);
    kern_mean_backward_cuda(device_mirror_out(&m, dx.there.data, B * T * D),
                            device_mirror_in(&m, dmean.data, B * D), B, T, D);
    device_mirror_end(&m);
    close_same(&mean, "mean");
    close_same(&dx, "dx");
    float_block_close(&x);
    float_block_close(&dmean);
}
END_TEST

START_TEST(tally__has_the_bits_of_the_portable_version)
{
    static const int64_t counts[] = {0, 1, 5, 255, 256, 257, 1000};
    const int64_t N = counts[_i];
    const struct pair sums = open_pair(2, 1);
    const struct float_block loss = float_block_normal(N, 2);
    int32_t predicted[1000], label[1000];
    struct device_mirror m = device_mirror_begin();

    for (int i = 0; i < 1000; i++) {
        predicted[i] = i % 7;
        label[i] = i % 5;
    }
    kern_tally_portable(sums.plain.data, sums.plain.data + 1, loss.data, predicted, label, N);
    float *there = device_mirror_out(&m, sums.there.data, 2);
    kern_tally_cuda(there, there + 1, device_mirror_in(&m, loss.data, N),
                    device_mirror_in_i32(&m, predicted, N), device_mirror_in_i32(&m, label, N), N);
    device_mirror_end(&m);
    close_same(&sums, "sum");
    float_block_close(&loss);
}
END_TEST

/* A gate of four blocks behind each other; up comes first, so that H = 0 has only what it has. */
static struct kern_gate gate_at(float *block, int64_t H)
{
    float *out = block + 5 * H;

    return (struct kern_gate){H, block, block + 4 * H, out, out + (H == 0 ? 4 : H)};
}

START_TEST(gate__is_that_of_the_portable_version)
{
    static const int64_t shapes[][2] = {{0, 1}, {0, 100}, {1, 3}, {7, 33}, {16, 257}, {64, 0}};
    const int64_t H = shapes[_i / 2][0], N = shapes[_i / 2][1];
    const bool accumulate = _i % 2 == 1;
    const int64_t elems = 5 * H + (H == 0 ? 4 : H) + 1;
    const struct float_block block = float_block_normal(elems, 1), da = float_block_normal(N, 2);
    const struct pair features = open_pair(4 * N, 3), relu = open_pair(H * N, 4);
    const struct pair a = open_pair(N, 5), gradients = open_pair(elems, 6);
    const struct kern_gate gate = gate_at(block.data, H);
    const struct kern_gate dgate = gate_at(gradients.plain.data, H);
    struct device_mirror m = device_mirror_begin();

    kern_gate_forward_portable(a.plain.data, relu.plain.data, features.plain.data, 0.4f, &gate, N);
    kern_gate_backward_portable(&dgate, da.data, relu.plain.data, features.plain.data, &gate, N,
                                accumulate);
    float *block_there = device_mirror_out(&m, block.data, elems);
    float *relu_there = device_mirror_out(&m, relu.there.data, H * N);
    float *features_there = device_mirror_out(&m, features.there.data, 4 * N);
    const struct kern_gate gate_there = gate_at(block_there, H);
    const struct kern_gate dgate_there =
        gate_at(device_mirror_out(&m, gradients.there.data, elems), H);
    kern_gate_forward_cuda(device_mirror_out(&m, a.there.data, N), relu_there, features_there, 0.4f,
                           &gate_there, N);
    kern_gate_backward_cuda(&dgate_there, device_mirror_in(&m, da.data, N), relu_there,
                            features_there, &gate_there, N, accumulate);
    device_mirror_end(&m);
    close_same(&features, "features");
    close_same(&relu, "relu");
    close_same(&a, "a");
    close_near(&gradients, "gradients", 2e-5); /* sums of 257 in another order */
    float_block_close(&block);
    float_block_close(&da);
}
END_TEST

START_TEST(embed__is_that_of_the_portable_version)
{
    static const struct kern_embed_shape shapes[] = {
        {1, 1, 4, 4, 3}, {3, 1, 28, 7, 24}, {2, 3, 12, 4, 16}, {9, 2, 6, 3, 5}, {33, 1, 8, 4, 8}};
    const struct kern_embed_shape *shape = &shapes[_i / 2];
    const bool accumulate = _i % 2 == 1;
    const int64_t side = shape->S / shape->P, T = 1 + side * side, B = shape->B, D = shape->D;
    const int64_t inputs = shape->C * shape->P * shape->P, pixels = shape->C * shape->S * shape->S;
    const int64_t elems = D * inputs + 2 * D + T * D;
    const struct float_block weights = float_block_normal(elems, 1);
    const struct float_block images = float_block_normal(B * pixels, 2);
    const struct float_block dx = float_block_normal(B * T * D, 3);
    const struct float_block scratch = float_block_open(B * T * D);
    const struct pair x = open_pair(B * T * D, 4), patches = open_pair(B * (T - 1) * inputs, 5);
    const struct pair gradients = open_pair(elems, 6);
    struct kern_ops ops;
    struct device_mirror m = device_mirror_begin();

    device_mirror_check(kern_ops_choose(KERN_ISA_PORTABLE, KERN_MATMUL_PORTABLE, &ops));
    for (int version = 0; version < 2; version++) {
        float *w = version == 0 ? weights.data : device_mirror_out(&m, weights.data, elems);
        float *g = version == 0 ? gradients.plain.data
                                : device_mirror_out(&m, gradients.there.data, elems);
        const struct kern_linear linear = {.N = D, .K = inputs, .weight = w};
        float *bias = w + D * inputs;
        const struct kern_embed embed = {&linear, bias, bias + D, bias + 2 * D};
        const struct kern_embed_gradients into = {g, g + D * inputs, g + D * inputs + D,
                                                  g + D * inputs + 2 * D};
        if (version == 0) {
            kern_embed_forward_cpu(&ops, x.plain.data, patches.plain.data, images.data, &embed,
                                   shape);
            kern_embed_backward_cpu(&ops, &into, dx.data, patches.plain.data, scratch.data, shape,
                                    accumulate);
            continue;
        }
        float *patches_there = device_mirror_out(&m, patches.there.data, patches.there.count);
        kern_embed_forward_cuda(&ops, device_mirror_out(&m, x.there.data, B * T * D), patches_there,
                                device_mirror_in(&m, images.data, B * pixels), &embed, shape);
        kern_embed_backward_cuda(&ops, &into, device_mirror_in(&m, dx.data, B * T * D),
                                 patches_there, device_mirror_out(&m, scratch.data, B * T * D),
                                 shape, accumulate);
    }
    device_mirror_end(&m);
    close_same(&patches, "patches");
    close_near(&x, "x", 2e-5);
    close_near(&gradients, "gradients", 2e-5);
    float_block_close(&weights);
    float_block_close(&images);
    float_block_close(&dx);
    float_block_close(&scratch);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_rows_cuda");
    TCase *tcase = tcase_create("core");

    tcase_add_loop_test(tcase, rows__have_the_bits_of_the_portable_version_at_every_stride, 0,
                        SHAPE_COUNT);
    tcase_add_test(tcase, keep_rows_and_count__have_the_bits_of_the_portable_version);
    tcase_add_loop_test(tcase, mean__has_the_bits_of_the_portable_version, 0, 5);
    tcase_add_loop_test(tcase, tally__has_the_bits_of_the_portable_version, 0, 7);
    tcase_add_loop_test(tcase, gate__is_that_of_the_portable_version, 0, 12);
    tcase_add_loop_test(tcase, embed__is_that_of_the_portable_version, 0, 10);
    suite_add_tcase(suite, tcase);
    return suite;
}
