/* Which candidate runs on which problem, and in which units. Making a plan enumerates the whole space, which takes
 * seconds: it is done once, and other processes read it from a file. The file:
 *
 *   candidate plan 1
 *   device cuda sm_90a sms=132 ... memory=85017493504     all that the space may ask of a device
 *   choice once=1 part=1/1
 *   space HASH                                            of the files in tuner/
 *   probes HASH                                           of the list of problems
 *   hash <tab> group <tab> configuration <tab> problem <tab> number of the problem      for each job, the dearest first
 *   end
 *
 * The group is that of candidate_problem.h. The first four fields of a job are those of a line of run_candidates --log. hash is the kernel's identity: text,
 * headers, options, target. Jobs may be taken out of the file; units are cut when it is read. */
#ifndef TRIAGE_TESTS_GPU_CANDIDATE_PLAN_H
#define TRIAGE_TESTS_GPU_CANDIDATE_PLAN_H

#include "gpu/candidate_problem.h"
#include "render/render.h"

#define JOBS_MAX 16384

/* One candidate. */
typedef struct job {
    char *name, *config; /* name: see name_config */
    size_t probe;
    int raggedness;           /* of its problem */
    double cost;              /* likewise */
    bool chosen;              /* where not all are wanted */
    char hash[TRI_HASH_SIZE]; /* "" until a file has it */
} job;

typedef struct plan {
    job *jobs;
    size_t job_count;
    size_t *units; /* first jobs of the units, and job_count */
    size_t unit_count;
} plan;

/* What a plan is for. */
typedef struct purpose {
    tri_device_info info;
    bool any_device;      /* plan_read: info is what the file says */
    bool once, cover;     /* not both */
    unsigned part, parts; /* part is 0 .. parts - 1 */
    const char *data_dir;
} purpose;

void plan_make(plan *out, const purpose *of, tri_space *space);
void plan_write(plan *p, const purpose *of, tri_space *space, const char *path);
/* Ends the program with 65 when the file is for something else, or no plan. */
void plan_read(plan *out, purpose *of, const char *path);
void plan_free(plan *p);

#endif
