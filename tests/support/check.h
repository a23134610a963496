/* What a test program begins with: cmocka, with the headers that it wants before it, and a call that must work. */
#ifndef TRIAGE_TESTS_SUPPORT_CHECK_H
#define TRIAGE_TESTS_SUPPORT_CHECK_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/status.h"

static inline void must(triage_status status) {
    if (status != TRIAGE_OK)
        fail_msg("%s: %s", triage_status_name(status), triage_last_error());
}

#endif
