/* What got slower since an earlier run: whose interval lies above its old one. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"

static json_t *contestant_named(const json_t *document, const char *name) {
    json_t *list = json_object_get(document, "contestants"), *row;
    size_t i;
    json_array_foreach(list, i, row) {
        const char *own = json_string_value(json_object_get(row, "name"));
        if (own && strcmp(own, name) == 0)
            return row;
    }
    return NULL;
}

/* 0: it has no time. */
static double time_of(const json_t *row, const char *which) {
    return json_number_value(json_object_get(json_object_get(row, "timing"), which));
}

/* The same measurement, or a comparison says nothing. */
static triage_status check_same(const char *path, const json_t *old, const json_t *now) {
    static const char *const members[] = {"kind", "problem", "device", "cold_l2", "seed"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const json_t *before = json_object_get(old, members[i]), *here = json_object_get(now, members[i]);
        char *texts[2] = {json_dumps(before, JSON_ENCODE_ANY), json_dumps(here, JSON_ENCODE_ANY)};
        const bool same = json_equal(before, here);
        if (!same)
            (void)tri_fail(TRIAGE_E_DATA, "--compare %.60s: its %s is %.200s, here it is %.200s", path,
                           members[i], texts[0] ? texts[0] : "absent", texts[1] ? texts[1] : "absent");
        free(texts[0]);
        free(texts[1]);
        if (!same)
            return TRIAGE_E_DATA;
    }
    return TRIAGE_OK;
}

static bool compare_one(const char *name, const json_t *old, const json_t *now) {
    const double before = time_of(old, "median_ns"), here = time_of(now, "median_ns");
    if (before <= 0 && here <= 0)
        return false;
    if (before <= 0 || here <= 0) {
        fprintf(stderr, "compare: %s has a time only %s\n", name, here > 0 ? "now" : "in the old run");
        return before > 0; /* what was right is no more */
    }
    const bool slower = time_of(now, "low_ns") > time_of(old, "high_ns");
    const bool faster = time_of(now, "high_ns") < time_of(old, "low_ns");
    fprintf(stderr, "compare: %s %.4f ms, was %.4f ms: %+.1f %%, %s\n", name, here / 1e6, before / 1e6,
            100 * (here / before - 1),
            slower   ? "SLOWER"
            : faster ? "faster"
                     : "within the noise");
    return slower;
}

enum { OLD_MAX = 64 << 20 };

static triage_status load(json_t **out, const char *path) {
    json_error_t error;
    char *text = NULL;
    size_t size = 0;
    if (tri_file_read(&text, &size, path, OLD_MAX) != TRIAGE_OK)
        return tri_fail(TRIAGE_E_DATA, "--compare %s", triage_last_error());
    *out = json_loadb(text, size, 0, &error);
    free(text);
    return *out ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "--compare %.100s: %.160s", path, error.text);
}

triage_status tri_contest_compare_check(const char *path) {
    json_t *old = NULL;
    const triage_status status = load(&old, path);
    json_decref(old);
    return status;
}

triage_status tri_contest_compare(size_t *slower, const char *path, const json_t *now) {
    json_t *old = NULL, *row;
    triage_status status = TRIAGE_OK;
    size_t i;
    *slower = 0;
    TRI_TRY(load(&old, path));
    TRI_TRY(check_same(path, old, now));
    json_array_foreach(json_object_get(now, "contestants"), i, row) {
        const char *name = json_string_value(json_object_get(row, "name"));
        const json_t *before = contestant_named(old, name);
        if (before)
            *slower += compare_one(name, before, row);
    }
done:
    json_decref(old);
    return status;
}
