/* libcuda.so.1 without a GPU, for whole programs: the fake driver of fake_driver.h under the driver's names.
 *
 *   FAKE_CUDA_DEVICES    how many (default 1)
 *   FAKE_CUDA_FIRST      the first of them, as CUDA_VISIBLE_DEVICES would have it (default 0)
 *   FAKE_CUDA_LAUNCH_MS  how long a launch takes (default 0)
 *   FAKE_CUDA_HOLD       a file: a launch goes on while it exists
 *   FAKE_CUDA_LOG        a file; each launch adds a line "CARD PID START_NS END_NS"
 *
 * A launch computes nothing: a run gets as far as its first verification. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define f_launch launch_unseen
#include "fault/fake_driver.h"
#undef f_launch

static int number_of(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

__attribute__((constructor)) static void start(void) {
    fake.devices = number_of("FAKE_CUDA_DEVICES", 1);
    fake.first_device = number_of("FAKE_CUDA_FIRST", 0);
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* -1: none. The file is there from the start of a launch on. */
static int open_log(void) {
    const char *path = getenv("FAKE_CUDA_LOG");
    return path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
}

/* One write, so that lines of several processes stay whole. */
static void log_launch(int fd, long long from) {
    char line[128];
    if (fd < 0)
        return;
    const int size = snprintf(line, sizeof line, "%d %d %lld %lld\n",
                              fake.first_device + fake.ordinal_of_context, (int)getpid(), from, now_ns());
    if (write(fd, line, (size_t)size) != size)
        fake.mistakes++;
    close(fd);
}

static CUresult f_launch(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    const long long from = now_ns();
    const int fd = open_log();
    const char *hold = getenv("FAKE_CUDA_HOLD");
    usleep((useconds_t)number_of("FAKE_CUDA_LAUNCH_MS", 0) * 1000);
    while (hold && access(hold, F_OK) == 0)
        usleep(10000);
    log_launch(fd, from);
    return launch_unseen(config, function, params, extra);
}

const tri_cuda_driver *fake_libcuda_table(void);
const tri_cuda_driver *fake_libcuda_table(void) {
    return &table; /* or it would be unused */
}

#define TRI_SYMBOL(field, prototype, symbol)                                                                 \
    extern __typeof__(f_##field) exported_##field __asm__(#symbol)                                           \
        __attribute__((alias("f_" #field), visibility("default")));
#include "device/cuda/driver.def"
#undef TRI_SYMBOL

/* NVRTC, which shares the process, asks for it and does not expect a driver without. */
__attribute__((visibility("default"))) CUresult cuGetExportTable(const void **out, const CUuuid *id);
CUresult cuGetExportTable(const void **out, const CUuuid *id) {
    (void)id;
    *out = NULL;
    return CUDA_ERROR_NOT_SUPPORTED;
}
