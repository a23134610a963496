/* Evidence from elsewhere, JSON Lines: tri_store_import behind the gate of admission. A row needs the id of its content, which
 * nobody guesses: the target puts it where a row has another one. */
#include "fuzz/fuzz.h"
#include "evidence/admission.h"
#include "store/measurement.h"

enum { STORE_LIFE = 200 }; /* inputs that one store takes */

static tri_admission *admission;
static tri_store *store;

static void make_world(void) {
    static int inputs;
    if (!admission)
        MUST(tri_admission_open(&admission, NULL, NULL) == TRIAGE_OK);
    if (inputs++ % STORE_LIFE != 0)
        return;
    tri_store_close(store);
    MUST(tri_store_open_memory(&store) == TRIAGE_OK);
}

/* "id: <old> was changed, its content has the id <new>" */
static void give_right_id(char *line) {
    tri_measurement row;
    const triage_status status = tri_measurement_from_json(&row, line);
    const char *told = strstr(triage_last_error(), "its content has the id ");
    char *old = status != TRIAGE_OK && told && row.id[0] ? strstr(line, row.id) : NULL;
    if (old)
        memcpy(old, told + strlen("its content has the id "), TRI_HASH_SIZE - 1);
    tri_measurement_clear(&row);
}

static void give_right_ids(char *text) {
    for (char *line = text, *end; line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        if (end)
            *end = '\0';
        give_right_id(line);
        if (end)
            *end = '\n';
    }
}

static void import(const char *text, size_t size) {
    tri_merge_result result;
    int64_t rows = 0;
    const char *path = file_of(NULL, (const uint8_t *)text, size);
    const triage_status status = tri_store_import(&result, store, path, tri_admission_check, admission, NULL);
    MUST(status == TRIAGE_OK); /* a bad row is refused, a bad file of rows is not a failure */
    MUST(result.read == result.added + result.present + result.refused);
    if (result.added > 0)
        MUST(tri_store_verify(&rows, store) == TRIAGE_OK && rows >= result.added);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    make_world();
    import((const char *)data, size);
    char *text = text_of(data, size);
    give_right_ids(text);
    import(text, strlen(text));
    free(text);
    return 0;
}
