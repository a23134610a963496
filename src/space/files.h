/* The files that a space is made of: its own text, the vocabulary, parts and templates. */
#ifndef TRIAGE_SPACE_FILES_H
#define TRIAGE_SPACE_FILES_H

#include "space/space.h"

#define TRI_LUA_FILE_MAX (1u << 20) /* bytes of one */
#define TRI_VOCABULARY "tuner/triage.lua"

/* What a file asks for while it runs: from the disk, or from the process that started this one. */
typedef struct tri_files {
    /* The part "folder/name.lua" and its name for messages; both owned by the caller. TRIAGE_E_NOT_FOUND. */
    triage_status (*part)(void *user, char **text, size_t *size, char **name, const char *part);
    triage_status (*has_template)(void *user, bool *out, const char *name);
    void *user;
    bool is_path; /* of a space of one's own */
} tri_files;

/* On the disk, as the space names its own and its data folder. */
tri_files tri_files_of(tri_space *space);

/* A module read from the resources or, if path is not NULL, from that file; owned by the caller. */
triage_status tri_lua_file_read(char **text, size_t *size, const char *data_dir, const char *resource,
                                const char *path);

#endif
