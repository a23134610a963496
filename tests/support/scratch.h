/* A temporary folder of a test, with what the tuner's tests need in it. Plain libc. */
#ifndef TRIAGE_TESTS_SUPPORT_SCRATCH_H
#define TRIAGE_TESTS_SUPPORT_SCRATCH_H

#include <stddef.h>

/* Compiled kernels, of all tests in all builds: what one test or the build without sanitizers has compiled, the others need not.
 * An entry's name is the hash of all that went into it. */
#define TEST_KERNELS TRI_SOURCE_DIR "/build/kernels"

/* Makes a folder; path: 64 bytes. Aborts the test program when it cannot. */
void scratch_make(char path[64]);
/* Removes it with everything in it. */
void scratch_remove(const char *path);
/* path/name in a static buffer, one of eight in turn. */
const char *scratch_path(const char *path, const char *name);
void scratch_write(const char *path, const char *name, const char *text, unsigned mode);
/* Makes a data folder, the project's templates/ and tuner/. */
void scratch_copy_data(const char *path, const char *source_dir);
/* A data folder: the project's templates/ and tuner/, and the faulty kernel of tests/data/faults. */
void scratch_fault_tree(const char *path, const char *source_dir);
/* How many entries a folder has; -1: it is not there. */
int scratch_count(const char *path);

#endif
