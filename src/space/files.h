/* The files that a space is made of: its own text, the vocabulary, parts and templates. */
#ifndef TRIAGE_SPACE_FILES_H
#define TRIAGE_SPACE_FILES_H

#include "base/base.h"

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

/* On the disk. */
typedef struct tri_space_place {
    const char *file; /* the space's: the path of one's own, or a resource */
    bool is_path;
    const char *data_dir;
} tri_space_place;
tri_files tri_files_of(tri_space_place *place);

/* A module read from the resources or, if path is not NULL, from that file; owned by the caller. */
triage_status tri_lua_file_read(char **text, size_t *size, const char *data_dir, const char *resource,
                                const char *path);

#endif
