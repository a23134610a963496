/* "-" in the place of a file. */
#ifndef TRIAGE_CLI_DB_PIPES_H
#define TRIAGE_CLI_DB_PIPES_H

#include "base/base.h"

/* Writes the file of that name, whole or not at all. */
typedef triage_status (*tri_write_fn)(void *user, const char *path);
/* Has it written; for "-" to stdout: nothing comes there unless all could be made. */
triage_status tri_cli_write_by(const char *path, tri_write_fn write, void *user);

/* All of stdin, kept in memory; *path (owned by the caller) names it for tri_store_import until *fd is closed. */
triage_status tri_cli_keep_stdin(char **path, int *fd);

#endif
