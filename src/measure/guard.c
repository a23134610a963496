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

/* /home/user/gcc/bin/gcc has its parts below /home/user/gcc. */
static void allow_prefix_of(const char *path) {
    char prefix[4096];
    const size_t size = strlen(path);
    if (size >= sizeof prefix)
        return;
    memcpy(prefix, path, size + 1);
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(prefix, '/');
        if (!slash || slash == prefix)
            return;
        *slash = '\0';
    }
    tri_confine_allow_read(prefix);
}

int tri_guard_run(char *const *argv) {
    if (!argv[0] || !argv[1])
        return EXIT_CANNOT_RUN;
    const char *const writable[] = {argv[0], NULL};
    allow_prefix_of(argv[1]);
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
