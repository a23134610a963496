/* The commands of triage_db that need a server, and status, which also reads a file. */
#ifndef TRIAGE_CLI_FLEET_H
#define TRIAGE_CLI_FLEET_H

#include <jansson.h>

#include "cli/common/problem.h"
#include "evidence/admission.h"
#include "store/jobs.h"

typedef struct tri_cli_fleet_options {
    const char *db;     /* the local file; NULL: the default */
    const char *server; /* postgresql://... */
    const char *shapes, *device_class;
    const char *space;    /* the user's own, beside the built-in one; NULL: none */
    const char *data_dir; /* see tri_resource_read */
    bool retry, json, color;
} tri_cli_fleet_options;

/* A password on a command line is everybody's to read: TRIAGE_E_INVALID, and how to do it instead. NULL is fine. */
triage_status tri_cli_check_url(const char *url);

/* A warning that a file lies where a database does not belong; nothing for others, URLs and NULL. */
void tri_cli_warn_of_network(const char *path);

/* Says what was kept of rows that only another version of triage can judge, and ends the gate. NULL is fine. */
void tri_cli_end_admission(tri_admission *admission);
/* The server of --server, or of --db when that is a URL. */
triage_status tri_cli_open_server(tri_store **out, const tri_cli_fleet_options *options, tri_store_mode mode);

triage_status tri_cli_setup(const tri_cli_fleet_options *options);
triage_status tri_cli_sync(const tri_cli_fleet_options *options);
/* A sync with a server before a run that reads the local file; made if it is not there. */
triage_status tri_cli_pull(const char *local_path, const char *url, const char *space, const char *data_dir);
triage_status tri_cli_enqueue(const tri_cli_fleet_options *options);
triage_status tri_cli_jobs(const tri_cli_fleet_options *options);
triage_status tri_cli_status(const tri_cli_fleet_options *options); /* db/status.c */
/* What status says of the jobs. */
triage_status tri_cli_jobs_status(tri_store *server, const tri_fleet_counts *counts, bool color);
triage_status tri_cli_jobs_status_json(json_t *document, tri_store *server, const tri_fleet_counts *counts);

/* A file of shapes (--shapes), each line as the spec of a job. Zero-initialise. TRIAGE_E_DATA names the line. */
typedef struct tri_cli_specs {
    char **specs;
    size_t count, capacity;
} tri_cli_specs;
triage_status tri_cli_read_shapes(tri_cli_specs *out, const char *path);
void tri_cli_specs_free(tri_cli_specs *specs);

/* Does a spec name a file of this machine? No job of a server may. */
bool tri_cli_spec_names_file(const char *spec);

/* The problem of a job's spec. texts owns what the problem's options borrow: json_decref it. seed is the job's. */
triage_status tri_cli_problem_of_job(tri_cli_problem *out, tri_cli_problem_options *options, json_t **texts,
                                     const char *spec);

#endif
