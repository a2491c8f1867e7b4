#define _POSIX_C_SOURCE 200809L
#include "launch/halt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t wanted;

static void on_signal(int number)
{
    if (number == SIGINT && wanted != 0) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    wanted = 1;
}

void halt_listen(void)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void)sigaction(numbers[i], &action, NULL);
    }
}

bool halt_is_wanted(void)
{
    return wanted != 0;
}
