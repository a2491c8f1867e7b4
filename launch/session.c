#include "launch/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "comm/base/clock.h"
#include "comm/base/fault.h"
#include "launch/exit_code.h"

/* How long ranks that failed wait for the others to fail too, and let rank 0 speak first. */
enum { VERDICT_MS = 3000, FIRST_WORD_US = 200000 };

/* From the environment, for drills. */
static enum err arm_faults(int rank)
{
    const char *spec = getenv("OFFRAMP_FAULT");

    if (spec == NULL) {
        return ERR_OK;
    }
#ifdef OFFRAMP_FAULTS
    return fault_arm(spec, rank) == ERR_OK ? ERR_OK : err_context_(ERR_USAGE, "OFFRAMP_FAULT");
#else
    return ERR_FAIL(ERR_USAGE,
                    "OFFRAMP_FAULT is %.80s, but no fault points were compiled in (rank %d): "
                    "configure with -DOFFRAMP_FAULTS=ON",
                    spec, rank);
#endif
}

enum err session_open(struct session *session_out)
{
    struct session session = {0};

    ERR_TRY(comm_start(&session.world));
    ERR_TRY(comm_duplicate(session.world, &session.verdict));
    *session_out = session;
    return arm_faults(comm_rank(session.world));
}

bool session_is_first(const struct session *session)
{
    return session->world == NULL || comm_rank(session->world) == 0;
}

int session_close(struct session *session, enum err status)
{
    const int code = (int)exit_code_of(status);
    int64_t agreed = code;

    fflush(stdout);
    if (session->world == NULL) {
        return (int)exit_code_report(status);
    }
    if (status == ERR_OK) {
        comm_close(session->verdict);
        comm_stop(session->world, true);
        return code;
    }
    if (session_is_first(session)) {
        exit_code_report(status);
    }
    char text[1024];
    err_text(text, sizeof(text)); /* the agreement may replace this rank's message */
    if (comm_agree_max(session->verdict, code, VERDICT_MS, &agreed) != ERR_OK) {
        if (!session_is_first(session)) { /* rank 0 may not know of this error */
            clock_nap_us(FIRST_WORD_US);
            fprintf(stderr, "offramp: rank %d: %s\n", comm_rank(session->world), text);
        }
        comm_abort(session->world, code);
    }
    comm_close(session->verdict);
    comm_stop(session->world, true);
    return (int)agreed;
}
