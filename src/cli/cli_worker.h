/* triage_tune --worker: tunes the jobs of a server, one after the other. */
#ifndef TRIAGE_CLI_WORKER_H
#define TRIAGE_CLI_WORKER_H

#include "tune/tune.h"

typedef struct tri_cli_worker_options {
    const tri_tune_options *tune; /* of each job; db_path is the local file */
    const char *server;
    double lease_s;
    bool stay, quiet, json;
} tri_cli_worker_options;

/* Until there is no job (or for ever), or interrupted. The failure of a job is not one of the worker's. */
triage_status tri_cli_work(const tri_cli_worker_options *options);

#endif
