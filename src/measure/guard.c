#include "measure/guard.h"

#include "base/confine.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MEMORY ((rlim_t)4 << 30)
#define CPU_SECONDS 300
#define FILE_BYTES ((rlim_t)512 << 20)
#define FILES 256
#define EXIT_CANNOT_RUN 127

static void limit(int what, rlim_t most) {
    setrlimit(what, &(struct rlimit){most, most});
}

/* The program's folder; of /home/user/gcc/bin/gcc all below /home/user/gcc, where its parts are. */
static void allow_around(const char *path) {
    char folder[4096];
    const size_t size = strlen(path);
    if (size >= sizeof folder)
        return;
    memcpy(folder, path, size + 1);
    char *slash = strrchr(folder, '/');
    *(slash ? slash : folder) = '\0';
    const size_t left = strlen(folder);
    if (left > 4 && strcmp(folder + left - 4, "/bin") == 0)
        folder[left - 4] = '\0';
    if (folder[0])
        tri_confine_allow_read(folder);
}

int tri_guard_run(char *const *argv) {
    if (!argv[0] || !argv[1])
        return EXIT_CANNOT_RUN;
    const char *const writable[] = {argv[0], NULL};
    allow_around(argv[1]);
    tri_confine_files(NULL, writable);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, CPU_SECONDS);
    limit(RLIMIT_FSIZE, FILE_BYTES);
    limit(RLIMIT_NOFILE, FILES);
    limit(RLIMIT_AS, MEMORY);
    tri_confine_calls(TRI_CONFINE_COMPILING);
    execv(argv[1], argv + 1);
    return EXIT_CANNOT_RUN;
}
