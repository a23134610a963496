/* In place of libFuzzer, with any compiler: gives a target every file of the folders or files named. Each input has a buffer
 * of its own size, so that a sanitizer watches its end.
 *
 *     fuzz_NAME PATH...        exit code 0: all went well; 1: there was nothing to replay */
#include <dirent.h>

#include "fuzz/fuzz.h"

static size_t inputs;

static void replay_file(const char *path) {
    char *text = NULL;
    size_t size = 0;
    fprintf(stderr, "%s\n", path); /* the last line before a crash names its input */
    if (tri_file_read(&text, &size, path, 0) != TRIAGE_OK) {
        fprintf(stderr, "%s\n", triage_last_error());
        exit(1);
    }
    uint8_t *data = malloc(size ? size : 1);
    MUST(data);
    memcpy(data, text, size);
    free(text);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    inputs++;
}

/* A file, or all below a folder. */
static void replay(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        replay_file(path);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char *inner = NULL;
        if (entry->d_name[0] == '.')
            continue;
        MUST(tri_path_join(&inner, path, entry->d_name) == TRIAGE_OK);
        replay(inner);
        free(inner);
    }
    closedir(folder);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%zu inputs\n", inputs);
    return inputs == 0;
}
