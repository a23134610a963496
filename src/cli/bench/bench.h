/* triage_bench: triage and its peers on the same inputs, through the same gate and clock (measure/bench.h), in one
 * interleaved run. What an operation's applications call, and who else computes it, is in a folder of its own beside this
 * file; list.def has their names. */
#ifndef TRIAGE_CLI_BENCH_H
#define TRIAGE_CLI_BENCH_H

#include "api/context.h"
#include "cli/bench/profile.h"
#include "cli/common/common.h"
#include "measure/bench.h"

/* ---- the arena: one problem on the bench ---- */

typedef struct tri_arena {
    triage_context *context; /* borrowed */
    tri_bench *bench;
    tri_problem problem;
    const tri_pattern *pattern; /* borrowed; NULL: an operation without one */
    tri_binding at;             /* device, inputs and results of case 0, the one that is timed */
} tri_arena;

/* Draws inputs from seed, runs the plain kernel, computes the float64 rows. warm: caches are left warm. */
triage_status tri_arena_open(tri_arena *out, triage_context *context, const tri_problem *problem,
                             const tri_pattern *pattern, uint64_t seed, bool warm);
void tri_arena_close(tri_arena *arena);
/* The device's address of an input; NULL: absent. */
void *tri_arena_input(const tri_arena *arena, size_t index);
/* The sparse operand with its zeros, on the device: released with tri_device_release. */
triage_status tri_arena_densify(tri_address *out, const tri_arena *arena);
/* A new array on the device. */
triage_status tri_arena_place(tri_address *out, const tri_arena *arena, const void *data, size_t bytes);

/* ---- contestants ---- */

typedef struct tri_contestant_type {
    const char *name;
    const char *family;      /* as --against names it; NULL: triage itself */
    const tri_operation *op; /* NULL: any that has a dense twin */
    bool on_host, on_cuda;
    bool only_e4m3; /* not even listed for other types */
    bool dense;     /* multiplies the zeros too */
    triage_status (*open)(void **state, char detail[256], const tri_arena *arena);
    tri_call_fn run; /* enqueues case 0 of the arena on a stream */
    void (*close)(void *state);
} tri_contestant_type;

/* In the order of list.def; NULL after the last. */
extern const tri_contestant_type *const tri_contestant_types[];

typedef enum tri_contest_result {
    TRI_ABSENT = 0, /* its library is not here, or it refuses the problem: reason */
    TRI_WRONG_SUM,  /* not the result at all: no number */
    TRI_OVER_BOUND, /* the result, but with a larger error than the gate allows: marked */
    TRI_VERIFIED
} tri_contest_result;

typedef struct tri_contestant {
    const tri_contestant_type *type;
    void *state;
    char detail[256]; /* version, kernel */
    tri_contest_result result;
    char reason[256];
    double row_error, row_error_limit;
    double *ns; /* of each round */
    tri_timing timing;
} tri_contestant;

/* Times so many rounds of all that can be opened. progress: as of tri_race_rules. */
triage_status tri_contest(tri_contestant *contestants, size_t count, const tri_arena *arena, int rounds,
                          uint64_t seed, tri_round_fn next, void *user);
void tri_contestants_close(tri_contestant *contestants, size_t count);

/* What triage runs, and why: of the detail of its contestant. */
void tri_contestant_say_choice(char detail[256], const triage_choice *choice);

/* Fills count pointers at table from names; TRIAGE_E_NOT_FOUND names the first that is missing. */
triage_status tri_peer_symbols(void *table, void *library, const char *const *names, size_t count);
/* cudaDataType of the CUDA libraries (library_types.h). TRIAGE_E_UNSUPPORTED for e4m3. */
triage_status tri_peer_cuda_type(int *out, triage_dtype dtype);

/* ---- the limit of the device ---- */

/* Rates that the user states, or that are measured; 0: none. */
typedef struct tri_ceilings {
    double flops_per_s, bytes_per_s;
    const char *source; /* "stated", "measured"; NULL: what is documented */
} tri_ceilings;

/* The rate of the device's library at a large dense product of these types (0: there is none), and of a walk through
 * memory far larger than its cache. TRIAGE_E_INTERRUPTED once the flag is set. */
triage_status tri_ceilings_measure(tri_ceilings *out, tri_device *device, const tri_problem *problem,
                                   volatile const int *interrupted);

typedef struct tri_limit {
    double flops_per_s, bytes_per_s; /* the ceilings; 0: not known */
    const char *source;              /* "documented", "stated" or "measured" */
    double compute_ns, memory_ns;    /* useful operations, fewest bytes; 0: not known */
    double ns;                       /* the longer one; 0 unless both are known */
    const char *bound;               /* "compute", "memory", NULL */
} tri_limit;
void tri_limit_of(tri_limit *out, const tri_problem *problem, const tri_device_info *info,
                  const tri_ceilings *stated);

/* ---- report ---- */

typedef struct tri_contest_report {
    const tri_contestant *contestants; /* triage first */
    size_t count;
    const tri_arena *arena;
    const tri_limit *limit;
    const tri_profile *profile; /* no launches: not asked for */
    uint64_t seed;
    bool cold;
} tri_contest_report;

bool tri_contestant_has_number(const tri_contestant *contestant);
const char *tri_contest_result_name(
    tri_contest_result result); /* "verified", "over bound", "wrong", "absent" */
/* Useful, of the problem's flops. */
double tri_contestant_tflops(const tri_contestant *contestant, const tri_problem *problem);

/* width: of the window; 0: as wide as it gets. */
triage_status tri_contest_print(const tri_contest_report *report, bool no_color, size_t width);
triage_status tri_contest_json(json_t **out, const tri_contest_report *report);
/* Files for others; TRIAGE_E_IO. */
triage_status tri_contest_export_csv(const char *path, const tri_contest_report *report);
triage_status tri_contest_export_markdown(const char *path, const tri_contest_report *report);
/* FILE.svg or FILE.png; the check, beforehand, is for usage. */
triage_status tri_contest_plot_check(const char *path);
triage_status tri_contest_plot(const char *path, const tri_contest_report *report);
/* Is the document of an earlier run there, and JSON? */
triage_status tri_contest_compare_check(const char *path);
/* Against the document of an earlier run; *slower: contestants whose interval lies above the old one.
 * TRIAGE_E_DATA: no such document, or of another problem or device. */
triage_status tri_contest_compare(size_t *slower, const char *path, const json_t *now);

#endif
