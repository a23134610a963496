/* Files that a program is asked to write. */
#ifndef TRIAGE_CLI_OUTPUT_H
#define TRIAGE_CLI_OUTPUT_H

#include "base/base.h"

/* "-": the standard output. */
bool tri_cli_is_stdout(const char *path);

/* Can the file be written, and is it none of those that are read (NULLs among them are none)? Looks only, so that nothing is
 * made before there is something to write. TRIAGE_E_INVALID, TRIAGE_E_IO. */
triage_status tri_cli_check_output(const char *path, const char *const *inputs, size_t count);

#endif
