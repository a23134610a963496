#include "measure/race_protocol.h"

#include <math.h>
#include <string.h>

#define SET 5 /* rounds of the warm-up that are compared with the five before */
#define EACH_WANTED 0.02
#define ENTRANTS_MOST 8

/* ---- before ---- */

/* The median of a set's rounds: one that the system took away says nothing. False: over. */
static bool warm_set(double *out, const tri_race_track *track) {
    double totals[SET];
    tri_timing timing;
    for (int i = 0; i < SET; i++)
        if (!track->round(track->user, &totals[i]))
            return false;
    tri_timing_of(&timing, totals, SET);
    *out = timing.median_ns;
    return true;
}

/* A device that never settles is raced as it is. */
static bool warm_up(const tri_race_track *track) {
    double before, now;
    if (!warm_set(&before, track))
        return false;
    for (int i = 1; i < track->warm_sets; i++) {
        if (!warm_set(&now, track))
            return false;
        if (fabs(now - before) <= track->precision * before)
            return true;
        before = now;
    }
    return true;
}

/* What the first launches find in another place is their own. */
static bool settle_in(const tri_race_track *track) {
    double total;
    return track->move(track->user) && track->round(track->user, &total);
}

/* ---- the decision ---- */

static tri_timing timing_of(const double *ns, size_t count) {
    double sorted[TRI_SAMPLES_MAX];
    tri_timing timing;
    memcpy(sorted, ns, count * sizeof *ns);
    tri_timing_of(&timing, sorted, count);
    return timing;
}

/* Twice the standard error of the mean of the heats' medians, of that mean: samples of one heat share its place, so their
 * number alone says too much. */
static double error_over_heats(const double *ns, size_t rounds, size_t heat) {
    const size_t heats = rounds / heat;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < heats; i++) {
        const double median = timing_of(ns + i * heat, heat).median_ns;
        sum += median;
        squares += median * median;
    }
    const double mean = sum / (double)heats,
                 variance = fmax(0, squares / (double)heats - mean * mean) / (double)(heats - 1);
    return 2 * sqrt(variance) / mean;
}

/* Slower than the leader without doubt, or as fast as it for all purposes. */
static bool is_placed(const double *ns, const double *leader, size_t rounds, double precision) {
    double ratios[TRI_SAMPLES_MAX];
    for (size_t i = 0; i < rounds; i++)
        ratios[i] = ns[i] / leader[i];
    const tri_timing ratio = timing_of(ratios, rounds);
    return ratio.low_ns > 1 || (ratio.low_ns > 1 - precision && ratio.high_ns < 1 + precision);
}

bool tri_race_is_decided(const double *const *ns, size_t entrants, size_t rounds,
                         const tri_race_track *track) {
    const size_t heat = (size_t)track->rounds_a_heat;
    tri_timing best = {.median_ns = INFINITY};
    size_t leader = 0;
    for (size_t i = 0; i < entrants; i++) {
        const tri_timing timing = timing_of(ns[i], rounds);
        if (tri_timing_width(&timing) >= EACH_WANTED)
            return false;
        if (timing.median_ns < best.median_ns) {
            best = timing;
            leader = i;
        }
    }
    if (entrants == 0 || rounds < 2 * heat || tri_timing_width(&best) >= 2 * track->precision ||
        error_over_heats(ns[leader], rounds, heat) >= track->precision)
        return false;
    for (size_t i = 0; i < entrants; i++)
        if (i != leader && !is_placed(ns[i], ns[leader], rounds, track->precision))
            return false;
    return true;
}

/* ---- the race ---- */

static bool is_over(const tri_race_track *track, int heats, size_t rounds) {
    const double *ns[ENTRANTS_MOST];
    if (heats >= track->heats_most || (rounds >= TRI_ROUNDS_LEAST && track->late(track->user)))
        return true;
    if (heats < track->heats_least)
        return false;
    for (size_t i = 0; i < track->entrants; i++)
        ns[i] = track->samples(track->user, i);
    return tri_race_is_decided(ns, track->entrants, rounds, track);
}

size_t tri_race_run(const tri_race_track *track) {
    size_t rounds = 0;
    if (track->entrants == 0 || !warm_up(track))
        return 0;
    for (int heats = 0; heats == 0 || !is_over(track, heats, rounds); heats++) {
        if (heats > 0 && !settle_in(track))
            return rounds;
        for (int i = 0; i < track->rounds_a_heat; i++, rounds++)
            if (!track->round(track->user, NULL))
                return rounds;
    }
    return rounds;
}
