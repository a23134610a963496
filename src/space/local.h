/* A space whose functions run in this process, in a sandbox. */
#ifndef TRIAGE_SPACE_LOCAL_H
#define TRIAGE_SPACE_LOCAL_H

#include "space/files.h"
#include "space/model.h"

/* The texts of a space, read; borrowed. */
typedef struct tri_space_text {
    const char *vocabulary, *text;
    size_t vocabulary_size, text_size;
    int64_t instruction_limit, memory_limit; /* 0: the sandbox's own */
} tri_space_text;

/* Runs the text and fills the space, whose file is named. On failure the caller frees the space. Kernels that the file names
 * for later are made when they are first asked for; files must live as long. */
triage_status tri_local_open(tri_space *space, const tri_space_text *text, const tri_files *files);
/* Makes all of those kernels now. For a stranger's file, whose functions must find no file left to read. */
triage_status tri_local_load_all(tri_space *space);

/* tri_space_open in this process, whoever's the file is: for tests of the sandbox itself. */
triage_status tri_space_open_here(tri_space **out, const tri_operation *op, const tri_space_options *options);

#endif
