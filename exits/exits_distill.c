#include "exits/exits_distill.h"

void exits_distill_cpu(const struct exits_distill_rows *rows)
{
    for (int64_t i = 0; i < rows->n; i++) {
        exits_distill_row(rows, i);
    }
}
