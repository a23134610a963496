/* Where libraries of others are looked for, and in what order. Two small libraries stand in for them, told apart by
 * what they have: "fake" has openblas_get_config, "hollow" has openblas_is_hollow. The CLI's file is in no library,
 * so it is included here. */
#include "support/check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cli/common/libraries.c"
#include "support/scratch_group.h"

#define LIBRARIES TRI_BINARY_DIR "/tests/"

static int tear_down(void **state) {
    tri_library_set_prefixes(NULL);
    return remove_scratch(state);
}

/* Puts a stand-in ("fake" or "hollow") at a place below the folder. */
static void place(const char *which, const char *where, const char *name) {
    char command[1024];
    snprintf(command, sizeof command, "mkdir -p %s/%s && cp -L %s%s_openblas/libopenblas.so.0 %s/%s/%s",
             folder, where, LIBRARIES, which, folder, where, name);
    assert_int_equal(system(command), 0);
}

#define PIP "lib/python3.11/site-packages/nvidia/"
#define OPEN(out, ...) tri_library_open(out, (const char *const[]){__VA_ARGS__, NULL}, NULL)

/* "fake", "hollow", or "" when none of two names is found. */
static const char *found(const char *name, const char *second) {
    void *library = NULL;
    if (OPEN(&library, name, second) != TRIAGE_OK) {
        assert_null(library);
        return "";
    }
    return dlsym(library, "openblas_is_hollow") ? "hollow" : "fake";
}

static void look_below(const char *first, const char *second) {
    static char prefixes[256]; /* borrowed by the library */
    snprintf(prefixes, sizeof prefixes, "%s/%s:%s/%s", folder, first, folder, second);
    tri_library_set_prefixes(prefixes);
}

/* What the process has loaded already answers to its name, before any folder is looked into. The first test: every
 * stand-in has this name in it. */
static void the_loader_comes_first(void **state) {
    (void)state;
    place("fake", "venv/" PIP "cublas/lib", "libopenblas.so.0");
    look_below("venv", "venv");
    assert_non_null(dlopen(LIBRARIES "hollow_openblas/libopenblas.so.0", RTLD_NOW | RTLD_LOCAL));
    assert_string_equal(found("libopenblas.so.0", "libopenblas.so"), "hollow");
}

static void nowhere_is_said(void **state) {
    (void)state;
    void *library = &library;
    const char *const names[] = {"libtriage_absent.so.2", "libtriage_absent.so", NULL};
    assert_int_equal(tri_library_open(&library, names, "package absent"), TRIAGE_E_NOT_FOUND);
    assert_null(library);
    assert_string_equal(
        triage_last_error(),
        "libtriage_absent.so.2 is neither in the loader's path nor in /usr/local/cuda/lib64 nor in "
        "pip's nvidia folders (package absent)");
}

/* The first prefix that has any of the names; in a folder, the first name. */
static void prefixes_come_before_names(void **state) {
    (void)state;
    place("fake", "one/" PIP "cublas/lib", "liborder.so.1");
    place("hollow", "two/" PIP "cu13/lib", "liborder.so.2");
    assert_string_equal(found("liborder.so.2", "liborder.so.1"), ""); /* no prefix yet */
    look_below("one", "two");
    assert_string_equal(found("liborder.so.2", "liborder.so.1"), "fake");
    look_below("two", "one");
    assert_string_equal(found("liborder.so.2", "liborder.so.1"), "hollow");
    place("fake", "two/" PIP "cu13/lib", "liborder.so.3");
    assert_string_equal(found("liborder.so.3", "liborder.so.2"), "fake");
    assert_string_equal(found("liborder.so.2", "liborder.so.3"), "hollow");
}

/* A file that does not load is passed over; Debian's Python has another folder. */
static void broken_files_are_passed_over(void **state) {
    (void)state;
    place("fake", "broken/" PIP "cublas/lib", "libwhole.so.1");
    scratch_write(folder, "broken/" PIP "cublas/lib/libwhole.so.2", "no library", 0644);
    place("hollow", "debian/lib/python3/dist-packages/nvidia/cu13/lib", "libwhole.so.2");
    look_below("broken", "debian");
    assert_string_equal(found("libwhole.so.2", "libwhole.so.0"), "hollow");
    assert_string_equal(found("libwhole.so.2", "libwhole.so.1"), "fake");
}

static void set_environment(const char *venv, const char *path) {
    if (venv)
        setenv("VIRTUAL_ENV", venv, 1);
    else
        unsetenv("VIRTUAL_ENV");
    setenv("PATH", path, 1);
    tri_cli_look_below_pythons();
}

static void the_environment_names_pythons(void **state) {
    (void)state;
    char venv[128], other[128], relative[256], path[512], *kept = strdup(getenv("PATH"));
    place("fake", "active/" PIP "cublas/lib", "libpip.so.1");
    place("hollow", "other/" PIP "cublas/lib", "libpip.so.1");
    snprintf(venv, sizeof venv, "%s/active", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    snprintf(path, sizeof path, "/nowhere::%s/bin:%s/bin", other, venv);
    set_environment(NULL, path);
    assert_string_equal(found("libpip.so.1", "libpip.so"), "hollow");
    set_environment(venv, path);
    assert_string_equal(found("libpip.so.1", "libpip.so"), "fake");
    set_environment(NULL, "/nowhere:/bin:bin:/*/bin");
    assert_string_equal(found("libpip.so.1", "libpip.so"), "");
    snprintf(relative, sizeof relative, "../../../../../../../../..%s", venv);
    set_environment(relative, "/nowhere");
    assert_string_equal(found("libpip.so.1", "libpip.so"), "");
    set_environment(NULL, "");
    assert_string_equal(found("libpip.so.1", "libpip.so"), "");
    setenv("PATH", kept, 1);
    free(kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loader_comes_first),        cmocka_unit_test(nowhere_is_said),
        cmocka_unit_test(prefixes_come_before_names),    cmocka_unit_test(broken_files_are_passed_over),
        cmocka_unit_test(the_environment_names_pythons),
    };
    return cmocka_run_group_tests_name("libraries of others", tests, make_scratch, tear_down);
}
