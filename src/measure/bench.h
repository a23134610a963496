/* The workbench: one problem on one device, its inputs, its reference, and the gate that every candidate
 * goes through before it gets a number. Runs inside the measuring worker (and in tests of the gate).
 *
 * The inputs are drawn once from the seed. Each result lies between two red zones:
 *
 *     | guard | result as stored | guard |
 *
 * and each candidate runs on every case of the operation (op/op.h), the last one first, on results full of NaN where
 * the case does not say otherwise; then it is timed on case 0, and what the last timed launch left is looked at. */
#ifndef TRIAGE_MEASURE_BENCH_H
#define TRIAGE_MEASURE_BENCH_H

#include "op/op.h"
#include "measure/stats.h"
#include "store/store.h"

/* A rendered candidate and how to launch it. Borrowed. */
typedef struct tri_trial {
    const tri_source *source;
    const tri_launch *launch;
    const tri_image *image; /* compiled from it; NULL: the bench compiles it */
} tri_trial;

/* What became of it. */
typedef struct tri_report {
    tri_outcome outcome;
    char reason[256]; /* "" when right */
    tri_timing timing;
    double row_error, row_error_limit; /* the case nearest to its limit */
    int batch;                         /* launches per timed event pair */
    bool damaged;  /* an earlier candidate had damaged the inputs: nothing is known of this one */
    bool troubled; /* the machine's doing, not this one's: nothing is known of it; reason says what */
    bool lost;     /* the device is not to be used any more by this process */
    bool rough;    /* of a guest of a race that is not right: see tri_race_rules */
} tri_report;

/* What goes with a row of evidence: what the device says of itself, and how it was launched; JSON. device NULL: it is lost. */
triage_status tri_report_circumstances(char **out, tri_device *device, const tri_report *report);

/* What a row of evidence is about, and where it was made; borrowed. */
typedef struct tri_row_subject {
    const char *problem, *kernel, *config, *source_hash, *compiler, *stage;
    const char *device, *device_name, *host;
    int64_t seed;
} tri_row_subject;

/* Fills a row from a report, all but what a compiler said (-1). The caller clears it, also on failure. circumstances NULL: {}. */
triage_status tri_report_row(tri_measurement *out, const tri_row_subject *subject, const tri_report *report,
                             const char *circumstances);

typedef struct tri_bench tri_bench;

typedef struct tri_bench_setup {
    const tri_problem *problem;
    const tri_pattern *pattern; /* borrowed for the bench's life; NULL: an operation without one */
    uint64_t seed;
    bool warm;           /* leave the L2 warm, and batch launches shorter than 20 us */
    int64_t flush_bytes; /* at least so many go through the cache before each launch; 0: as the L2 needs */
    double sampling_limit_s; /* of one candidate's samples, a quarter of a race's; 0: 1.5 */
    const char *cache_dir;   /* of compiled kernels, or NULL */
    const char *lock_dir;    /* of the worker that makes the bench: see device_lock.h; NULL: no turns */
    tri_trial reference;     /* the plain kernel */
    /* A caller's operands in place of drawn ones: of each input of case 0 its address and bytes, and its data where the host
     * has that already. They are read and left alone. NULL: drawn. */
    const tri_inputs *given;
} tri_bench_setup;

/* Draws the inputs, or takes those that are given (bench_given.c), runs the plain kernel, computes the float64 rows and the
 * yardstick. Fails when the plain kernel cannot be run or is itself wrong, and with TRIAGE_E_DATA where given operands tell
 * right from wrong too badly. The device is borrowed. */
triage_status tri_bench_open(tri_bench **out, tri_device *device, const tri_bench_setup *setup);
void tri_bench_close(tri_bench *bench);
/* Of a race of so many on given operands, about and at the least: bringing operands and results to the host, the plain kernel,
 * emptied caches. */
double tri_bench_race_ms(const tri_device_info *info, const tri_problem *problem, const tri_inputs *given,
                         size_t entrants);

/* Milliseconds of one launch of the plain kernel, roughly: a scale for deadlines. */
double tri_bench_plain_ms(const tri_bench *bench);

/* Verifies, times and verifies again. A failure of the candidate is an outcome, not a status; the status
 * is for what is wrong with the bench. best_median_ns: of the candidates so far, 0 none: one that is
 * clearly slower (1.5 times) is timed no longer than it takes to see that. */
triage_status tri_bench_measure(tri_report *out, tri_bench *bench, const tri_trial *trial,
                                double best_median_ns);

/* The same for the dense product of the device's library, with the sparse operand densified: the same inputs, the same
 * result, the same gate. TRIAGE_E_NOT_FOUND: no such library; TRIAGE_E_UNSUPPORTED: it has not these types, or the
 * operation has no dense twin, or the problem an epilogue, which it does not compute. */
triage_status tri_bench_measure_dense(tri_report *out, tri_bench *bench);

/* What case 0 (or a later one) reads and writes on the device. Borrowed for the bench's life. */
tri_binding tri_bench_binding(const tri_bench *bench, size_t case_index);

/* ---- a race: all interleaved, one launch each a round, in an order shuffled by the seed in every round ---- */

#define TRI_RACE_MAX 8

/* A candidate, or whoever else computes case 0 (tri_bench_binding). */
typedef struct tri_entrant {
    const tri_trial *trial; /* NULL: a call */
    tri_call_fn call;
    void *state;
} tri_entrant;

/* Called before entrant `index` runs, so that a crash can be laid at its door. */
typedef void (*tri_racing_fn)(void *user, size_t index);
/* Before each round. False: the race ends with TRIAGE_E_INTERRUPTED. */
typedef bool (*tri_round_fn)(void *user, int round);

typedef struct tri_race_rules {
    uint64_t seed;
    int rounds; /* 2 .. TRI_SAMPLES_MAX; 0, without guests: until the order is decided (race_protocol.h) */
    /* Others than our candidates take part. Whoever fails is out and the rest goes on, as long as the device does; who is
     * not right is timed all the same where the result is only rough (tri_verdict_is_rough), and marked. */
    bool has_guests;
    /* Of tri_now_ns, with a fixed number: whoever would enter after it does not (TRI_TIMED_OUT, troubled), and no round is begun
     * but the first three; 0: none. */
    int64_t deadline_ns;
    tri_racing_fn racing; /* NULL: nobody is told */
    tri_round_fn next;    /* NULL: nobody is asked */
    void *user;           /* of both */
    double *samples_ns;   /* [entrant][rounds], of a fixed number of rounds; NULL: not wanted */
} tri_race_rules;

/* Looks at each result before the race and at what its last timed launch left. out: count reports, at most
 * TRI_RACE_MAX. */
triage_status tri_bench_race(tri_report *out, tri_bench *bench, const tri_entrant *entrants, size_t count,
                             const tri_race_rules *rules);

#endif
