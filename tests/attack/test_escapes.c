/* Candidates that want out of their process, compiled and run by triage_tune: none writes a file, runs a program, reads a
 * secret, reaches another process or the network, leaves a process behind or takes all memory. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/scratch_group.h"

#define KINDS 12

static void run(const char *format, ...) {
    char command[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static int set_up(void **state) {
    (void)state;
    scratch_make(folder);
    scratch_fault_tree(folder, TRI_SOURCE_DIR);
    scratch_write(folder, "secret.h", "#define SECRET 1\n", 0600);
    run("sed 's|FOLDER|%s|g' " TRI_SOURCE_DIR "/tests/data/faults/escapes.c >'%s'", folder,
        scratch_path(folder, "data/templates/bsr_gemm/escapes.c"));
    setenv("HOME", folder, 1);
    setenv("XDG_CACHE_HOME", scratch_path(folder, "cache"), 1);
    setenv("TRIAGE_LOCK_DIR", folder, 1);
    setenv("TRIAGE_TEST_SECRET", "1", 1);
    return 0;
}

static bool has_escaped(void) {
    return access(scratch_path(folder, "escaped"), F_OK) == 0;
}

/* ---- the candidates, run by triage_tune ---- */

static json_t *tune(void) {
    json_error_t error;
    run("cd '%s' && " TRI_BINARY_DIR
        "/bin/triage_tune --shape 64,40,64 --sparsity 0.5 --block 16 --device host "
        "--strategy exhaustive --space " TRI_SOURCE_DIR
        "/tests/data/faults/escapes.lua --data-dir data --db e.db "
        "--json >out 2>err; test $? -eq 70 || { cat err; exit 1; }",
        folder);
    json_t *json = json_load_file(scratch_path(folder, "out"), 0, &error);
    if (!json)
        fail_msg("%s", error.text);
    return json;
}

static void none_gets_out(void **state) {
    (void)state;
    json_t *json = tune();
    const json_t *rows = json_object_get(json, "rows");
    assert_int_equal(json_array_size(rows), KINDS);
    for (size_t i = 0; i < KINDS; i++) {
        const json_t *row = json_array_get(rows, i);
        const char *config = json_string_value(json_object_get(row, "config"));
        const char *outcome = json_string_value(json_object_get(row, "outcome"));
        const char *reason = json_string_value(json_object_get(row, "reason"));
        const char *wanted = strstr(config, "kind=includes") ? "not_compiled" : "wrong";
#if defined(__SANITIZE_ADDRESS__)
        if (strstr(config, "kind=swells")) /* a sanitizer's shadow is larger than any limit: none is set */
            continue;
#endif
        if (strcmp(outcome, wanted) != 0)
            fail_msg("%s: %s: %s", config, outcome, reason);
    }
    json_decref(json);
    assert_false(has_escaped());
}

/* ---- the same ways with nothing in between: they are ways ---- */

static void try_way(const char *kind) {
    int status = 0;
    run("cd '%s' && sed -e 's|{{kind}}|%s|; s|{{with_secret}}|1|' data/templates/bsr_gemm/escapes.c >free.c "
        "&& "
        "gcc -shared -fPIC -I data/templates -o free.so free.c",
        folder, kind);
    const pid_t child = fork();
    if (child == 0) {
        void *object = dlopen(scratch_path(folder, "free.so"), RTLD_NOW);
        void (*entry)(const void *) = NULL;
        if (object)
            *(void **)&entry = dlsym(object, "triage_kernel");
        if (entry)
            entry(NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 99)
        fail_msg("%s is no way out even when it is free", kind);
}

static void they_are_ways_out(void **state) {
    (void)state;
    static const char *const kinds[] = {"writes", "runs", "reads", "includes", "talks", "asks", "spies"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        try_way(kinds[i]);
    assert_true(has_escaped());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(none_gets_out), cmocka_unit_test(they_are_ways_out)};
    return cmocka_run_group_tests(tests, set_up, remove_scratch);
}
