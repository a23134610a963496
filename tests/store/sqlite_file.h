/* A database file behind the store's back. */
#ifndef TRIAGE_TESTS_STORE_SQLITE_FILE_H
#define TRIAGE_TESTS_STORE_SQLITE_FILE_H

#include "store/fixture.h"

#include <sqlite3.h>

/* Runs SQL on a file in the folder. */
static inline void sql(const char *name, const char *text) {
    sqlite3 *db = NULL;
    char *error = NULL;
    assert_int_equal(sqlite3_open(in_folder(name), &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", text, error);
    sqlite3_close(db);
}

#endif
