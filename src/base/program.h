/* Where this build's other programs are. */
#ifndef TRIAGE_BASE_PROGRAM_H
#define TRIAGE_BASE_PROGRAM_H

#include "base/base.h"

/* The path of a program of ours: beside the program or shared library that holds this code, in the bin folder of the prefix
 * that the library is in, or where triage is installed to. Never by PATH or from the working folder. *out is owned by the
 * caller; *looked, too: the places, for a message. TRIAGE_E_NOT_FOUND. */
triage_status tri_program_find(char **out, char **looked, const char *name);

#endif
