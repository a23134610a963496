/* Other programs on the device while we time on it: their work is in our times. That is said at once, such rows rank below
 * quiet ones ("ranking" in db/queries.sql), and a run that finds the device quiet measures them again. */
#include "tune/search.h"

void tri_search_note_circumstances(tri_search *search, const char *circumstances) {
    search->busy = circumstances && tri_circumstances_are_busy(circumstances);
    if (!search->busy || search->told_of_busy || search->options->compile_only)
        return;
    search->told_of_busy = true;
    tri_log_line(
        search->options->log, TRIAGE_LOG_WARNING,
        "other programs are on this device: times taken now rank below quiet ones, and are taken again "
        "by the next run that finds it quiet");
}

bool tri_search_is_busy_time(const tri_measurement *row) {
    return (row->outcome == TRI_RIGHT || row->outcome == TRI_SLOW) &&
           tri_circumstances_are_busy(row->circumstances);
}
