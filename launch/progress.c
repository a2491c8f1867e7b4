#define _GNU_SOURCE
#include "launch/progress.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/clock.h"
#include "comm/base/hash.h"
#include "comm/base/process.h"

enum {
    PAGE_BYTES = 512,
    READ_TRIES = 100,
    MAKE_TRIES = 100,
};

/* Names in the folder. A page has its name only when it says whose it is. */
static const char PAGE[] = "progress", MAKING[] = "making", LEAVING[] = "leaving";

enum word {
    MAGIC,
    PROCESS,
    START,
    INCARNATION,
    SEQUENCE,
    BEATS,
    PHASE,
    STEP,
    KEPT,
    FROM,
    STAGE,
    CODE,
    QUIET_MS,
    AT_NS,
    FIRST_STEP_NS,
    SINCE_NS,
    WORDS = SINCE_NS + PROGRESS_PHASES,
};

static const uint64_t magic = 0x0a30464f52504f46; /* "FOPROF0\n" */

struct page {
    _Atomic uint64_t words[PAGE_BYTES / sizeof(uint64_t)];
};

static_assert((size_t)WORDS <= PAGE_BYTES / sizeof(uint64_t), "all words are in the page");
static_assert(sizeof(struct page) == PAGE_BYTES, "no padding");

struct progress_view {
    struct page *page;
};

/* Of the slowest disk or network that is worth training on. */
static const double mb_per_s_least = 20;

static struct page *told; /* of this process, which is one rank; NULL: nobody listens */

static void put(enum word word, uint64_t value)
{
    atomic_store_explicit(&told->words[word], value, memory_order_relaxed);
}

static uint64_t get(const struct page *page, int word)
{
    return atomic_load_explicit(&page->words[word], memory_order_relaxed);
}

/* A reader that sees the words between these two sees an odd sequence, or another one after. */
static void begin_change(void)
{
    put(SEQUENCE, get(told, SEQUENCE) | 1);
    atomic_thread_fence(memory_order_release);
}

static void end_change(void)
{
    put(BEATS, get(told, BEATS) + 1);
    put(AT_NS, (uint64_t)clock_now_ns());
    atomic_store_explicit(&told->words[SEQUENCE], get(told, SEQUENCE) + 1, memory_order_release);
}

static void put_phase(enum progress_phase phase)
{
    put(PHASE, (uint64_t)phase);
    put(QUIET_MS, 0);
    if (get(told, SINCE_NS + (int)phase) == 0) {
        put(SINCE_NS + (enum word)phase, (uint64_t)clock_now_ns());
    }
}

static enum err page_path(char path[FILE_PATH_BYTES_MAX], const char *folder, const char *what,
                          int number)
{
    char name[48];

    snprintf(name, sizeof(name), "%s-%d", what, number);
    return file_path(path, folder, name);
}

static struct page *map_page(const char *path, bool makes)
{
    struct stat info;
    void *page = MAP_FAILED;
    const int file = open(path, (makes ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY) | O_CLOEXEC, 0600);

    if (file < 0) {
        return NULL;
    }
    /* Room is taken before it is written to: a store where there is none ends a process. */
    const bool has_room = makes ? posix_fallocate(file, 0, PAGE_BYTES) == 0
                                : fstat(file, &info) == 0 && info.st_size >= PAGE_BYTES;
    if (has_room) {
        page =
            mmap(NULL, PAGE_BYTES, makes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
    }
    close(file);
    return page == MAP_FAILED ? NULL : page;
}

enum err progress_folder(const char *output_dir, char path[FILE_PATH_BYTES_MAX])
{
    char *real = realpath(output_dir, NULL);

    if (real == NULL) {
        return ERR_FAIL(ERR_MISSING, "output_dir %s is not there", output_dir);
    }
    snprintf(path, FILE_PATH_BYTES_MAX, "/dev/shm/offramp-progress.%u.%016" PRIx64,
             (unsigned)geteuid(), hash_bytes(real, strlen(real)).low);
    free(real);
    return ERR_OK;
}

/* Says who is there. */
static void begin_page(uint64_t start)
{
    begin_change();
    put(MAGIC, magic);
    put(PROCESS, (uint64_t)getpid());
    put(START, start);
    put(STEP, (uint64_t)-1);
    put(KEPT, (uint64_t)-1);
    put(FROM, (uint64_t)-1);
    put_phase(PROGRESS_BEGUN);
    end_change();
}

/* False if there is no folder, as where it was removed this moment: progress_tidy(). */
static bool make_page(const char *folder, const char *making, const char *path, uint64_t start)
{
    if (file_make_folder(folder) != ERR_OK) {
        err_clear();
        return false;
    }
    told = map_page(making, true);
    if (told == NULL) {
        return errno != ENOENT;
    }
    begin_page(start);
    if (rename(making, path) != 0) {
        munmap(told, PAGE_BYTES);
        told = NULL;
        unlink(making);
    }
    return true;
}

void progress_open(int rank)
{
    const char *folder = getenv(PROGRESS_VARIABLE);
    char making[FILE_PATH_BYTES_MAX], path[FILE_PATH_BYTES_MAX];
    struct process self;

    if (folder == NULL || folder[0] == '\0' || told != NULL) {
        return;
    }
    if (process_describe(getpid(), &self) != ERR_OK ||
        page_path(making, folder, MAKING, (int)getpid()) != ERR_OK ||
        page_path(path, folder, PAGE, rank) != ERR_OK) {
        err_clear();
        return;
    }
    for (int i = 0; i < MAKE_TRIES && !make_page(folder, making, path, self.start); i++) {
    }
}

void progress_phase(enum progress_phase phase)
{
    if (told == NULL) {
        return;
    }
    begin_change();
    put_phase(phase);
    end_change();
}

void progress_beat(void)
{
    if (told == NULL || get(told, PHASE) == PROGRESS_STEPS) {
        return;
    }
    begin_change();
    put(QUIET_MS, 0);
    end_change();
}

void progress_moves(int64_t bytes, double mb_per_s_max)
{
    const bool is_bounded = mb_per_s_max > 0 && mb_per_s_max < mb_per_s_least;
    const double bytes_per_ms = 1e3 * (is_bounded ? mb_per_s_max : mb_per_s_least);

    if (told == NULL) {
        return;
    }
    begin_change();
    put(QUIET_MS, (uint64_t)((double)bytes / bytes_per_ms));
    end_change();
}

void progress_resumed(uint64_t incarnation, int64_t step)
{
    if (told == NULL) {
        return;
    }
    begin_change();
    put(INCARNATION, incarnation);
    put(FROM, (uint64_t)step);
    put(STEP, (uint64_t)step);
    put_phase(PROGRESS_RESUMED);
    end_change();
}

void progress_stage(int64_t stage)
{
    if (told == NULL) {
        return;
    }
    begin_change();
    put(STAGE, (uint64_t)stage);
    put_phase(PROGRESS_RESUMED);
    end_change();
}

void progress_step(int64_t step, int64_t stage, int64_t kept)
{
    if (told == NULL) {
        return;
    }
    begin_change();
    put(STEP, (uint64_t)step);
    put(STAGE, (uint64_t)stage);
    put(KEPT, (uint64_t)kept);
    put_phase(PROGRESS_STEPS);
    if (get(told, FIRST_STEP_NS) == 0) {
        put(FIRST_STEP_NS, (uint64_t)clock_now_ns());
    }
    end_change();
}

void progress_left(int code)
{
    if (told == NULL) {
        return;
    }
    begin_change();
    put_phase(PROGRESS_LEAVES);
    put(CODE, (uint64_t)code + 1);
    end_change();
}

enum err progress_view_open(const char *folder, int rank, struct progress_view **view_out)
{
    char path[FILE_PATH_BYTES_MAX];

    ERR_TRY(page_path(path, folder, PAGE, rank));
    struct progress_view *view = calloc(1, sizeof(*view));
    if (view == NULL) {
        return ERR_FAIL(ERR_NO_MEMORY, "a view of rank %d", rank);
    }
    view->page = map_page(path, false);
    if (view->page == NULL) {
        free(view);
        return ERR_FAIL(ERR_MISSING, "%s: no page of rank %d", folder, rank);
    }
    *view_out = view;
    return ERR_OK;
}

void progress_view_close(struct progress_view *view)
{
    if (view == NULL) {
        return;
    }
    munmap(view->page, PAGE_BYTES);
    free(view);
}

static void take(const uint64_t words[WORDS], struct progress *progress_out)
{
    *progress_out = (struct progress){
        .process = (int)words[PROCESS],
        .start = words[START],
        .incarnation = words[INCARNATION],
        .beats = words[BEATS],
        .phase = words[PHASE] < PROGRESS_PHASES ? (enum progress_phase)words[PHASE] : 0,
        .step = (int64_t)words[STEP],
        .stage = (int64_t)words[STAGE],
        .kept = (int64_t)words[KEPT],
        .from = (int64_t)words[FROM],
        .code = (int)words[CODE] - 1,
        .quiet_ms = (int64_t)words[QUIET_MS],
        .at_ns = (int64_t)words[AT_NS],
        .first_step_ns = (int64_t)words[FIRST_STEP_NS],
    };
    for (int phase = 0; phase < PROGRESS_PHASES; phase++) {
        progress_out->since_ns[phase] = (int64_t)words[SINCE_NS + phase];
    }
}

bool progress_view_read(const struct progress_view *view, struct progress *progress_out)
{
    uint64_t words[WORDS];

    for (int i = 0; i < READ_TRIES; i++) {
        const uint64_t before =
            atomic_load_explicit(&view->page->words[SEQUENCE], memory_order_acquire);
        for (int word = 0; word < WORDS; word++) {
            words[word] = get(view->page, word);
        }
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 && get(view->page, SEQUENCE) == before && words[MAGIC] == magic) {
            take(words, progress_out);
            return true;
        }
    }
    return false;
}

/* Whether the page at `path` is that of a process that runs. */
static bool has_rank(const char *path)
{
    struct progress_view view = {.page = map_page(path, false)};
    struct progress progress;
    struct process process;
    bool runs = false;

    if (view.page == NULL) {
        return false;
    }
    if (progress_view_read(&view, &progress)) {
        runs = process_describe(progress.process, &process) == ERR_OK &&
               process.start == progress.start && process.state != 'Z';
        err_clear();
    }
    munmap(view.page, PAGE_BYTES);
    return runs;
}

/* It is taken away before it is looked at: under its name there may be a new one the next moment. */
static void remove_page(const char *path, const char *leaving)
{
    if (!has_rank(path) && rename(path, leaving) == 0 &&
        (!has_rank(leaving) ||
         renameat2(AT_FDCWD, leaving, AT_FDCWD, path, RENAME_NOREPLACE) != 0)) {
        unlink(leaving);
    }
}

void progress_tidy(const char *folder)
{
    char path[FILE_PATH_BYTES_MAX], leaving[FILE_PATH_BYTES_MAX];
    DIR *pages = opendir(folder);
    struct process process;

    for (struct dirent *entry = pages == NULL ? NULL : readdir(pages); entry != NULL;
         entry = readdir(pages)) {
        char what[16] = "";
        int number = 0;
        if (sscanf(entry->d_name, "%15[a-z]-%d", what, &number) != 2 ||
            file_path(path, folder, entry->d_name) != ERR_OK ||
            page_path(leaving, folder, LEAVING, (int)getpid()) != ERR_OK) {
            err_clear();
        } else if (strcmp(what, PAGE) == 0) {
            remove_page(path, leaving);
        } else if (process_describe(number, &process) != ERR_OK) { /* who began this is dead */
            err_clear();
            unlink(path);
        }
    }
    if (pages != NULL) {
        closedir(pages);
        (void)!rmdir(folder);
    }
}
