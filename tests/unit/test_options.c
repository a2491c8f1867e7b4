/* Unit tests of launch/options.c, options_yaml.c and options_convert.c. */
#define _POSIX_C_SOURCE 200809L
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/base/file.h"
#include "launch/options.h"
#include "launch/options_schema.h"
#include "tests/support/err_expect.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_suite.h"

static struct temp_folder folder;
static char path[FILE_PATH_BYTES_MAX];
static struct options_run *run;

static void set_up(void)
{
    for (int i = 0; i < OPTIONS_COUNT; i++) { /* nothing of the caller's, or of another case */
        char variable[96] = "OFFRAMP_";
        for (size_t c = 0; c <= strlen(options_schemas[i].name); c++) {
            const char letter = options_schemas[i].name[c];
            variable[8 + c] = (char)(letter >= 'a' && letter <= 'z' ? letter - 'a' + 'A' : letter);
        }
        unsetenv(variable);
    }
    temp_folder_open(&folder);
    EXPECT_OK(file_path(path, folder.path, "run.yaml"));
    ck_assert_int_eq(chdir(folder.path), 0); /* messages then name run.yaml alone */
}

static void tear_down(void)
{
    options_close(run);
    run = NULL;
    temp_folder_close(&folder);
}

static enum err load(const char *yaml, const char *const *sets, int set_count)
{
    EXPECT_OK(file_write_text(path, yaml));
    options_close(run);
    run = NULL;
    return options_load("run.yaml", sets, set_count, &run);
}

static enum err load_set(const char *yaml, const char *set)
{
    return load(yaml, &set, 1);
}

START_TEST(load__gives_the_defaults_and_one_backbone_stage_without_a_file)
{
    EXPECT_OK(options_load(NULL, NULL, 0, &run));
    ck_assert_str_eq(run->path, "");
    ck_assert_int_eq(run->stage_count, 1);
    ck_assert_int_eq(run->stages[0].kind, OPTIONS_BACKBONE);
    const struct options *const stage = &run->stages[0].options;
    ck_assert_int_eq(stage->seed, 42);
    ck_assert_int_eq(stage->max_steps, -1);
    ck_assert_double_eq(stage->learning_rate, 1e-3);
    ck_assert_int_eq(stage->lambdas.count, 6);
    ck_assert_double_eq(stage->lambdas.values[5], 0.8);
    ck_assert_int_eq(stage->exit_layers.count, 0);
    ck_assert_int_eq(stage->exit_head, 1); /* norm_linear */
    ck_assert(!stage->gate_balance);
    ck_assert_str_eq(stage->output_dir, "");
}
END_TEST

START_TEST(load__takes_the_strongest_of_default_file_stage_environment_and_set)
{
    static const char yaml[] = "num_steps: 2\n"
                               "learning_rate: 0.2\n"
                               "weight_decay: 0.2\n"
                               "momentum: 0.2\n"
                               "stages:\n"
                               "  - stage: backbone\n"
                               "  - stage: exits\n"
                               "    learning_rate: 0.3\n"
                               "    weight_decay: 0.3\n"
                               "    momentum: 0.3\n"
                               "  - stage: exits\n";
    const char *const sets[] = {"momentum=0.5", "exits.momentum=0.6", "max-grad-norm=7"};

    ck_assert_int_eq(setenv("OFFRAMP_WEIGHT_DECAY", "0.4", 1), 0);
    ck_assert_int_eq(setenv("OFFRAMP_MOMENTUM", "0.4", 1), 0);
    EXPECT_OK(load(yaml, sets, 3));
    ck_assert_int_eq(run->stage_count, 3);
    const struct {
        double num_steps, learning_rate, weight_decay, momentum, max_grad_norm, adam_beta1;
    } expected[] = {
        {2, 0.2, 0.4, 0.5, 7, 0.9}, {2, 0.3, 0.4, 0.6, 7, 0.9}, {2, 0.2, 0.4, 0.6, 7, 0.9}};
    for (int s = 0; s < 3; s++) {
        const struct options *const stage = &run->stages[s].options;
        ck_assert_int_eq(run->stages[s].kind, s == 0 ? OPTIONS_BACKBONE : OPTIONS_EXITS);
        ck_assert_double_eq((double)stage->num_steps, expected[s].num_steps);
        ck_assert_double_eq(stage->learning_rate, expected[s].learning_rate);
        ck_assert_double_eq(stage->weight_decay, expected[s].weight_decay);
        ck_assert_double_eq(stage->momentum, expected[s].momentum);
        ck_assert_double_eq(stage->max_grad_norm, expected[s].max_grad_norm);
        ck_assert_double_eq(stage->adam_beta1, expected[s].adam_beta1);
    }
    ck_assert_double_eq(run->run.momentum, 0.5);
}
END_TEST

START_TEST(load__takes_the_last_of_two_sets)
{
    const char *const sets[] = {"seed=1", "seed=2"};

    EXPECT_OK(load("seed: 3\n", sets, 2));
    ck_assert_int_eq(run->run.seed, 2);
}
END_TEST

START_TEST(load__reads_every_type)
{
    EXPECT_OK(load("seed: 1e6\n"
                   "max_steps: 128.0\n"
                   "learning_rate: +.5e-2\n"
                   "gate_balance: YES\n"
                   "augment_flip: off\n"
                   "output_dir: 'a # b'\n"
                   "data_dir: \"\"\n"
                   "exit_head: norm_mlp\n"
                   "exit_layers: [3, 1]\n"
                   "snapshot_steps: auto\n"
                   "image_mean:\n  - 0.25\n  - -1\n",
                   NULL, 0));
    const struct options *const options = &run->run;
    ck_assert_int_eq(options->seed, 1000000);
    ck_assert_int_eq(options->max_steps, 128);
    ck_assert_double_eq(options->learning_rate, 5e-3);
    ck_assert(options->gate_balance);
    ck_assert(!options->augment_flip);
    ck_assert_str_eq(options->output_dir, "a # b");
    ck_assert_str_eq(options->data_dir, "");
    ck_assert_int_eq(options->exit_head, 2);
    ck_assert_int_eq(options->snapshot_steps, OPTIONS_AUTO);
    ck_assert_int_eq(options->exit_layers.count, 2);
    ck_assert_int_eq(options->exit_layers.values[0], 3);
    ck_assert_int_eq(options->exit_layers.values[1], 1);
    ck_assert_int_eq(options->image_mean.count, 2);
    ck_assert_double_eq(options->image_mean.values[1], -1);
}
END_TEST

START_TEST(load__accepts_an_empty_file_and_json)
{
    EXPECT_OK(load("", NULL, 0));
    ck_assert_int_eq(run->run.seed, 42);
    EXPECT_OK(load("# nothing\n", NULL, 0));
    EXPECT_OK(
        load("{\"seed\": 7, \"lambdas\": [1, 2], \"stages\": [{\"stage\": \"joint\"}]}", NULL, 0));
    ck_assert_int_eq(run->run.seed, 7);
    ck_assert_int_eq(run->stages[0].kind, OPTIONS_JOINT);
}
END_TEST

static const struct {
    const char *yaml, *part;
} refused_files[] = {
    /* keys */
    {"seed: 1\n\nlearning_rat: 2\nmax_steps: 1\n",
     "run.yaml: line 3, column 1: the key learning_rat is not known: did you mean "
     "learning_rate?"},
    {"learning-rate: 2\n", "line 1, column 1: the key learning-rate is not known: did you mean"},
    {"seed: 1\nwombat_count: 2\n", "run.yaml: line 2, column 1: the key wombat_count is not known "
                                   "here"},
    {"output_dir: lr\nlr: 2\n", "line 2, column 1: the key lr is"},
    {"seed: 1\nmax_steps: 3\nseed: 2\n", "run.yaml: line 3, column 1: the key seed is there twice"},
    {"stages:\n  - stage: exits\n    seed: 3\n",
     "line 3, column 5: seed is the same in all stages"},
    {"stages:\n  - stage: exits\n    momentum: 0.1\n    momentm: 3\n",
     "line 4, column 5: the key momentm is not known: did you mean momentum?"},
    {"\"\xc3\xbf\": 1\n", "is not known"},
    {"? [a]\n: b\n", "run.yaml: line 1"},
    {"<<: {seed: 1}\n", "the key << is not known"},
    /* shapes */
    {"seed: [1]\n", "run.yaml: line 1, column 7: Expecting STRING, got event: SEQUENCE_START"},
    {"seed: 1\nlambdas: 0.1\n", "line 2, column 10: Expecting SEQUENCE, got event: SCALAR"},
    {"lambdas: [[1]]\n", "line 1, column 11: Expecting STRING"},
    {"stages: exits\n", "line 1, column 9: Expecting SEQUENCE"},
    {"stages: []\n", "line 1, column 9: Insufficient entries"},
    {"stages:\n  - momentum: 0.1\n", "Missing required mapping field: stage"},
    {"stages:\n  - stage: backbone\n  - stage: exit\n",
     "run.yaml: stage 2 is \"exit\", it must be backbone, exits or joint"},
    {"[1]\n", "run.yaml: the beginning: Expecting MAPPING"},
    {"seed 1\n", "run.yaml: the beginning: Expecting MAPPING"},
    /* syntax */
    {"seed: 1\n\tmax_steps: 2\n", "run.yaml: after line 1"},
    {"seed: \"1\nmax_steps: 2\n", "run.yaml: after line 1"},
    {"seed: 1\nmax_steps: *a\n", "No anchor found for alias: 'a'"},
    {"lambdas: &a [1, *a]\n", "No anchor found for alias: 'a'"},
    {"seed: 1\n---\nseed: 2\n", "Ignoring documents after first"},
    {"seed: \"\xff\"\n", "invalid leading UTF-8"},
    {"seed: \x01\n", "control characters are not allowed"},
    /* values */
    {"seed: 1.5\n", "run.yaml: line 1: seed is \"1.5\", it must be a whole number"},
    {"seed: 12abc\n", "seed is \"12abc\""},
    {"seed:\n", "seed is \"\""},
    {"seed: \"1\\n2\"\n", "seed is \"1 2\""},
    {"seed: -1\n", "run.yaml: line 1: seed is -1, it must lie in 0 .. 9e+15"},
    {"seed: 1e300\n", "seed is 1e+300, it must lie in"},
    {"learning_rate: fast\n", "learning_rate is \"fast\", it must be a number"},
    {"learning_rate: nan\n", "learning_rate is \"nan\""},
    {"learning_rate: .inf\n", "learning_rate is \".inf\""},
    {"learning_rate: inf\n", "learning_rate is \"inf\""},
    {"learning_rate: 1e999\n", "learning_rate is \"1e999\""},
    {"gate_balance: maybe\n", "gate_balance is \"maybe\", it must be true or false"},
    {"gate_balance: 2\n", "gate_balance is \"2\""},
    {"isa: sse\n", "isa is \"sse\", it must be one of auto|portable|avx2"},
    {"isa: aut\n", "isa is \"aut\""},
    {"isa: auto|portable\n", "isa is \"auto|portable\""},
    {"isa: \"\"\n", "isa is \"\""},
    {"snapshot_steps: Auto\n", "snapshot_steps is \"Auto\", it must be auto or a whole number"},
    {"snapshot_steps: -1\n", "snapshot_steps is -1, it must lie in 0 .. 1e+09"},
    {"snapshot_steps: 1.5\n", "snapshot_steps is \"1.5\""},
    {"seed: auto\n", "seed is \"auto\", it must be a whole number"},
    {"lambdas: [0.1, x]\n", "lambdas is \"x\", it must be a list of numbers such as [1, 2]"},
    {"lambdas: [0.1, -1]\n", "lambdas is -1, it must lie in 0 .. 1000"},
    {"lambdas: [0.1, \"\"]\n", "lambdas is \"[0.1, ]\""},
    {"lambdas: [0.1 0.2]\n", "lambdas is \"[0.1 0.2]\""},
    {"seed: 1\nlambdas: []\n", "line 2, column 10: Insufficient entries"},
    {"exit_layers: [1, 2.5]\n", "exit_layers is \"2.5\", it must be a list of whole numbers"},
    {"stages:\n  - stage: exits\n    momentum: 2\n",
     "run.yaml: line 3: stage exits: momentum is 2, it must lie in 0 .. 0.99999"},
    {"momentum: 0.5 # not momentum: 2\nstages:\n  - stage: exits\n  - stage: joint\n    momentum: "
     "2\n",
     "run.yaml: line 5: stage joint: momentum is 2"},
    {"stages:\n  - stage: exits\n    momentum: 0.1\n\nmomentum: 2\n",
     "run.yaml: line 5: momentum is 2"},
    {"# momentum: 1\nmomentum: 2\n", "run.yaml: line 2: momentum is 2"},
    {"data_dir: \"a, seed: 1\"\nseed: x\n", "run.yaml: seed is \"x\""}, /* no line: two are found */
};

START_TEST(load__refuses_a_file_and_tells_where)
{
    for (size_t i = 0; i < sizeof(refused_files) / sizeof(refused_files[0]); i++) {
        EXPECT_ERR(load(refused_files[i].yaml, NULL, 0), ERR_CONFIG, refused_files[i].part);
        ck_assert_ptr_null(run);
    }
    EXPECT_ERR(options_load("no.yaml", NULL, 0, &run), ERR_MISSING, "no.yaml");
}
END_TEST

START_TEST(load__refuses_more_stages_or_items_than_there_is_room_for)
{
    char yaml[8192];
    char *end = stpcpy(yaml, "stages:\n");

    for (int s = 0; s < OPTIONS_STAGES_MAX; s++) {
        end = stpcpy(end, "  - stage: exits\n");
    }
    EXPECT_OK(load(yaml, NULL, 0));
    ck_assert_int_eq(run->stage_count, OPTIONS_STAGES_MAX);
    stpcpy(end, "  - stage: exits\n");
    EXPECT_ERR(load(yaml, NULL, 0), ERR_CONFIG, "run.yaml: line");

    end = stpcpy(yaml, "lambdas=0");
    for (int i = 1; i < OPTIONS_LIST_MAX; i++) {
        end = stpcpy(end, ",1");
    }
    EXPECT_OK(load_set("", yaml));
    ck_assert_int_eq(run->run.lambdas.count, OPTIONS_LIST_MAX);
    stpcpy(end, ",1");
    EXPECT_ERR(load_set("", yaml), ERR_CONFIG, "--set: lambdas is");
}
END_TEST

START_TEST(load__refuses_a_set_and_names_it)
{
    static const char yaml[] = "stages:\n  - stage: backbone\n";
    static const struct {
        const char *set;
        enum err code;
        const char *part;
    } cases[] = {
        {"seed", ERR_USAGE, "--set seed: it must be KEY=VALUE"},
        {"=1", ERR_USAGE, "--set =1"},
        {"", ERR_USAGE, "KEY=VALUE"},
        {"sed=1", ERR_CONFIG, "--set sed=1: the key sed is not known: did you mean seed?"},
        {"wombat=1", ERR_CONFIG, "--set wombat=1: the key wombat is not known"},
        {"backbone.sed=1", ERR_CONFIG, "the key sed is not known"},
        {"exit.momentum=1", ERR_CONFIG, "the key exit.momentum is not known"},
        {"exits.seed=1", ERR_CONFIG, "seed is the same in all stages: leave out the stage"},
        {"exits.momentum=0.1", ERR_CONFIG, "the run has no stage exits"},
        {"seed=x", ERR_CONFIG, "--set: seed is \"x\""},
        {"backbone.momentum=5", ERR_CONFIG, "--set: stage backbone: momentum is 5"},
        {"lambdas=[1,2", ERR_CONFIG, "lambdas is \"[1,2\""},
        {"lambdas=1,2]", ERR_CONFIG, "lambdas is \"1,2]\""},
        {"lambdas=[1,,2]", ERR_CONFIG, "lambdas is"},
        {"lambdas=[1,2,]", ERR_CONFIG, "lambdas is"},
        {"lambdas=[1] 2", ERR_CONFIG, "lambdas is"},
        {"lambdas=[[1]]", ERR_CONFIG, "lambdas is"},
        {"lambdas=", ERR_CONFIG, "lambdas is \"\""},
        {"lambdas=[ ]", ERR_CONFIG, "lambdas is \"[ ]\""},
        {"lambdas=,", ERR_CONFIG, "lambdas is"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EXPECT_ERR(load_set(yaml, cases[i].set), cases[i].code, cases[i].part);
    }
    ck_assert_int_eq(setenv("OFFRAMP_SEED", "1.5", 1), 0);
    EXPECT_ERR(load(yaml, NULL, 0), ERR_CONFIG, "environment: seed is \"1.5\"");
}
END_TEST

START_TEST(load__reads_lists_as_a_command_line_writes_them)
{
    static const char *const sets[] = {"lambdas=0.5,2", "lambdas=[0.5, 2]", "lambdas= 0.5 , 2 ",
                                       "lambdas=[ 0.5 ,2 ] ", "lambdas= [0.5,2]"};

    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        EXPECT_OK(load_set("", sets[i]));
        ck_assert_int_eq(run->run.lambdas.count, 2);
        ck_assert_double_eq(run->run.lambdas.values[0], 0.5);
        ck_assert_double_eq(run->run.lambdas.values[1], 2);
    }
    EXPECT_OK(load_set("exit_layers: [1]\n", "exit_layers="));
    ck_assert_int_eq(run->run.exit_layers.count, 0);
    EXPECT_OK(load_set("exit_layers: [1]\n", "exit_layers=[]"));
    ck_assert_int_eq(run->run.exit_layers.count, 0);
    EXPECT_OK(load_set("exit_layers: []\n", "seed=1"));
    ck_assert_int_eq(run->run.exit_layers.count, 0);
    EXPECT_OK(load_set("", "lambdas=3"));
    ck_assert_int_eq(run->run.lambdas.count, 1);
}
END_TEST

/* All settings of a run and of its stages, member by member; texts by content. */
static void expect_same(const struct options *a, const struct options *b)
{
#define SAME_I64(name) ck_assert_int_eq(a->name, b->name);
#define SAME_BOOL SAME_I64
#define SAME_CHOICE SAME_I64
#define SAME_I64_AUTO SAME_I64
#define SAME_F64(name) ck_assert_double_eq(a->name, b->name);
#define SAME_TEXT(name) ck_assert_str_eq(a->name, b->name);
#define SAME_LIST(name)                                                                            \
    ck_assert_int_eq(a->name.count, b->name.count);                                                \
    ck_assert_int_eq(                                                                              \
        memcmp(a->name.values, b->name.values, (size_t)a->name.count * sizeof(a->name.values[0])), \
        0);
#define SAME_I64S SAME_LIST
#define SAME_F64S SAME_LIST
#define SECTION(title)
#define OPTION(type, name, ...) SAME_##type(name)
#include "launch/options.def"
#undef OPTION
#undef SECTION
}

START_TEST(text__is_a_file_that_gives_the_same_run_again)
{
    static const char yaml[] =
        "learning_rate: 0.2\n"
        "output_dir: \"a \\\"quoted\\\" \\\\ name\\twith # and: more\"\n"
        "init_from: ' spaces '\n"
        "data_dir: \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \\x80\\u2028\\ufeff\\x7f\\n\"\n"
        "exit_layers: [3, 1]\n"
        "gate_balance: Yes\n"
        "stages:\n"
        "  - stage: backbone\n"
        "  - stage: exits\n"
        "    learning_rate: 0.3\n"
        "    augment_flip: on\n";
    static const char *const sets[] = {"lambdas=0.5, 2", "image_std=0.5", "exits.momentum= 0.25 ",
                                       "exit_layers=", "seed=1e3"};
    char *text = NULL, *again = NULL;
    struct options_run *second = NULL;

    for (int set_count = 0; set_count <= 5; set_count++) {
        EXPECT_OK(load(yaml, sets, set_count));
        EXPECT_OK(options_text(run, &text));
        EXPECT_OK(file_write_text(path, text));
        EXPECT_OK(options_load("run.yaml", NULL, 0, &second));
        ck_assert_int_eq(second->stage_count, run->stage_count);
        for (int s = 0; s < run->stage_count; s++) {
            ck_assert_int_eq(second->stages[s].kind, run->stages[s].kind);
            expect_same(&run->stages[s].options, &second->stages[s].options);
        }
        EXPECT_OK(options_text(second, &again));
        options_close(second);
        free(again);
        free(text);
    }
}
END_TEST

START_TEST(load__refuses_a_variable_that_is_almost_a_setting)
{
    ck_assert_int_eq(setenv("OFFRAMP_HOME_OF_OURS", "/somewhere", 1), 0);
    ck_assert_int_eq(setenv("OFFRAMP_DEBUG", "1", 1), 0);
    EXPECT_OK(options_load(NULL, NULL, 0, &run));
    options_close(run);
    run = NULL;
    ck_assert_int_eq(setenv("OFFRAMP_LERNING_RATE", "1", 1), 0);
    EXPECT_ERR(options_load(NULL, NULL, 0, &run), ERR_CONFIG,
               "OFFRAMP_LERNING_RATE is no setting: did you mean learning_rate?");
}
END_TEST

START_TEST(print_value__gives_equal_values_equal_words)
{
    static const char *const spellings[] = {
        "seed: 7\nlearning_rate: 1e-3\ngate_balance: yes\nlambdas: [0.10, 2]\nisa: avx2\n"
        "snapshot_steps: auto\nsave_steps: 1e1\n",
        "seed: 7.0\nlearning_rate: 0.001\ngate_balance: true\nlambdas: [1e-1, 2.0]\nisa: avx2\n"
        "snapshot_steps: \"auto\"\nsave_steps: 10\n"};
    char *texts[2] = {NULL, NULL};
    size_t bytes = 0;

    for (int i = 0; i < 2; i++) {
        FILE *to = open_memstream(&texts[i], &bytes);
        ck_assert_ptr_nonnull(to);
        EXPECT_OK(load(spellings[i], NULL, 0));
        for (int o = 0; o < OPTIONS_COUNT; o++) {
            options_print_value(to, &options_schemas[o], &run->run);
            fputc('\n', to);
        }
        ck_assert_int_eq(fclose(to), 0);
        options_close(run);
        run = NULL;
    }
    ck_assert_str_eq(texts[0], texts[1]);
    ck_assert_ptr_nonnull(strstr(texts[0], "\n0.10000000000000001, 2\n"));
    ck_assert_ptr_nonnull(strstr(texts[0], "\navx2\n"));
    ck_assert_ptr_nonnull(strstr(texts[0], "\nauto\n3.5\n"));
    free(texts[0]);
    free(texts[1]);
}
END_TEST

START_TEST(text__tells_where_each_setting_comes_from)
{
    char *text = NULL;

    ck_assert_int_eq(setenv("OFFRAMP_HASH_STEPS", "3", 1), 0);
    EXPECT_OK(load_set("max_steps: 5\nstages:\n  - stage: exits\n", "exits.momentum=0.5"));
    EXPECT_OK(options_text(run, &text));
    ck_assert_ptr_nonnull(strstr(text, "\nseed: 42\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmax_steps: 5  # run.yaml: line 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nhash_steps: 3  # environment\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nstages:\n  - stage: exits\n"));
    ck_assert_ptr_nonnull(strstr(text, "\n    momentum: 0.5  # --set\n"));
    free(text);
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, load__gives_the_defaults_and_one_backbone_stage_without_a_file);
    tcase_add_test(tcase, load__takes_the_strongest_of_default_file_stage_environment_and_set);
    tcase_add_test(tcase, load__takes_the_last_of_two_sets);
    tcase_add_test(tcase, load__reads_every_type);
    tcase_add_test(tcase, load__accepts_an_empty_file_and_json);
    tcase_add_test(tcase, load__refuses_a_file_and_tells_where);
    tcase_add_test(tcase, load__refuses_more_stages_or_items_than_there_is_room_for);
    tcase_add_test(tcase, load__refuses_a_set_and_names_it);
    tcase_add_test(tcase, load__reads_lists_as_a_command_line_writes_them);
    tcase_add_test(tcase, text__is_a_file_that_gives_the_same_run_again);
    tcase_add_test(tcase, load__refuses_a_variable_that_is_almost_a_setting);
    tcase_add_test(tcase, print_value__gives_equal_values_equal_words);
    tcase_add_test(tcase, text__tells_where_each_setting_comes_from);
    suite_add_tcase(suite, tcase);
    return suite;
}
