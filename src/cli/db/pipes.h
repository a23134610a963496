/* "-" in the place of a file of measurements. */
#ifndef TRIAGE_CLI_DB_PIPES_H
#define TRIAGE_CLI_DB_PIPES_H

#include "store/store.h"

/* As tri_store_export, to stdout: nothing is written there unless all could be read. */
triage_status tri_cli_export_to_stdout(int64_t *rows, tri_store *store);

/* All of stdin, kept in memory; *path (owned by the caller) names it for tri_store_import until *fd is closed. */
triage_status tri_cli_keep_stdin(char **path, int *fd);

#endif
