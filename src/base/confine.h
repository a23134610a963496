/* What this process, and all that it starts, may do from here on: less. For programs whose text is a stranger's. Where
 * the kernel has no Landlock or no seccomp that part is not there, and docs/sandbox.md says what is left. */
#ifndef TRIAGE_BASE_CONFINE_H
#define TRIAGE_BASE_CONFINE_H

#include "base/base.h"

/* One more place for tri_confine_files to leave readable; before there are threads. */
void tri_confine_allow_read(const char *path);

/* Files are read (and run) only below the system's own folders (/usr, /lib, ...), those allowed above and `also`;
 * written only below `writable`. Either NULL or ended by NULL; what is not there is skipped. Open files stay open. */
void tri_confine_files(const char *const *also, const char *const *writable);

typedef enum tri_confine_kind {
    TRI_CONFINE_COMPUTING, /* threads, but no process and no program; signals to itself only */
    TRI_CONFINE_COMPILING  /* programs, which stay in this process group, so that they can be ended with it */
} tri_confine_kind;
/* No network and no other process's memory, either way. */
void tri_confine_calls(tri_confine_kind kind);

/* Forgets the environment, where secrets are passed, but for what runtimes of threads and libraries read later. */
void tri_confine_environment(void);

/* At most so many bytes more than there are now. Nothing under AddressSanitizer, whose shadow is larger. */
void tri_confine_memory(int64_t more_bytes);

#endif
