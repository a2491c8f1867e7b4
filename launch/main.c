/* offramp: one binary, sub-commands. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/exit_code.h"
#include "trainer/kernels/kern_ops.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: for other commands, not for people */
} commands[] = {
    {"train", command_train, "train a run, alone or as a rank of mpirun or srun"},
    {"launch", command_launch, "train under mpirun, and start again what is lost"},
    {"drill", command_drill, "rehearse recovery: a run with faults against one without"},
    {"drill-agent", command_drill_agent, NULL},
    {"status", command_status, "tell how a run does, and what to do next"},
    {"top", command_top, "the same, again and again until the run ends"},
    {"halt", command_halt, "ask a run to finish its step, save and end"},
    {"eval", command_eval, "evaluate a run: accuracy against compute"},
    {"predict", command_predict, "predict classes of images and texts, stopping early"},
    {"report", command_report, "write an HTML page of one or several runs"},
    {"export", command_export, "write a trained network for other tools: Hugging Face, ONNX"},
    {"generate", command_generate, "write texts by a language model, with early exits"},
    {"config", command_config, "check and print settings, or their reference"},
    {"keeper", command_keeper, "keep the snapshots of a job on this node; ranks start it"},
    {"verify", command_verify, "check a checkpoint against its manifest"},
    {"inspect", command_inspect, "tell what a checkpoint, a run or its memory holds"},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *to)
{
    fprintf(to, "usage: offramp COMMAND [options]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].help != NULL) {
            fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
        }
    }
    fprintf(to, "\n  offramp COMMAND --help tells the options of a command.\n");
}

static int print_version(void)
{
    struct kern_ops ops;
    struct kern_ops blas;
    enum err status = kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_AUTO, &ops);

    if (status == ERR_OK) {
        status = kern_ops_choose(KERN_ISA_AUTO, KERN_MATMUL_BLAS, &blas);
    }
    if (status != ERR_OK) {
        return (int)exit_code_report(status);
    }
    printf("offramp %s\nkernels: %s; matrix products: %s; BLAS: %s\ncpu: %s\n", OFFRAMP_VERSION,
           ops.isa, ops.matmul, blas.matmul, kern_cpu_features());
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    char name[32];

    /* A BLAS thread count other than 1 would make results depend on the machine. */
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        return print_version();
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            snprintf(name, sizeof(name), "offramp %s", commands[i].name);
            argv[1] = name; /* what argp calls the program in its messages */
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "offramp: %s is no command; `offramp --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}
