/* Is the whole work in each timed launch? Between samples the results are left as they are, so a kernel that looks whether they
 * are there already, or that notes what it has done, is right at the end and has its time for nothing. */
#include "measure/bench_private.h"

#define PAIRS 9
#define TOO_LONG 1.5

/* One launch, into results of NaN or onto what is there. */
static triage_status time_one(double *ns, tri_bench *bench, tri_mounted *mounted, bool afresh) {
    tri_samples one = {.count = 0};
    triage_status status = TRIAGE_OK;
    if (afresh)
        TRI_TRY(tri_bench_make_ready(bench, 0));
    TRI_TRY(tri_bench_take(bench, mounted, 1, &one, 1));
    *ns = one.ns[0];
done:
    return status;
}

/* Whoever works each time is told from who does not by the first pair, but for noise: that would have to come at each launch
 * of one kind, and at none of the other. */
bool tri_bench_works_afresh(tri_bench *bench, tri_mounted *mounted, double median_ns, tri_report *report) {
    double fresh = 0, again = 0, least_fresh = 0, most_again = median_ns;
    triage_status status = TRIAGE_OK;
    for (int i = 0; i < PAIRS; i++) {
        TRI_TRY(time_one(&fresh, bench, mounted, true));
        least_fresh = i == 0 || fresh < least_fresh ? fresh : least_fresh;
        if (least_fresh <= TOO_LONG * most_again)
            return true;
        TRI_TRY(time_one(&again, bench, mounted, false));
        most_again = again > most_again ? again : most_again;
    }
    if (least_fresh <= TOO_LONG * most_again)
        return true;
    report->outcome = TRI_WRONG;
    snprintf(report->reason, sizeof report->reason,
             "leaves out work: takes %.4g us and more where its results are not there yet, at most %.4g "
             "where they are",
             least_fresh / 1e3, most_again / 1e3);
    return false;
done:
    tri_report_fail(report, TRI_CRASHED, status);
    return false;
}
