/* NVRTC over a stand-in: is it found with what belongs to it, and is a failure of the machine told from one of the
 * candidate's text? Runs without CUDA. */
#include "support/check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

static int take_the_fake(void **state) {
    (void)state;
    return tri_device_set_tools("cuda", TRI_BINARY_DIR "/fake_cuda/toolkit") == TRIAGE_OK ? 0 : -1;
}

static int back_to_the_real_one(void **state) {
    (void)state;
    return tri_device_set_tools("cuda", NULL) == TRIAGE_OK ? 0 : -1;
}

static void its_second_library_is_loaded_too(void **state) {
    (void)state;
    char version[TRI_COMPILER_SIZE];
    assert_null(dlopen("libnvrtc-builtins.so.13.7", RTLD_NOW | RTLD_NOLOAD));
    must(tri_compiler_version(version, sizeof version, "sm_90a"));
    int hash = 0;
    assert_int_equal(sscanf(version, "nvrtc 13.7 (libnvrtc.so.13) #%*16[0-9a-f]%n", &hash), 0);
    assert_int_equal(hash, strlen(version));
    void *builtins = dlopen("libnvrtc-builtins.so.13.7", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(builtins);
    dlclose(builtins);
}

static void expect(const char *result, const char *log, triage_status want, const char *message) {
    const tri_source source = {.name = "k.cu", .text = "some text"};
    tri_image image;
    setenv("FAKE_NVRTC_RESULT", result, 1);
    setenv("FAKE_NVRTC_LOG", log, 1);
    assert_int_equal(tri_compile(&image, "sm_90a", &source, NULL), want);
    if (want != TRIAGE_OK)
        assert_string_equal(triage_last_error(), message);
    tri_image_free(&image);
}

static void only_the_text_is_the_candidates_fault(void **state) {
    (void)state;
    expect("0", "", TRIAGE_OK, "");
    expect("6", "k.cu(1): error: no such thing\n", TRIAGE_E_COMPILE, "k.cu: k.cu(1): error: no such thing");
    expect("1", "", TRIAGE_E_MEMORY, "nvrtcCompileProgram: out of memory");
    expect("7", "nvrtc: error: failed to open libnvrtc-builtins.so.13.7\n", TRIAGE_E_DEVICE,
           "nvrtcCompileProgram: another failure: nvrtc: error: failed to open libnvrtc-builtins.so.13.7");
    expect("6", "k.cu(9): catastrophic error: out of memory\n", TRIAGE_E_DEVICE,
           "nvrtcCompileProgram: another failure: k.cu(9): catastrophic error: out of memory");
    expect("6", "ptxas fatal   : Memory allocation failure\n", TRIAGE_E_DEVICE,
           "nvrtcCompileProgram: another failure: ptxas fatal   : Memory allocation failure");
    expect(
        "5", "nvrtc: error: invalid value for --gpu-architecture (-arch)\n", TRIAGE_E_DEVICE,
        "nvrtcCompileProgram: another failure: nvrtc: error: invalid value for --gpu-architecture (-arch)");
    expect("6", "ptxas error   : Entry function 'triage_kernel' uses too much shared data\n",
           TRIAGE_E_COMPILE,
           "k.cu: ptxas error   : Entry function 'triage_kernel' uses too much shared data");
    expect("6", "", TRIAGE_E_DEVICE, "nvrtcCompileProgram: another failure");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_second_library_is_loaded_too),
        cmocka_unit_test(only_the_text_is_the_candidates_fault),
    };
    return cmocka_run_group_tests_name("NVRTC", tests, take_the_fake, back_to_the_real_one);
}
