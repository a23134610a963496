/* Libraries of others (cuBLAS, cuSPARSE, OpenBLAS), found at run time: one search for all of them. */
#ifndef TRIAGE_DEVICE_LIBRARY_H
#define TRIAGE_DEVICE_LIBRARY_H

#include "base/base.h"

/* Opens the first of names (file names, the preferred one first, NULL-terminated) that loads. One place after the
 * other, in each all names:
 *   1. the loader's own search: what this process has loaded already, LD_LIBRARY_PATH, the system's folders
 *   2. /usr/local/cuda/lib64
 *   3. the nvidia/.../lib folders of pip below the prefixes of tri_library_set_prefixes, in their order
 * TRIAGE_E_NOT_FOUND names the places; hint: what would bring it, for that message; NULL: nothing. The library is
 * never closed: those meant here keep threads and memory of their own. */
triage_status tri_library_open(void **out, const char *const *names, const char *hint);

/* Prefixes of Python installations, e.g. "/opt/venv:/usr" (their packages are in /opt/venv/lib/python3.11/...):
 * absolute folders, separated by colons, borrowed from here on; NULL: none. Before the first search. The programs
 * know them from their environment (cli/common/libraries.c), which the library does not read. */
void tri_library_set_prefixes(const char *prefixes);

#endif
