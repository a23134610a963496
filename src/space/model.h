/* A space as C keeps it: all of it that is data, checked. Of its functions C keeps where the sandbox has them, so that
 * nothing which one of them changes later in the file's tables is ever read again. */
#ifndef TRIAGE_SPACE_MODEL_H
#define TRIAGE_SPACE_MODEL_H

#include "space/facts.h"
#include "space/space.h"

#define TRI_AXES_MAX 24
#define TRI_POINTS_MAX 1000000 /* points of one kernel's axes, legal or not */

typedef struct tri_axis_value {
    char *text; /* as in a configuration's text */
    bool is_integer;
    int64_t number;
} tri_axis_value;

typedef struct tri_axis {
    char *name;
    tri_axis_value *values;
    size_t count;
} tri_axis;

typedef struct tri_constraint {
    char *reason; /* its name, which the user reads */
    int legal;    /* the function, as the sandbox numbers it */
} tri_constraint;

/* What makes a candidate of a configuration. */
typedef struct tri_maker {
    char *template_name;
    int params, options, launch; /* the functions; options: 0 is none */
} tri_maker;

typedef struct tri_space_kernel {
    char *name;
    char **targets;
    size_t target_count;
    tri_axis *axes;
    size_t axis_count;
    tri_constraint *constraints;
    size_t constraint_count;
    int32_t *defaults; /* [default_count][axis_count]: value indexes, best first */
    size_t default_count;
    int32_t spill_limit;
    tri_maker maker;
    int later; /* above 0: only the name is known yet; the sandbox's number of the function that makes the kernel. 0: it is made */
} tri_space_kernel;

typedef enum tri_reference_of { TRI_REFERENCE_CUDA, TRI_REFERENCE_HOST, TRI_REFERENCES } tri_reference_of;

/* A point of a kernel's axes: value indexes in their order. */
typedef int32_t tri_point[TRI_AXES_MAX];
#define TRI_LEGAL (-1)

/* Of all points of a kernel. */
typedef struct tri_verdicts {
    int32_t *points; /* the numbers of the legal ones, ascending: how many come before, last axis fastest */
    size_t count;
    int32_t furthest; /* the last in the list of the constraints that kept points out; TRI_LEGAL: none did */
    int64_t asked;    /* how often a function was */
} tri_verdicts;

/* What the functions are asked about. */
typedef struct tri_question {
    tri_facts problem, device;
    const char *backend;
} tri_question;

/* The questions that only the file's own functions answer: in this process (local.h), or in one of its own (remote.h).
 * What they say is checked by whoever answers here. */
typedef struct tri_answerer {
    /* The legal points of a kernel; *out is the caller's, empty. A constraint is asked once for what it reads of a
     * configuration, in whatever order: it must be a function of that. */
    triage_status (*judge)(tri_verdicts *out, tri_space *space, const tri_question *question, size_t kernel);
    /* Fills params, options and launch for a point, if it is legal; *violated as a verdict. */
    triage_status (*fill)(tri_candidate *out, int32_t *violated, tri_space *space,
                          const tri_question *question, size_t kernel, const int32_t *point);
    triage_status (*fill_reference)(tri_candidate *out, tri_space *space, const tri_question *question);
    /* Makes a kernel of which only the name is known. NULL: there are no such kernels. */
    triage_status (*load)(tri_space *space, size_t kernel);
    void (*close)(tri_space *space);
} tri_answerer;

struct tri_space {
    char *file;   /* as messages name it: a resource, or */
    bool is_path; /* the path of a space of one's own */
    char *data_dir;
    char *name;
    char *op;
    tri_space_kernel *kernels;
    size_t kernel_count;
    tri_maker references[TRI_REFERENCES]; /* template_name NULL: none for that backend */
    const tri_answerer *answerer;
    void *state; /* the answerer's */
};

size_t tri_kernel_points(const tri_space_kernel *kernel);
/* By its number: points are counted with the last axis fastest, the order in which the file reads. */
void tri_point_of(int32_t *point, const tri_space_kernel *kernel, int32_t number);

/* Is everything in it what its rule says (words.h)? TRIAGE_E_DATA. It may come from Lua or from another process. */
triage_status tri_model_check(const tri_space *space);
/* The same for one kernel, which need not be in the space yet. */
triage_status tri_model_check_kernel(const tri_space *space, const tri_space_kernel *kernel);
void tri_space_kernel_clear(tri_space_kernel *kernel);
void tri_model_free(tri_space *space);

bool tri_target_matches(const char *wanted, const tri_device_info *info);

#endif
