/* The contest: verify, time in rounds, verify what the last timed round left. */
#include <math.h>
#include <stdlib.h>

#include "cli/bench/bench.h"

#define WARM_UP 3
/* Of an element's size and its line's: a larger difference is another result, not a rougher sum. */
#define ROUGH_SHARE 0.05

static void drop(tri_contestant *c, tri_contest_result standing, const char *reason) {
    c->standing = standing;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
}

static bool runs(const tri_contestant *c) {
    return c->standing == TRI_VERIFIED || c->standing == TRI_OVER_BOUND;
}

/* A line of C as stored; NaN is no number near any other. */
static bool is_rough_line(const tri_arena *arena, size_t first, size_t count) {
    triage_dtype dtype = tri_bsr(&arena->problem)->out_type;
    double sum = 0;
    for (size_t i = first; i < first + count; i++) {
        double value = tri_to_float(arena->plain, dtype, i);
        sum += value * value;
    }
    double rms = sqrt(sum / (double)count);
    for (size_t i = first; i < first + count; i++) {
        double plain = tri_to_float(arena->plain, dtype, i), got = tri_to_float(arena->got, dtype, i);
        if (!(fabs(got - plain) <= ROUGH_SHARE * (fabs(plain) + rms)))
            return false;
    }
    return true;
}

/* Of a result that the gate refuses: is it this product all the same, summed with less care? */
static bool is_rough_product(const tri_arena *arena) {
    size_t line = (size_t)tri_bsr(&arena->problem)->ldc;
    size_t count = arena->c_bytes / tri_dtype_size(tri_bsr(&arena->problem)->out_type);
    for (size_t first = 0; first < count; first += line)
        if (!is_rough_line(arena, first, line))
            return false;
    return true;
}

/* Into the contestant: the worse of what it was and of what C holds now. */
static triage_status judge(tri_contestant *c, tri_arena *arena) {
    tri_verdict verdict;
    triage_status status = tri_arena_judge(&verdict, arena);
    if (status != TRIAGE_OK)
        return status;
    if (c->standing == TRI_ABSENT || !verdict.right || verdict.row_error > c->verdict.row_error)
        c->verdict = verdict;
    if (!verdict.right)
        drop(c, is_rough_product(arena) ? TRI_OVER_BOUND : TRI_WRONG_SUM, verdict.reason);
    else if (c->standing == TRI_ABSENT)
        c->standing = TRI_VERIFIED;
    return TRIAGE_OK;
}

/* A contestant that fails is out, with its reason; the contest goes on. Only the arena's failures end it. */
static triage_status enter(tri_contestant *c, tri_arena *arena, tri_stopwatch *watch) {
    triage_status status = TRIAGE_OK;
    if (c->type->open(&c->state, c->detail, arena, tri_stopwatch_stream(watch)) != TRIAGE_OK) {
        drop(c, TRI_ABSENT, triage_last_error());
        return TRIAGE_OK;
    }
    TRI_TRY(tri_arena_poison(arena));
    for (int i = 0; i < WARM_UP; i++) {
        if (c->type->run(c->state) != TRIAGE_OK) {
            drop(c, TRI_ABSENT, triage_last_error());
            return TRIAGE_OK;
        }
    }
    status = judge(c, arena);
done:
    return status;
}

static triage_status time_one(tri_contestant *c, tri_arena *arena, tri_stopwatch *watch, int round,
                              bool last) {
    triage_status status = TRIAGE_OK;
    if (last)
        TRI_TRY(tri_arena_poison(arena));
    TRI_TRY(tri_stopwatch_time(&c->ns[round], watch, c->type->run, c->state));
    if (last)
        TRI_TRY(judge(c, arena));
done:
    return status;
}

static void shuffle(size_t *order, size_t count, tri_random *random) {
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)tri_random_below(random, i), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

static triage_status race(tri_contestant *contestants, size_t count, tri_arena *arena, tri_stopwatch *watch,
                          int samples, uint64_t seed, volatile const int *interrupted) {
    triage_status status = TRIAGE_OK;
    size_t *order = NULL;
    tri_random random;
    tri_random_seed(&random, seed);
    TRI_TRY(tri_calloc(&order, count, sizeof *order));
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (int round = 0; round < samples; round++) {
        if (*interrupted)
            TRI_TRY(tri_fail(TRIAGE_E_INTERRUPTED, "interrupted in round %d of %d", round + 1, samples));
        shuffle(order, count, &random);
        for (size_t i = 0; i < count; i++) {
            tri_contestant *c = &contestants[order[i]];
            if (runs(c))
                TRI_TRY(time_one(c, arena, watch, round, round == samples - 1));
        }
    }
done:
    free(order);
    return status;
}

triage_status tri_contest(tri_contestant *contestants, size_t count, tri_arena *arena, tri_stopwatch *watch,
                          int samples, uint64_t seed, volatile const int *interrupted) {
    triage_status status = TRIAGE_OK;
    for (size_t i = 0; i < count; i++) {
        TRI_TRY(tri_calloc(&contestants[i].ns, (size_t)samples, sizeof *contestants[i].ns));
        TRI_TRY(enter(&contestants[i], arena, watch));
    }
    TRI_TRY(race(contestants, count, arena, watch, samples, seed, interrupted));
    for (size_t i = 0; i < count; i++)
        if (runs(&contestants[i]))
            tri_timing_of(&contestants[i].timing, contestants[i].ns, (size_t)samples);
done:
    return status;
}

void tri_contestants_close(tri_contestant *contestants, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (contestants[i].state)
            contestants[i].type->close(contestants[i].state);
        contestants[i].state = NULL;
        free(contestants[i].ns);
        contestants[i].ns = NULL;
    }
}
