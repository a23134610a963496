/* The commands of triage_db that need a server, and status, which also reads a file. */
#ifndef TRIAGE_CLI_FLEET_H
#define TRIAGE_CLI_FLEET_H

#include <jansson.h>

#include "cli/cli_problem.h"
#include "store/jobs.h"

typedef struct tri_cli_fleet_options {
    const char *db;     /* the local file; NULL: the default */
    const char *server; /* postgresql://... */
    const char *shapes, *device_class;
    bool json, color;
} tri_cli_fleet_options;

/* A password on a command line is everybody's to read: TRIAGE_E_INVALID, and how to do it instead. NULL is fine. */
triage_status tri_cli_check_url(const char *url);

triage_status tri_cli_setup(const tri_cli_fleet_options *options);
triage_status tri_cli_sync(const tri_cli_fleet_options *options);
/* A sync with a server before a run that reads the local file; made if it is not there. */
triage_status tri_cli_pull(const char *local_path, const char *url);
triage_status tri_cli_enqueue(const tri_cli_fleet_options *options);
triage_status tri_cli_jobs(const tri_cli_fleet_options *options);
triage_status tri_cli_status(const tri_cli_fleet_options *options); /* cli_status.c */

/* The server that --server or --db names; TRIAGE_E_INVALID if neither does. */
triage_status tri_cli_open_server(tri_store **out, const tri_cli_fleet_options *options, tri_store_mode mode);

/* Rows from elsewhere must be about a problem that this version can read: a tri_check_fn. */
triage_status tri_cli_check_row(void *user, const tri_measurement *row);

/* The problem of a job's spec. texts owns what the problem's options borrow: json_decref it. seed is the job's. */
triage_status tri_cli_problem_of_job(tri_cli_problem *out, tri_cli_problem_options *options, json_t **texts,
                                     const char *spec);

#endif
