/* Where the libraries of a pip installation are, as the environment tells. */
#ifndef TRIAGE_CLI_LIBRARIES_H
#define TRIAGE_CLI_LIBRARIES_H

/* For programs that use CUDA's libraries: has them looked for in pip's nvidia folders too (device/library.h): those of
 * $VIRTUAL_ENV, then those of each Python whose folder is in $PATH, in its order. Once, at the program's start. */
void tri_cli_look_below_pythons(void);

#endif
