/* What we start with: tools and folders that the environment names, files and signals of our parent's. */
#include "cli/common/common.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"

bool tri_cli_find_program(char *out, size_t limit, const char *name) {
    for (const char *at = getenv("PATH"); at && *at;) {
        const size_t size = strcspn(at, ":");
        const int length = snprintf(out, limit, "%.*s/%s", (int)size, at, name);
        if (at[0] == '/' && length < (int)limit && access(out, X_OK) == 0)
            return true;
        at += size + (at[size] == ':');
    }
    return false;
}

/* The compiler that is taken anyway need not be chosen: a choice is looked at anew in each process. */
static bool is_usual(const char *path) {
    char one[PATH_MAX], other[PATH_MAX];
    return realpath(path, one) && realpath("/usr/bin/cc", other) && !strcmp(one, other);
}

static void choose(const char *path) {
    if (!is_usual(path))
        (void)tri_device_set_tools("host", path);
}

static void choose_compiler(void) {
    static const char *const names[] = {"cc", "gcc", "clang"};
    const char *asked = getenv("CC");
    char path[PATH_MAX];
    if (asked && *asked && strcspn(asked, " \t") == strlen(asked)) {
        if (asked[0] == '/' ? access(asked, X_OK) == 0 : tri_cli_find_program(path, sizeof path, asked)) {
            choose(asked[0] == '/' ? asked : path);
            return;
        }
        tri_cli_error("CC=%s is no program: looking for another compiler", asked);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (tri_cli_find_program(path, sizeof path, names[i])) {
            choose(path);
            return;
        }
}

/* Files that we open are not to be taken for one of these three. */
static void fill_standard_files(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* Children are waited for, a limit of the size of files is an error of the write, whatever our parent ignores. */
static void settle_signals(void) {
    signal(SIGCHLD, SIG_DFL);
    signal(SIGXFSZ, SIG_IGN);
}

void tri_cli_honour_environment(void) {
    fill_standard_files();
    settle_signals();
    tri_set_temporary_folder(getenv("TMPDIR"));
    choose_compiler();
}
