/* Gives up, for the rest of this process's life, whatever a stranger's Lua has no use of. */
#ifndef TRIAGE_SPACE_JAIL_H
#define TRIAGE_SPACE_JAIL_H

#include "base/base.h"

/* After it: no file is opened or made, no program run, no process or thread started, no network, no memory executed
 * that was not before; what is left is to compute, to take memory, and to read and write what is open. By seccomp where
 * the kernel has it; where not, by limits alone (no file descriptor, no byte in a file). */
void tri_jail_enter(void);

#endif
