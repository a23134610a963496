/* What a store says through its log, kept for a test to read: clear `said` with tri_text_free. */
#ifndef TRIAGE_TESTS_STORE_SAID_H
#define TRIAGE_TESTS_STORE_SAID_H

#include "store/fixture.h"

static tri_text said;

static inline void note_line(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    assert_ok(tri_text_format(&said, "%s\n", line));
}

static const tri_log log_here = {note_line, NULL};

#endif
