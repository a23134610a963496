/* A host compiler that fails: what it says of the text is the candidate's fault, all else the machine's, whether the disk
 * is full, memory is short or a part of the compiler was killed. */
#include "support/check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "device/device.h"
#include "support/scratch_group.h"

static int back_to_the_real_one(void **state) {
    (void)tri_device_set_tools("host", NULL);
    return remove_scratch(state);
}

/* A compiler that says so and does that. */
static triage_status compile_with(const char *log, const char *end) {
    const tri_source source = {.name = "toy.c", .text = "int x;\n"};
    char *script = NULL;
    tri_device_info info;
    tri_image image;
    must(tri_format(&script,
                    "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'gcc (fake) 1.2.3'; exit 0; fi\n"
                    "cat <<'END'\n%s\nEND\n%s\n",
                    log, end));
    scratch_write(folder, "cc", script, 0700);
    must(tri_device_set_tools("host", scratch_path(folder, "cc")));
    must(tri_device_info_of_target(&info, "host"));
    const triage_status status = tri_compile(&image, info.target, &source, NULL);
    tri_image_free(&image);
    free(script);
    return status;
}

static const char *const of_the_text[] = {
    "kernel.c:3:10: error: 'TWO' undeclared (first use in this function)",
    "In file included from kernel.c:1:\nlib/one.h:3:1: error: unknown type name 'in'",
    "/usr/bin/ld: /tmp/x.o: in function `f':\nkernel.c:(.text+0x5): undefined reference to `g'\n"
    "collect2: error: ld returned 1 exit status",
    "kernel.c: Assembler messages:\nkernel.c:5: Error: no such instruction: `vfoo'",
    "kernel.c:2:2: fatal error: too many errors emitted, stopping now [-ferror-limit=]",
    "/usr/lib/gcc/x86_64-linux-gnu/12/include/avxintrin.h:43:1: error: inlining failed",
};

static const char *const of_the_machine[] = {
    "kernel.c:9:1: fatal error: error writing to /tmp/ccq.s: No space left on device",
    "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.",
    "gcc: fatal error: cannot execute 'cc1': vfork: Resource temporarily unavailable",
    "cc1: out of memory allocating 65536 bytes after a total of 4194304 bytes",
    "virtual memory exhausted: Cannot allocate memory",
    "kernel.c:4:2: internal compiler error: Segmentation fault",
    "/usr/bin/ld: final link failed: No space left on device\ncollect2: error: ld returned 1 exit status",
    "collect2: fatal error: ld terminated with signal 9 [Killed]",
    "cc1: error: bad value 'x86-64-v4' for '-march=' switch",
    "kernel.c:1:10: fatal error: math.h: No such file or directory",
    "/tmp/ccq.s: Fatal error: can't write 12 bytes to section .text of kernel.o: 'No space left on device'",
    "",
};

static void what_it_says_of_the_text(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof of_the_text / sizeof *of_the_text; i++) {
        if (compile_with(of_the_text[i], "exit 1") != TRIAGE_E_COMPILE)
            fail_msg("'%s' is the candidate's fault: %s", of_the_text[i], triage_last_error());
        assert_true(tri_compile_reason_blames_source(triage_last_error()));
    }
}

static void all_else_is_the_machines(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof of_the_machine / sizeof *of_the_machine; i++) {
        if (compile_with(of_the_machine[i], "exit 1") != TRIAGE_E_IO)
            fail_msg("'%s' is the machine's trouble: %s", of_the_machine[i], triage_last_error());
        assert_false(tri_compile_reason_blames_source(triage_last_error()));
    }
    assert_int_equal(compile_with("kernel.c:1:1: error: no", "kill -KILL $$"), TRIAGE_E_IO);
    assert_int_equal(compile_with("kernel.c:1:1: error: no", "kill -TERM $$"), TRIAGE_E_INTERRUPTED);
    assert_int_equal(compile_with("", "exit 0"),
                     TRIAGE_E_IO); /* it says that all went well, and left nothing */
}

/* What older versions have stored as not_compiled. */
static void old_reasons_are_told_apart(void **state) {
    (void)state;
    assert_true(
        tri_compile_reason_blames_source("panel.cu: panel.cu(12): error: identifier \"x\" is undefined"));
    assert_true(
        tri_compile_reason_blames_source("wgmma.cu: ptxas info    : (C7510) Potential Performance Loss"));
    assert_true(tri_compile_reason_blames_source("a.cu: ptxas error   : uses too much shared data"));
    assert_false(
        tri_compile_reason_blames_source("the compiler's process was lost: killed by SIGKILL (Killed)"));
    assert_false(tri_compile_reason_blames_source("panel.c: the compiler failed without a word"));
    assert_false(tri_compile_reason_blames_source("making a folder in /tmp: No space left on device"));
}

/* The real compiler with too little memory. */
static void memory_is_the_machines(void **state) {
    struct rlimit before;
    const tri_source source = {.name = "toy.c", .text = "int x;\n"};
    tri_device_info info;
    tri_image image;
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* nothing of ours starts under such a limit */
#endif
    must(tri_device_set_tools("host", NULL));
    must(tri_device_info_of_target(&info, "host"));
    must(tri_compile(&image, info.target, &source, NULL));
    tri_image_free(&image);
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_DATA, &(struct rlimit){1 << 20, before.rlim_max}), 0);
    const triage_status status = tri_compile(&image, info.target, &source, NULL);
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_true(status == TRIAGE_E_IO || status == TRIAGE_E_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says_of_the_text),
        cmocka_unit_test(all_else_is_the_machines),
        cmocka_unit_test(old_reasons_are_told_apart),
        cmocka_unit_test(memory_is_the_machines),
    };
    return cmocka_run_group_tests_name("a compiler in trouble", tests, make_scratch, back_to_the_real_one);
}
