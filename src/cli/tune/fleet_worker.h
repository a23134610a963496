/* triage_tune --worker: works on the jobs of a server, one after the other. */
#ifndef TRIAGE_CLI_WORKER_H
#define TRIAGE_CLI_WORKER_H

#include "tune/tune.h"

typedef struct tri_cli_worker_options {
    const tri_tune_options
        *tune; /* of each job; db_path is the local file; compile_only: compiles ahead for target */
    const char *server;
    double lease_s;
    bool stay, quiet, json;
} tri_cli_worker_options;

/* Until there is no job (or for ever), or interrupted. The failure of a job is not one of the worker's. */
triage_status tri_cli_work(const tri_cli_worker_options *options);

/* --device all: this program once more for each GPU, with the arguments it was given, and their results as one.
 * TRIAGE_E_NO_DEVICE: there is no GPU. argv: main's. */
triage_status tri_cli_work_on_all(const tri_cli_worker_options *options, char *const *argv);

#endif
