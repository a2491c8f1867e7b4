#include "launch/supervisor/supervisor_standing.h"

static int kind_of(enum progress_phase phase, int64_t stage)
{
    const int64_t from_0 = stage < 0 ? 0 : stage;

    switch (phase) {
    case PROGRESS_RESUMED:
        return DETECTOR_STAGE +
               (int)(from_0 < DETECTOR_STAGES_MAX ? from_0 : DETECTOR_STAGES_MAX - 1);
    case PROGRESS_STEPS: return DETECTOR_STEP;
    case PROGRESS_SAVES: return DETECTOR_SAVE;
    case PROGRESS_EVALUATES:
    case PROGRESS_LEAVES: return DETECTOR_EVALUATE;
    default: return DETECTOR_START;
    }
}

void standing_of_job(const struct job *job, struct standing *standing_out)
{
    struct standing standing = {.step = -1, .kept = -1};
    enum progress_phase phase = PROGRESS_PHASES;
    int64_t stage = -1;
    struct progress told;

    for (int r = 0; r < job_rank_count(job); r++) {
        if (!job_progress(job, r, &told)) {
            continue;
        }
        standing.look.signs += told.beats;
        standing.look.quiet_ms =
            told.quiet_ms > standing.look.quiet_ms ? told.quiet_ms : standing.look.quiet_ms;
        if (told.phase < phase) {
            phase = told.phase;
            stage = told.stage;
        }
        standing.step = told.step > standing.step ? told.step : standing.step;
        standing.kept = told.kept > standing.kept ? told.kept : standing.kept;
        standing.claimed = standing.claimed || told.from >= 0;
        if (told.first_step_ns != 0 &&
            (standing.first.process == 0 || told.first_step_ns < standing.first.first_step_ns)) {
            standing.first = told;
        }
    }
    standing.look.kind = phase == PROGRESS_PHASES ? DETECTOR_LAUNCH : kind_of(phase, stage);
    *standing_out = standing;
}
