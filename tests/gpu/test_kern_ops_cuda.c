/* Tests of trainer/kernels/kern_ops_cuda.c and kern_cuda.h: the table, streams of their own, recording. */
#include <string.h>

#include "tests/support/device_mirror.h"
#include "tests/support/float_block.h"
#include "tests/support/test_suite.h"
#include "trainer/kernels/kern_ops_cuda.h"

enum { ROWS = 40, WIDTH = 24, CLASSES = 10 };

START_TEST(cuda__fills_the_table_but_what_writes_texts)
{
    struct kern_ops ops;
    void *entries[sizeof(ops) / sizeof(void *)];
    int absent = 0;

    device_mirror_begin();
    memset(&ops, 0, sizeof(ops));
    device_mirror_check(kern_ops_cuda(mirror_device, &ops));
    memcpy(entries, &ops, sizeof(ops));
    for (size_t i = 0; i < sizeof(ops) / sizeof(void *); i++) {
        absent += entries[i] == NULL;
    }
    ck_assert(ops.attention_cache_put == NULL && ops.attention_cache_forward == NULL &&
              ops.likeliest == NULL);
    ck_assert_int_eq(absent, 3);
    ck_assert_str_eq(ops.isa, "cuda");
    ck_assert_int_eq(strncmp(ops.matmul, "cublasLt ", 9), 0);
    ck_assert(ops.matmul[9] >= '1' && ops.matmul[9] <= '9');
    ck_assert_ptr_eq(ops.device, mirror_device);
}
END_TEST

/* What a step does to a small layer: forward, loss, backward; into `out`, all in device memory. */
struct layer {
    float *x, *gain, *weight, *bias, *ones;
    int32_t *label;
    float *normed, *mean, *rstd, *logits, *lse, *bad, *dlogits, *dnormed;
    float *dweight, *dbias, *dx, *dgain, *dnorm_bias;
};

static void run_layer(const struct kern_ops *ops, const struct layer *at)
{
    const struct kern_linear linear = {.N = CLASSES, .K = WIDTH, .weight = at->weight};
    const struct kern_linear_epilogue epilogue = {.bias = at->bias};
    const struct kern_xent_out out = {.lse = at->lse, .bad = at->bad};

    ops->layernorm_forward(at->normed, at->mean, at->rstd, at->x, WIDTH, at->gain, at->gain, ROWS,
                           WIDTH, 1e-6f);
    ops->linear_forward(at->logits, CLASSES, at->normed, WIDTH, ROWS, &linear, &epilogue);
    ops->xent_forward(&out, at->logits, at->label, ROWS, CLASSES);
    ops->xent_backward(at->dlogits, at->logits, at->lse, at->label, at->ones, ROWS, CLASSES);
    ops->linear_backward_weight(at->dweight, at->dbias, at->dlogits, CLASSES, at->normed, WIDTH,
                                ROWS, CLASSES, WIDTH, true);
    ops->linear_backward_data(at->dnormed, WIDTH, at->dlogits, CLASSES, ROWS, &linear, NULL);
    ops->layernorm_backward(at->dx, NULL, at->dgain, at->dnorm_bias, at->dnormed, at->x, WIDTH,
                            at->mean, at->rstd, at->gain, ROWS, WIDTH, true);
}

/* The arrays of a layer in one block of floats; all that adds begins with the numbers there. */
enum { LAYER_ELEMS = 8 * ROWS * WIDTH };

static struct layer layer_at(float *block, int32_t *label)
{
    struct layer layer = {.label = label};
    struct {
        float **place;
        int elems;
    } pieces[] = {{&layer.x, ROWS * WIDTH},
                  {&layer.gain, WIDTH},
                  {&layer.weight, CLASSES * WIDTH},
                  {&layer.bias, CLASSES},
                  {&layer.ones, ROWS},
                  {&layer.normed, ROWS * WIDTH},
                  {&layer.mean, ROWS},
                  {&layer.rstd, ROWS},
                  {&layer.logits, ROWS * CLASSES},
                  {&layer.lse, ROWS},
                  {&layer.bad, 1},
                  {&layer.dlogits, ROWS * CLASSES},
                  {&layer.dnormed, ROWS * WIDTH},
                  {&layer.dweight, CLASSES * WIDTH},
                  {&layer.dbias, CLASSES},
                  {&layer.dx, ROWS * WIDTH},
                  {&layer.dgain, WIDTH},
                  {&layer.dnorm_bias, WIDTH}};

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        *pieces[i].place = block;
        block += pieces[i].elems;
    }
    return layer;
}

static void fill_labels(int32_t label[])
{
    for (int i = 0; i < ROWS; i++) {
        label[i] = i % CLASSES;
    }
}

/* Twice the launches, or one recording that is launched twice: the same bits. */
START_TEST(kernels__can_be_recorded_and_launched_again)
{
    const struct float_block eager = float_block_normal(LAYER_ELEMS, 1);
    const struct float_block recorded = float_block_normal(LAYER_ELEMS, 1);
    int32_t label[ROWS];
    struct kern_ops ops;
    struct device_graph *graph = NULL;
    struct device_mirror m = device_mirror_begin();

    fill_labels(label);
    device_mirror_check(kern_ops_cuda(mirror_device, &ops));
    ck_assert(device_has_graphs(mirror_device));
    int32_t *labels = device_mirror_out_i32(&m, label, ROWS);
    const struct layer at = layer_at(device_mirror_out(&m, eager.data, LAYER_ELEMS), labels);
    const struct layer again = layer_at(device_mirror_out(&m, recorded.data, LAYER_ELEMS), labels);
    run_layer(&ops, &at);
    run_layer(&ops, &at);
    device_mirror_check(device_graph_begin(mirror_stream));
    run_layer(&ops, &again);
    device_mirror_check(device_graph_end(mirror_stream, &graph));
    device_mirror_check(device_graph_launch(graph, mirror_stream));
    device_mirror_check(device_graph_launch(graph, mirror_stream));
    device_mirror_check(device_wait(mirror_stream, MIRROR_DEADLINE_MS));
    device_graph_close(graph);
    device_mirror_end(&m);
    ck_assert_mem_eq(eager.data, recorded.data, LAYER_ELEMS * sizeof(float));
    float_block_close(&eager);
    float_block_close(&recorded);
}
END_TEST

/* Nothing orders the two streams: what they need besides their arrays must not be shared. */
START_TEST(kernels__of_two_streams_do_not_meet)
{
    const struct float_block first = float_block_normal(LAYER_ELEMS, 1);
    const struct float_block second = float_block_normal(LAYER_ELEMS, 1);
    int32_t label[ROWS];
    struct kern_ops ops;
    struct device_stream *other = NULL;
    struct device_mirror m = device_mirror_begin();

    fill_labels(label);
    int32_t *labels = device_mirror_out_i32(&m, label, ROWS);
    const struct layer at = layer_at(device_mirror_out(&m, first.data, LAYER_ELEMS), labels);
    const struct layer there = layer_at(device_mirror_out(&m, second.data, LAYER_ELEMS), labels);
    device_mirror_check(device_stream_open(mirror_device, DEVICE_PRIORITY_NORMAL, &other));
    device_mirror_check(kern_ops_cuda(mirror_device, &ops));
    run_layer(&ops, &at);
    device_use(other);
    device_mirror_check(kern_ops_cuda(mirror_device, &ops));
    run_layer(&ops, &there);
    device_mirror_check(device_wait(other, MIRROR_DEADLINE_MS));
    kern_cuda_close_stream();
    device_use(mirror_stream);
    device_stream_close(other);
    device_mirror_end(&m);
    ck_assert_mem_eq(first.data, second.data, LAYER_ELEMS * sizeof(float));
    float_block_close(&first);
    float_block_close(&second);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("kern_ops_cuda");
    TCase *tcase = tcase_create("core");

    tcase_add_test(tcase, cuda__fills_the_table_but_what_writes_texts);
    tcase_add_test(tcase, kernels__can_be_recorded_and_launched_again);
    tcase_add_test(tcase, kernels__of_two_streams_do_not_meet);
    suite_add_tcase(suite, tcase);
    return suite;
}
