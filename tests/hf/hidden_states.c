/*
 * hidden_states FOLDER INPUT.safetensors OUTPUT.safetensors [SAVE]: a backbone of Hugging Face on inputs of
 * a file, and the stream behind every layer; then, if asked, the backbone saved anew into the folder SAVE.
 *
 *      INPUT    images F32 [n, C, S, S]; or tokens I32 [n, stride] and lengths I32 [n]
 *      OUTPUT   hidden_0 (the embedding) .. hidden_L, F32 [n, T, D]; pooled, F32 [n, D]
 *
 * The samples are passed in batches of BATCH; texts are then T wide as the longest of all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/base/memory.h"
#include "comm/base/safetensors.h"
#include "trainer/model/model_files.h"

enum { BATCH = 8, STREAMS_MAX = MODEL_LAYERS_MAX + 2, NAME_BYTES = 32 };

struct job {
    struct model *model;
    struct model_stage *stage;
    struct model_work *work;
    struct safetensors *file;
    struct model_input input;
    int64_t n, T;
    float *streams; /* [L + 1, n, T, D], then pooled [n, D] */
};

static void die_on(enum err status)
{
    if (status != ERR_OK) {
        char text[1024];
        err_text(text, sizeof(text));
        fprintf(stderr, "hidden_states: %s\n", text);
        exit(1);
    }
}

static void *need(const struct safetensors *file, const char *name, enum safetensors_dtype dtype,
                  const struct safetensors_tensor **tensor_out)
{
    const struct safetensors_tensor *tensor = safetensors_find(file, name);

    if (tensor == NULL || tensor->dtype != dtype) {
        fprintf(stderr, "hidden_states: no %s of the type that is needed\n", name);
        exit(1);
    }
    void *copy = malloc(tensor->byte_count); /* for what lies in a file is not aligned */
    if (copy == NULL) {
        exit(1);
    }
    memcpy(copy, tensor->bytes, tensor->byte_count);
    *tensor_out = tensor;
    return copy;
}

static void read_input(struct job *job, const char *path)
{
    const struct model_config *config = model_config_of(job->model);
    const struct safetensors_tensor *tensor = NULL;

    die_on(safetensors_open(path, &job->file));
    if (config->embedding == MODEL_EMBEDDING_PATCHES) {
        job->input.images = need(job->file, "images", SAFETENSORS_F32, &tensor);
        job->T = model_config_tokens(config);
    } else {
        job->input.lengths = need(job->file, "lengths", SAFETENSORS_I32, &tensor);
        job->input.tokens = need(job->file, "tokens", SAFETENSORS_I32, &tensor);
        job->input.token_stride = tensor->shape[1];
        job->T = tensor->shape[1];
    }
    job->n = tensor->shape[0];
}

/* Samples `first` .. of one pass; texts narrower than T leave the rest of their rows 0. */
static void run_batch(struct job *job, int64_t first, int64_t count)
{
    const struct model_config *config = model_config_of(job->model);
    const int64_t L = config->num_hidden_layers, D = config->hidden_size;
    const struct model_input host = model_input_from(config, &job->input, first);
    float *pooled = job->streams + (L + 1) * job->n * job->T * D + first * D;
    struct model_input staged;

    die_on(model_stage_put(job->stage, &host, count, &staged));
    model_embed_forward(job->work, &staged, count);
    const int64_t width = model_token_count(job->work);
    for (int64_t layer = 0; layer <= L; layer++) {
        for (int64_t i = 0; i < count; i++) {
            float *to = job->streams + (layer * job->n + first + i) * job->T * D;
            const int64_t rows = width < job->T ? width : job->T;
            memcpy(to, model_stream(job->work) + i * width * D, (size_t)(rows * D) * sizeof(float));
        }
        if (layer < L) {
            model_block_forward(job->work, layer);
        }
    }
    model_pool(job->work, pooled);
}

static void write_output(const struct job *job, const char *path)
{
    const struct model_config *config = model_config_of(job->model);
    const int64_t L = config->num_hidden_layers, D = config->hidden_size, n = job->n, T = job->T;
    static struct safetensors_tensor tensors[STREAMS_MAX];
    static char names[STREAMS_MAX][NAME_BYTES];

    for (int64_t i = 0; i <= L + 1; i++) {
        snprintf(names[i], NAME_BYTES, "hidden_%d", (int)i);
        tensors[i] = (struct safetensors_tensor){.name = i <= L ? names[i] : "pooled",
                                                 .dtype = SAFETENSORS_F32,
                                                 .rank = i <= L ? 3 : 2,
                                                 .shape = {n, i <= L ? T : D, D},
                                                 .bytes = job->streams + i * n * T * D,
                                                 .byte_count = (size_t)(n * (i <= L ? T : 1) * D) *
                                                               sizeof(float)};
    }
    die_on(safetensors_write(path, tensors, (size_t)L + 2, NULL, NULL));
}

static void open_model(struct job *job, const char *folder)
{
    struct model_config config;
    struct kern_ops ops;
    char *notes = NULL;

    die_on(model_files_read_config(folder, &config));
    config.full_last_layer = true; /* also the tokens that no classifier reads */
    die_on(kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_AUTO, &ops));
    die_on(model_open(&config, &ops, &job->model));
    die_on(model_files_import_weights(job->model, folder, 1, &notes));
    printf("%s\n", notes == NULL ? "nothing to tell" : notes);
    free(notes);
    model_pack(job->model, false);
    die_on(model_stage_open(&config, device_cpu(), BATCH, &job->stage));
    die_on(model_work_open(job->model, BATCH, false, &job->work));
}

int main(int argc, char **argv)
{
    struct job job = {.n = 0};

    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: hidden_states FOLDER INPUT OUTPUT [SAVE]\n");
        return 2;
    }
    open_model(&job, argv[1]);
    read_input(&job, argv[2]);
    const struct model_config *config = model_config_of(job.model);
    const int64_t rows = (config->num_hidden_layers + 1) * job.T + 1;
    die_on(memory_open_f32(job.n * rows * config->hidden_size, "streams", &job.streams));
    for (int64_t at = 0; at < job.n; at += BATCH) {
        run_batch(&job, at, job.n - at < BATCH ? job.n - at : BATCH);
    }
    write_output(&job, argv[3]);
    if (argc == 5) {
        die_on(model_files_save(job.model, argv[4]));
    }
    memory_close(job.streams);
    model_work_close(job.work);
    model_stage_close(job.stage);
    model_close(job.model);
    safetensors_close(job.file);
    free((void *)(uintptr_t)job.input.images);
    free((void *)(uintptr_t)job.input.tokens);
    free((void *)(uintptr_t)job.input.lengths);
    return 0;
}
