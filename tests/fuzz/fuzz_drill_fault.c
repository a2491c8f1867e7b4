/*
 * Fuzz target: drill_fault_parse() on arbitrary text; the first byte chooses the action.
 *
 * Property: it either refuses, or what it read is, written and read again, the same fault.
 */
#include <stdlib.h>
#include <string.h>

#include "launch/drill/drill_fault.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char text[512], again[DRILL_FAULT_BYTES], name[DRILL_FAULT_BYTES];
    struct drill_fault fault, other;

    if (count == 0 || count > sizeof(text)) {
        return 0;
    }
    const enum drill_action action = (enum drill_action)(bytes[0] % DRILL_ACTIONS);
    memcpy(text, bytes + 1, count - 1);
    text[count - 1] = '\0';
    if (drill_fault_parse(action, text, &fault) != ERR_OK) {
        err_clear();
        return 0;
    }
    drill_fault_text(&fault, again);
    drill_fault_name(&fault, name);
    if (drill_fault_parse(action, strchr(again, ' ') + 1, &other) != ERR_OK ||
        other.victim != fault.victim || other.number != fault.number || other.step != fault.step ||
        other.point != fault.point || other.hit != fault.hit || other.after_ms != fault.after_ms ||
        other.met_by != fault.met_by || strchr(name, '/') != NULL || strchr(name, ' ') != NULL) {
        abort();
    }
    return 0;
}
