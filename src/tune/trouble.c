/* A machine in trouble is not evidence: a full disk, a killed compiler, no memory, no process to be had. What was tried is
 * tried again after a pause, said once, and never stored. */
#include "tune/search.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 5              /* of one trial */
#define TROUBLES_IN_A_ROW 12 /* of all: then the run ends */
#define PAUSE_NS INT64_C(100000000)

static void tell(tri_search *search, const char *message) {
    snprintf(search->trouble, sizeof search->trouble, "%s", message);
    if (search->told_of_trouble)
        return;
    search->told_of_trouble = true;
    tri_log_line(search->options->log, TRIAGE_LOG_WARNING,
                 "trouble of this machine, not of a candidate: %s (tried again; nothing of it is stored)",
                 message);
}

static triage_status leave_out(tri_search *search, tri_search_trial *trial) {
    trial->state = TRI_TRIAL_LEFT_OUT;
    search->done_count++;
    search->left_out_count++;
    return trial->proposed ? tri_strategy_tell(search->strategy, trial->index, &(tri_strategy_result){-1, 0})
                           : TRIAGE_OK;
}

triage_status tri_search_trouble(tri_search *search, tri_search_trial *trial, tri_trial_state again,
                                 triage_status status, const char *message, bool give_up) {
    char text[sizeof search->trouble]; /* the message may be the thread's */
    snprintf(text, sizeof text, "%s", message);
    tell(search, text);
    if (++search->troubles >= TROUBLES_IN_A_ROW)
        return tri_fail(status, "trouble of this machine, %d times in a row: %s", search->troubles, text);
    search->pause_until_ns = tri_now_ns() + search->troubles * PAUSE_NS;
    if (!trial)
        return TRIAGE_OK;
    trial->state = again;
    return give_up || ++trial->troubles >= TRIES ? leave_out(search, trial) : TRIAGE_OK;
}

void tri_search_well(tri_search *search) {
    search->troubles = 0;
}

bool tri_search_pauses(const tri_search *search) {
    return tri_now_ns() < search->pause_until_ns;
}

bool tri_search_is_trouble_of(const tri_event *event) {
    return (event->kind == TRI_EVENT_DIED && event->from_outside) ||
           (event->kind == TRI_EVENT_FAILED &&
            (event->status == TRIAGE_E_IO || event->status == TRIAGE_E_MEMORY));
}

bool tri_search_is_trouble(const tri_measurement *row) {
    switch (row->outcome) {
    case TRI_NOT_COMPILED:
        return !tri_compile_reason_blames_source(row->reason);
    case TRI_TIMED_OUT:
        return strncmp(row->reason, "compile took", strlen("compile took")) == 0;
    case TRI_CRASHED:
        return strstr(row->reason, "killed by SIGKILL") || strstr(row->reason, "killed by SIGTERM");
    default:
        return false;
    }
}
