/* Patterns from files: .mtx, .smtx, .npz, and each of them in gzip. */
#include "fuzz/fuzz.h"
#include "pattern/pattern.h"

/* What was read is what every user of a pattern counts on: tri_pattern_copy refuses all else. */
static void check(const tri_pattern *pattern) {
    tri_pattern copy = {0};
    tri_fingerprint fingerprint;
    MUST(tri_pattern_copy(&copy, pattern->block_rows, pattern->block_cols, pattern->nnzb, pattern->row_ptr,
                          pattern->col_idx) == TRIAGE_OK);
    tri_fingerprint_of(&fingerprint, &copy);
    MUST(tri_fingerprint_is_quantised(&fingerprint));
    tri_pattern_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tri_pattern pattern;
    const triage_status status = tri_pattern_read(&pattern, file_of(NULL, data, size));
    if (status == TRIAGE_OK)
        check(&pattern);
    else
        must_refuse(status);
    tri_pattern_free(&pattern);
    return 0;
}
