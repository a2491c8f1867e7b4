/*
 * main() of a fuzz target where libFuzzer is not: gives it every file named on the command
 * line and every file of the folders named there, in order of name. Fails if there is none,
 * or one that cannot be read; the target itself aborts when its property does not hold.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { INPUT_BYTES_MAX = 1 << 20 };

/* The inputs fed; -1 if the file cannot be read or is too large. */
static int feed_file(const char *path)
{
    uint8_t *room = malloc(INPUT_BYTES_MAX + 1);
    FILE *file = fopen(path, "rb");
    int fed = -1;

    if (room != NULL && file != NULL) {
        const size_t count = fread(room, 1, INPUT_BYTES_MAX + 1, file);
        /* A block of the exact size, so that a sanitizer sees a read beyond it. */
        uint8_t *bytes = realloc(room, count > 0 ? count : 1);
        room = bytes != NULL ? bytes : room;
        if (bytes != NULL && ferror(file) == 0 && count <= INPUT_BYTES_MAX) {
            LLVMFuzzerTestOneInput(bytes, count);
            fed = 1;
        }
    }
    if (fed < 0) {
        fprintf(stderr, "%s: cannot be read, or is larger than %d bytes\n", path, INPUT_BYTES_MAX);
    }
    if (file != NULL) {
        fclose(file);
    }
    free(room);
    return fed;
}

/* The inputs fed; -1 at the first that cannot be read. */
static int feed_folder(const char *folder)
{
    struct dirent **entries = NULL;
    const int entry_count = scandir(folder, &entries, NULL, alphasort);
    char path[4096];
    int fed = 0;

    if (entry_count < 0) {
        perror(folder);
        return -1;
    }
    for (int i = 0; i < entry_count; i++) {
        struct stat status;
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (fed >= 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            fed = feed_file(path) < 0 ? -1 : fed + 1;
        }
        free(entries[i]);
    }
    free(entries);
    return fed;
}

int main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        struct stat status;
        const int is_folder = stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode);
        const int fed = is_folder ? feed_folder(argv[i]) : feed_file(argv[i]);
        if (fed < 0) {
            return EXIT_FAILURE;
        }
        total += fed;
    }
    printf("%d inputs\n", total);
    return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
