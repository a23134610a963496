/* What an operation is: one const table, and a problem and a launch that carry its own part by value.
 *
 * An operation is what the house tunes: bsr_gemm, attention, the tests' toy. Everything it has of its own is behind
 * tri_operation. Strategies, rendering, compiler, worker, gate, clock, store, sync, fleet and lookup work with this
 * header alone and name none. To add one (CONTRIBUTING.md walks through it):
 *
 *     src/op/NAME/            problem, key, inputs, reference, arguments: a const tri_operation tri_op_NAME
 *     src/op/list.def         its line: TRI_OPERATION(NAME)
 *     templates/NAME/         args.h, kernels, reference.cu and reference.c
 *     tuner/spaces/NAME.lua   the space
 *     src/cli/common/op_NAME.c how the programs' options describe a problem of it: tri_cli_op_NAME
 *     src/api/NAME/           what applications call, with its part of triage.h
 *
 * How a bench uses the table (src/measure), which is the order in which an operation is best read:
 *
 *     draw        case 0, case 1, ...         host arrays from the seed; the bench puts them on the device
 *     telling_rows                            rows that must be among the checked ones
 *     reference_row                           float64, for each checked row of each case
 *     prepare     for each candidate          what its kernel needs on the device beside the inputs (a schedule)
 *     arguments   for each candidate and case the argument block
 *     views                                   where the results are and how exact they must be */
#ifndef TRIAGE_OP_OP_H
#define TRIAGE_OP_OP_H

#include "check/view.h"
#include "device/device.h"
#include "pattern/pattern.h"

/* ---- a problem ------------------------------------------------------------------------------------------------- */

typedef struct tri_operation tri_operation;

/* Which operation, and its own struct in place: plain data without pointers, so that a problem is copied and forgotten.
 * An operation declares that struct with TRI_IN_PLACE, and two accessors for itself and its own rooms:
 *
 *     typedef struct TRI_IN_PLACE tri_toy_problem { triage_dtype dtype; int64_t rows, cols; } tri_toy_problem;
 *     _Static_assert(sizeof(tri_toy_problem) <= TRI_PROBLEM_BYTES, "");
 *     static inline const tri_toy_problem *tri_toy(const tri_problem *p) { return (const void *)p->data; }
 *     static inline tri_toy_problem *tri_toy_edit(tri_problem *p) { return (void *)p->data; }
 *
 * The same for its part of a launch: tri_launch.own, TRI_LAUNCH_BYTES. */
#define TRI_PROBLEM_BYTES 256
#define TRI_IN_PLACE __attribute__((may_alias))
typedef struct tri_problem {
    const tri_operation *op;
    _Alignas(8) unsigned char data[TRI_PROBLEM_BYTES];
} tri_problem;

/* ---- a number that goes with a problem or a launch under a name ------------------------------------------------ */

/* An int64_t of the operation's problem struct that its key does not hold but a run needs (leading dimensions, the
 * exact number of blocks). The wire to the workers carries them beside the key. */
typedef struct tri_number {
    const char *name; /* NULL ends a list */
    size_t offset;    /* in the problem struct */
} tri_number;

/* A field of the launch table of a space that is the operation's own: an int32_t of its part of tri_launch. The space
 * reads it from Lua, the wire carries it. */
typedef struct tri_launch_field {
    const char *name; /* NULL ends a list */
    size_t offset;    /* in the launch struct */
    int64_t high;     /* 0 .. high, absent: 0; 0: a flag, Lua's true is 1 */
} tri_launch_field;

/* One of tri_launch.maps, as the launch table of a space names it. */
typedef struct tri_map_field {
    const char *name;              /* "map_a"; NULL: no more */
    int32_t least_rank, most_rank; /* of its box, 1 .. TRI_MAP_RANK */
} tri_map_field;

/* A field of `problem` as the functions of a space see it. */
typedef struct tri_property {
    const char *name;
    enum { TRI_PROPERTY_INTEGER, TRI_PROPERTY_NUMBER, TRI_PROPERTY_TEXT, TRI_PROPERTY_FLAG } kind;
    int64_t integer; /* of the kind, one of these four */
    double number;
    const char *text;
    bool flag;
} tri_property;
typedef void (*tri_property_fn)(void *user, const tri_property *field);

static inline void tri_property_integer(tri_property_fn fn, void *user, const char *name, int64_t value) {
    fn(user, &(tri_property){.name = name, .kind = TRI_PROPERTY_INTEGER, .integer = value});
}
static inline void tri_property_number(tri_property_fn fn, void *user, const char *name, double value) {
    fn(user, &(tri_property){.name = name, .kind = TRI_PROPERTY_NUMBER, .number = value});
}
static inline void tri_property_text(tri_property_fn fn, void *user, const char *name, const char *value) {
    fn(user, &(tri_property){.name = name, .kind = TRI_PROPERTY_TEXT, .text = value});
}
static inline void tri_property_flag(tri_property_fn fn, void *user, const char *name, bool value) {
    fn(user, &(tri_property){.name = name, .kind = TRI_PROPERTY_FLAG, .flag = value});
}

/* ---- how far two problems are apart ------------------------------------------------------------------------------ */

#define TRI_DISTANCE_PARTS 4
#define TRI_KIN_MAX 64

/* Of a size as a lookup counts it, in octaves: up to 2048 a doubling is 1, beyond a quarter, since a size that fills
 * the chip only repeats what happens. Every operation measures its three sizes so: lookups search by them. */
double tri_size_coordinate(double size);

/* ---- cost ----------------------------------------------------------------------------------------------------------- */

/* The least that any problem of this key must do: what a time that is reported from elsewhere is held against. */
typedef struct tri_least_work {
    triage_dtype dtype;  /* of the products: how fast a device is with them */
    double flops;        /* executed */
    double input_bytes;  /* that must be read once */
    double output_bytes; /* that are written */
} tri_least_work;

/* ---- prediction (src/evidence/predict.h) ------------------------------------------------------------------------- */

/* A number that a kernel's time depends on, for one configuration of one problem on one device. */
typedef struct tri_feature {
    const char *name;     /* NULL ends a list */
    double middle, scale; /* over ordinary problems: a difference of one scale is a large one */
} tri_feature;

#define TRI_FEATURES_MAX 48
#define TRI_COST_TERMS 6

/* What the kernel of a configuration does, in the order of tri_operation.features and .cost_terms. */
typedef struct tri_cost {
    double features[TRI_FEATURES_MAX];
    double term_ns[TRI_COST_TERMS]; /* about how long each part of the work takes */
    double guess_ns;                /* all of it, where one part hides another */
} tri_cost;

/* The axes of a configuration's text ("panel warps=8 tile_n=64") that are numbers; the names lie in the text. */
#define TRI_CONFIG_AXES_MAX 32
typedef struct tri_config_axes {
    struct {
        const char *name;
        size_t size;
        double value;
    } items[TRI_CONFIG_AXES_MAX];
    size_t count;
} tri_config_axes;

void tri_config_axes_read(tri_config_axes *out, const char *config);
/* The value of one of them, else absent. */
double tri_config_axis(const tri_config_axes *axes, const char *name, double absent);

/* ---- inputs ----------------------------------------------------------------------------------------------------------- */

#define TRI_INPUTS_MAX 24

/* One array that a kernel reads. Host data as it goes to the device, byte by byte. */
typedef struct tri_input {
    void *data; /* NULL: absent; its address is 0 */
    size_t bytes;
    bool borrowed; /* not to be freed with the inputs: the pattern's arrays */
    tri_address address;
} tri_input;

/* Indexed by an enum of the operation's own. */
typedef struct tri_inputs {
    tri_input at[TRI_INPUTS_MAX];
} tri_inputs;

/* Makes room for an array at this index, zeroed; *data points to it (an array of 0 bytes too). */
triage_status tri_inputs_add(void *data, tri_inputs *inputs, size_t index, size_t count, size_t size);
void tri_inputs_free(tri_inputs *inputs); /* the host side */

/* ---- results ------------------------------------------------------------------------------------------------------------ */

#define TRI_VARIANTS 2
#define TRI_VIEWS_MAX 2
#define TRI_CASES_MAX 6
#define TRI_TELLING_ROWS 8

/* Everything on the host about one case of one problem. Borrowed. */
typedef struct tri_operands {
    const tri_problem *problem;
    const tri_pattern *pattern; /* NULL without one */
    const tri_inputs *inputs;   /* of this case */
    size_t case_index;
} tri_operands;

/* Everything on the device about one launch. Borrowed. */
typedef struct tri_binding {
    tri_device *device;
    const tri_launch *launch;
    const tri_problem *problem;
    const tri_inputs *inputs; /* of this case: their addresses; 0 for absent ones */
    tri_address results[TRI_VIEWS_MAX];
    tri_address workspace; /* the kernel's own: 0 unless launch->workspace_bytes */
    const void *prepared;  /* from prepare */
    size_t case_index;
} tri_binding;

/* ---- the table -------------------------------------------------------------------------------------------------------------- */

struct tri_operation {
    /* The first word of its keys; its folder in templates/ and tuner/spaces/; what --op takes. [a-z0-9_]+ */
    const char *name;
    /* One line for --help: what is computed. */
    const char *summary;

    /* ---- identity ---- */

    /* Ranges and combinations: TRIAGE_E_INVALID, with the value and what is allowed. */
    triage_status (*check)(const tri_problem *problem);
    /* One line of canonical text, the same on every machine:
     *     NAME word word ... m=8192 n=8192 k=8192 name=value ...
     * The words before " m=" are the family: only problems with the same ones, or those of kin, may lend each other kernels. m,
     * n and k are the sizes (1 .. 2^31-1) that lookups search by; an operation says what they stand for. What changes
     * a kernel or its speed is in the key, what does not is not. At most 511 bytes. Checked first, so that no key is
     * made of a problem that cannot be. */
    triage_status (*key)(char **out, const tri_problem *problem);
    /* The inverse; refuses what key would not write (TRIAGE_E_DATA). What the key does not hold is filled in. out->op
     * is set. */
    triage_status (*parse)(tri_problem *out, const char *key);
    /* A key may stand for problems that a space tells apart (a density in two digits for several counts of blocks).
     * problem is from parse; up to TRI_VARIANTS others. NULL: for none. */
    size_t (*variants)(tri_problem out[TRI_VARIANTS], const tri_problem *problem);
    /* m, n and k of the key. */
    void (*sizes)(int64_t out[3], const tri_problem *problem);
    const tri_number *numbers; /* beside the key */
    /* A few words for people, e.g. "4096x512x4096 at density 0.1"; NULL: the sizes. */
    void (*outline)(char *out, size_t size, const tri_problem *problem);

    /* ---- distance ---- */

    /* Names of the parts, e.g. "shape": shown to people and in JSON; NULL: counts, but is too small to be shown. */
    const char *distance_parts[TRI_DISTANCE_PARTS];
    /* The squares of the parts; their sum's root is the distance: 0 equal, about 1 for a factor of two in one size.
     * It is never less than the root of the sum over m, n, k of the squared differences of tri_size_coordinate.
     * False: a kernel for one cannot serve the other (the squares are filled in all the same). Both are of this
     * operation. */
    bool (*distance_squares)(double out[TRI_DISTANCE_PARTS], const tri_problem *a, const tri_problem *b);

    /* The problem as those of other families whose kernels may serve it have it (another epilogue, another layout), the
     * nearest first: up to TRI_KIN_MAX, with its own sizes. NULL: only its own family serves it. */
    size_t (*kin)(tri_problem out[TRI_KIN_MAX], const tri_problem *problem);

    /* ---- cost ---- */

    double (*flops)(const tri_problem *problem); /* executed, "useful" */
    double (*dense_flops)(
        const tri_problem *problem); /* without what sparsity or a mask leaves out: "dense-equivalent" */
    double (*bytes)(const tri_problem *problem); /* the fewest that must move */
    void (*least_work)(tri_least_work *out, const tri_problem *problem);
    /* Bytes of host memory that a bench of it takes, roughly: programs refuse what cannot fit. */
    double (*host_bytes)(const tri_problem *problem);

    /* ---- prediction; NULL, all three: lookups of it know exact, nearest and default ---- */

    const tri_feature *features;
    const char *cost_terms[TRI_COST_TERMS]; /* "memory", ...; NULL: no more */
    /* False: nothing can be said for this device or configuration. config is a text of a space, its kernel's name first;
     * of axes that it does not know a kernel may have more. */
    bool (*cost)(tri_cost *out, const tri_problem *problem, const char *config, const tri_device_info *info);

    /* ---- what a space sees and says ---- */

    void (*fields)(const tri_problem *problem, tri_property_fn fn, void *user);
    const tri_launch_field *launch_fields; /* of its part of tri_launch */
    tri_map_field maps[TRI_MAPS_MAX];      /* of tri_launch.maps */
    /* The workspace's first launch.workspace_zero_bytes are zeros when the kernel is loaded and every launch leaves
     * them so. False: the whole workspace is cleared before each launch. */
    bool keeps_workspace;

    /* ---- a run ---- */

    /* Does this problem take a tri_pattern, from the options or the caller, and over the wire? NULL: none does. */
    bool (*has_pattern)(const tri_problem *problem);
    size_t args_bytes;

    /* Cases to verify, 1 .. TRI_CASES_MAX. Case 0 is the one that is timed. */
    size_t (*case_count)(const tri_problem *problem);
    /* Of a message: "alpha 1.25, beta -0.5" */
    void (*case_text)(char *out, size_t size, const tri_problem *problem, size_t case_index);
    /* Host arrays of a case. Case 0 has all; a later case only those that differ from case 0's, which are otherwise
     * shared. The same seed, the same bytes, on every machine. Arrays are only ever added by tri_inputs_add, or
     * borrowed from the pattern. */
    triage_status (*draw)(tri_inputs *out, const tri_problem *problem, const tri_pattern *pattern,
                          uint64_t seed, size_t case_index);
    /* Results: how many there are, 1 .. TRI_VIEWS_MAX. All have the same number of rows, and row i of one belongs to
     * row i of the others: the same rows of all are checked against float64. */
    size_t (*views)(tri_view out[TRI_VIEWS_MAX], const tri_problem *problem);
    /* What a result holds before the launch: the index of an input of the same bytes, or -1: NaN everywhere. */
    int (*before)(const tri_problem *problem, size_t case_index, size_t view);
    /* Rows to check in any case when not all are: the first, the last, the longest; at most TRI_TELLING_ROWS. */
    size_t (*telling_rows)(int64_t out[TRI_TELLING_ROWS], const tri_problem *problem,
                           const tri_pattern *pattern, tri_random *random);
    /* Row `row` of each view in float64; out[view] has room for the view's cols. Called from one thread; may use
     * OpenMP inside. */
    void (*reference_row)(double *const out[TRI_VIEWS_MAX], const tri_operands *operands, int64_t row);

    /* What a candidate's kernel needs on the device beside the inputs: made once for each candidate. NULL, both:
     * nothing. *out may stay NULL; what was placed before a failure is released. */
    triage_status (*prepare)(void **out, tri_device *device, const tri_launch *launch,
                             const tri_problem *problem, const tri_pattern *pattern);
    void (*release)(tri_device *device, void *prepared);
    /* Fills args_bytes at out (64-byte aligned), tensor maps included. */
    triage_status (*arguments)(void *out, const tri_binding *binding);

    /* ---- the dense product that does the same, if there is one; NULL, all three ---- */

    /* Of which shape and types. TRIAGE_E_UNSUPPORTED: this problem has an epilogue that it does not compute; filled in
     * all the same. */
    triage_status (*dense_twin)(tri_gemm *out, const tri_problem *problem);
    /* The sparse operand with its zeros, m x k, row-major, packed: *out owned by the caller. */
    triage_status (*densify)(void **out, size_t *bytes, const tri_operands *operands);
    void (*dense_arguments)(tri_gemm_args *out, const tri_binding *binding, tri_address a);
};

/* ---- all of them ------------------------------------------------------------------------------------------------ */

#define TRI_OPERATIONS_MAX 16
/* In the order of src/op/list.def; NULL after the last. */
const tri_operation *const *tri_operations(void);
/* By the word that is its name, or the first word of a key. NULL: none. */
const tri_operation *tri_operation_find(const char *name_or_key);
/* Its place in the list. */
size_t tri_operation_index(const tri_operation *op);
/* "bsr_gemm, attention", for messages. */
const char *tri_operation_names(void);

/* ---- for the operations' own checks ------------------------------------------------------------------------------ */

/* TRIAGE_E_INVALID names what it is, its value, and low to high, or the block that must divide it. */
triage_status tri_check_range(const char *name, int64_t value, int64_t low, int64_t high);
triage_status tri_check_divides(const char *name, int64_t size, const char *block_name, int64_t block);

/* ---- what every user of a problem calls: the operation's own, with what all share ------------------------------- */

triage_status tri_problem_check(const tri_problem *problem);
/* *out owned by the caller. */
triage_status tri_problem_key(char **out, const tri_problem *problem);
/* TRIAGE_E_DATA, also where this version does not know the operation (tri_operation_find tells). */
triage_status tri_problem_parse(tri_problem *out, const char *key);
/* The words of a key before " m="; *out owned by the caller. TRIAGE_E_DATA: the key has no " m=". */
triage_status tri_problem_family(char **out, const char *key);

bool tri_problem_has_pattern(const tri_problem *problem);
void tri_problem_outline(char *out, size_t size, const tri_problem *problem);

double tri_problem_flops(const tri_problem *problem);       /* executed: "useful" */
double tri_problem_dense_flops(const tri_problem *problem); /* "dense-equivalent" */
double tri_problem_bytes(const tri_problem *problem);       /* the fewest that must move */

/* For the nearest lookup: 0 equal, about 1 for a factor of two in one size up to 2048, a quarter beyond; INFINITY if a
 * kernel for one cannot serve the other. */
double tri_problem_distance(const tri_problem *a, const tri_problem *b);
/* The same in parts, each a distance by itself: the whole is the root of the sum of their squares. */
typedef struct tri_distance {
    double part[TRI_DISTANCE_PARTS]; /* of tri_operation.distance_parts */
} tri_distance;
/* False: a kernel for one cannot serve the other. Two operations: false, and parts of 0. */
bool tri_problem_distance_parts(tri_distance *out, const tri_problem *a, const tri_problem *b);

/* The rows that are checked against float64: all when that is little work, else seeded random ones beside the
 * operation's telling ones, ascending. */
triage_status tri_checked_rows(int64_t **out, size_t *count, const tri_problem *problem,
                               const tri_pattern *pattern, uint64_t seed);

#endif
