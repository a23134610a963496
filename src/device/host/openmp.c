/* OpenMP's library, started before a process is confined. That of clang (LLVM 12 and later) makes a file in /dev/shm when it
 * is first used, to find a twin of itself, and ends the process where it may not ("Can't open SHM1"); and it removes the
 * file at the end, which it may not then either. */
#include "device/host/host.h"

#include <dlfcn.h>
#include <omp.h>
#include <string.h>
#include <unistd.h>

/* Kernels that clang compiles want this one, whatever we were built by. */
static void start_libomp(void) {
    static const char *const names[] = {"libomp.so.5", "libomp.so"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL); /* stays: a kernel's is the same */
        int (*ask)(void) = NULL;
        if (!library)
            continue;
        *(void **)&ask = dlsym(library, "omp_get_max_threads");
        if (ask)
            (void)ask();
        return;
    }
}

void tri_host_settle(tri_device *device) {
    char version[TRI_COMPILER_SIZE], path[96];
    (void)device;
    (void)omp_get_max_threads();
    if (tri_host_compiler_version(version, sizeof version) == TRIAGE_OK && strncmp(version, "clang ", 6) == 0)
        start_libomp();
    snprintf(path, sizeof path, "/dev/shm/__KMP_REGISTERED_LIB_%d_%d", (int)getpid(), (int)getuid());
    (void)unlink(path);
}
