/* The schema of a file: made and migrated by db/migrations/NNNN_*.sql, one transaction each, and compared
 * with what those files make. */
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

#include "store/sqlite.h"

#define APPLICATION_ID 0x54524941 /* "TRIA", as in the first migration */
#define MIGRATIONS "db/migrations/"

/* ---- migrations ---- */

static int64_t newest_version(void) {
    return tri_migration_newest(MIGRATIONS);
}

static triage_status run_migration(tri_store *store, int64_t version) {
    char *text = NULL;
    triage_status status = tri_resource_read(&text, NULL, NULL, tri_migration_name(MIGRATIONS, version));
    if (status == TRIAGE_OK)
        status = tri_sql_error(store, sqlite3_exec(store->db, text, NULL, NULL, NULL));
    free(text);
    return status;
}

/* Another process may have done it since we looked: the version is read again within the transaction. */
static triage_status migrate_once(int64_t *version, tri_store *store) {
    triage_status status = tri_sql_begin(store);
    if (status != TRIAGE_OK)
        return status;
    int64_t before = *version;
    status = tri_sql_integer(version, store, "schema_version");
    if (status == TRIAGE_OK && *version == before)
        status = run_migration(store, before + 1);
    if (status == TRIAGE_OK)
        status = tri_sql_integer(version, store, "schema_version");
    if (status == TRIAGE_OK && *version <= before)
        status = tri_fail(TRIAGE_E_DB, "%s does not set its user_version",
                          tri_migration_name(MIGRATIONS, before + 1));
    return tri_sql_end(store, status);
}

/* ---- comparison with the schema that the migrations make ---- */

/* A store in memory with the schema of a version. */
static triage_status make_expected(tri_store *expected, int64_t newest) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_sql_error(expected, sqlite3_open_v2(":memory:", &expected->db,
                                                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL)));
    for (int64_t version = 1; version <= newest; version++)
        TRI_TRY(run_migration(expected, version));
done:
    return status;
}

/* By type, then name, as the statement orders them, then text. */
static int compare_object(sqlite3_stmt *ours, sqlite3_stmt *theirs) {
    int order = 0;
    for (int i = 0; i < 3 && order == 0; i++) {
        const char *a = (const char *)sqlite3_column_text(ours, i),
                   *b = (const char *)sqlite3_column_text(theirs, i);
        order = strcmp(a ? a : "", b ? b : "");
    }
    return order;
}

/* Steps through both lists: the first object that only one of them has is the error; more than ours is none in a
 * file of a newer version. */
static triage_status compare_objects(tri_store *store, sqlite3_stmt *ours, sqlite3_stmt *theirs, bool newer) {
    bool our_row = sqlite3_step(ours) == SQLITE_ROW;
    for (;;) {
        bool their_row;
        triage_status status = tri_sql_step(&their_row, store, theirs);
        if (status != TRIAGE_OK || (!our_row && !their_row))
            return status;
        int order = !our_row ? 1 : !their_row ? -1 : compare_object(ours, theirs);
        if (order == 0)
            our_row = sqlite3_step(ours) == SQLITE_ROW;
        if (order == 0 || (order > 0 && newer))
            continue;
        sqlite3_stmt *odd = order < 0 ? ours : theirs;
        return tri_fail(TRIAGE_E_DATA, "%s: its schema is not that of triage: %s %.64s %s", store->path,
                        (const char *)sqlite3_column_text(odd, 0), (const char *)sqlite3_column_text(odd, 1),
                        order < 0 ? "is missing or changed" : "does not belong there");
    }
}

/* Hashes of what each version's migrations make, to spare every opening the making of it. One that is missing or
 * wrong costs time only: then the objects themselves are compared. */
static const char *const known_schemas[] = {
    "2f40b73174d778a50d2403cb29ae0bcc", "d1475b574573308050c171e81aa1764c",
    "39196298c3c807e4b28891fd642f0fd8", "56b299733e4b5b35c0867a37dcddda4f",
    "56b299733e4b5b35c0867a37dcddda4f" /* an index more */};

static triage_status hash_objects(char out[TRI_HASH_SIZE], tri_store *store) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *objects = NULL;
    bool more = false;
    tri_hash(out, "schema", 6);
    TRI_TRY(tri_sql_take(&objects, store, "schema_objects"));
    TRI_TRY(tri_sql_step(&more, store, objects));
    while (more) {
        tri_piece pieces[4] = {{out, TRI_HASH_SIZE - 1}};
        for (int i = 0; i < 3; i++) {
            const char *text = (const char *)sqlite3_column_text(objects, i);
            pieces[i + 1] = (tri_piece){text ? text : "", text ? strlen(text) : 0};
        }
        tri_hash_pieces(out, pieces, 4);
        TRI_TRY(tri_sql_step(&more, store, objects));
    }
done:
    tri_sql_give(store, objects);
    return status;
}

bool tri_schema_is_known(tri_store *store, int64_t version) {
    char hash[TRI_HASH_SIZE];
    return version >= 1 && version <= (int64_t)(sizeof known_schemas / sizeof known_schemas[0]) &&
           hash_objects(hash, store) == TRIAGE_OK && strcmp(hash, known_schemas[version - 1]) == 0;
}

static triage_status check_objects(tri_store *store, int64_t version, bool newer) {
    triage_status status = TRIAGE_OK;
    if (tri_schema_is_known(store, version))
        return TRIAGE_OK;
    tri_store expected = {.path = store->path, .queries = store->queries};
    sqlite3_stmt *ours = NULL, *theirs = NULL;
    pthread_mutex_init(&expected.mutex, NULL);
    TRI_TRY(make_expected(&expected, version));
    TRI_TRY(tri_sql_take(&ours, &expected, "schema_objects"));
    TRI_TRY(tri_sql_take(&theirs, store, "schema_objects"));
    TRI_TRY(compare_objects(store, ours, theirs, newer));
done:
    tri_sql_give(store, theirs);
    tri_sql_give(&expected, ours);
    for (size_t i = 0; i < expected.statement_count; i++)
        sqlite3_finalize(expected.statements[i].sql);
    sqlite3_close(expected.db);
    pthread_mutex_destroy(&expected.mutex);
    return status;
}

static triage_status check_foreign_columns(tri_store *store) {
    sqlite3_stmt *sql = NULL;
    triage_status status = tri_sql_take(&sql, store, "foreign_row");
    tri_sql_give(store, sql);
    if (status == TRIAGE_E_DB)
        status = tri_fail(TRIAGE_E_DATA, "%s: its tables are not those of triage: %s", store->path,
                          sqlite3_errmsg(store->db));
    return status;
}

triage_status tri_schema_check_foreign(tri_store *store) {
    int64_t id, version, tables;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_sql_integer(&id, store, "application_id"));
    TRI_TRY(tri_sql_integer(&version, store, "schema_version"));
    if (id != APPLICATION_ID)
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: a database, but not of triage", store->path));
    if (version < 1 || version > newest_version())
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: has schema %lld, this version of triage reads 1 .. %lld",
                         store->path, (long long)version, (long long)newest_version()));
    TRI_TRY(tri_sql_integer(&tables, store, "foreign_tables"));
    if (tables != 5)
        TRI_TRY(tri_fail(
            TRIAGE_E_DATA,
            "%s: problem, device, candidate, origin and measurement are not all tables with their keys",
            store->path));
    TRI_TRY(check_foreign_columns(store));
done:
    return status;
}

/* ---- journal ---- */

/* f_type values (statfs(2) and the kernel's sources): linux/magic.h lacks some. FUSE may be sshfs. */
bool tri_is_network_file_system(long type) {
    static const unsigned long network[] = {
        NFS_SUPER_MAGIC,         SMB_SUPER_MAGIC,        0xFF534D42 /* cifs */,   0xFE534D42 /* smb2 */,
        0x65735546 /* fuse */,   0x00C36400 /* ceph */,  0x0BD00BD0 /* lustre */, 0x47504653 /* gpfs */,
        0x19830326 /* beegfs */, 0xAAD7AAEA /* panfs */, 0x01161970 /* gfs2 */,   0x7461636F /* ocfs2 */,
        0x786F4256 /* vboxsf */, 0x01021997 /* 9p */,    AFS_SUPER_MAGIC,         0x6B414653 /* kafs */,
        CODA_SUPER_MAGIC};
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++)
        if (((unsigned long)type & 0xFFFFFFFFul) == network[i])
            return true;
    return false;
}

/* Of the path, or of the nearest folder above it that is there. */
bool tri_store_is_on_network(const char *path) {
    struct statfs info;
    char *at = NULL;
    bool known = statfs(path, &info) == 0;
    if (!known && tri_format(&at, "%s%s", strchr(path, '/') ? "" : "./", path) == TRIAGE_OK) {
        for (char *slash; !known && (slash = strrchr(at, '/'));) {
            slash[slash == at] = '\0'; /* the root stays "/" */
            known = statfs(at, &info) == 0;
            if (slash == at)
                break;
        }
    }
    free(at);
    return known && tri_is_network_file_system((long)info.f_type);
}

bool tri_is_wal_on_network(const char *path) {
    unsigned char header[20] = {0}; /* bytes 18 and 19: 2 is WAL (https://sqlite.org/fileformat.html) */
    FILE *file = tri_store_is_on_network(path) ? fopen(path, "rbe") : NULL;
    if (!file)
        return false;
    const bool whole = fread(header, 1, sizeof header, file) == sizeof header;
    fclose(file);
    return whole && header[18] == 2;
}

/* Changing the journal needs the file for oneself, and SQLite does not wait for it: several processes that
 * create a database together meet here. */
static triage_status set_journal(tri_store *store) {
    const char *journal = tri_store_is_on_network(store->path) ? "journal_delete" : "journal_wal";
    const int64_t deadline = tri_now_ns() + TRI_BUSY_MS * INT64_C(1000000);
    for (;;) {
        triage_status status = tri_sql_run(store, journal);
        if (status != TRIAGE_E_DB || tri_now_ns() > deadline)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

/* ---- opening ---- */

/* A newer file says which versions can read it; none can write it. */
static triage_status check_newer(tri_store *store, int64_t version, tri_access access) {
    int64_t oldest = INT64_MAX;
    if (access == TRI_ACCESS_READ && tri_sql_integer(&oldest, store, "oldest_reader") == TRIAGE_OK &&
        oldest <= newest_version())
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA,
                    "%s: written by a newer version of triage (schema %lld, this one %s 1 .. %lld)",
                    store->path, (long long)version, access == TRI_ACCESS_WRITE ? "writes" : "reads",
                    (long long)newest_version());
}

/* Another process may be creating the file: what is made first is looked at last, so that a half-seen file
 * looks empty, never foreign. */
static triage_status identify(int64_t *version, tri_store *store, tri_access access) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *objects = NULL;
    int64_t id = 0;
    bool any = false;
    TRI_TRY(tri_sql_take(&objects, store, "schema_objects"));
    TRI_TRY(tri_sql_step(&any, store, objects));
    TRI_TRY(tri_sql_integer(version, store, "schema_version"));
    TRI_TRY(tri_sql_integer(&id, store, "application_id"));
    if (id != APPLICATION_ID && (any || id != 0))
        TRI_TRY(tri_fail(TRIAGE_E_DATA, "%s: a database, but not of triage", store->path));
    if (*version > newest_version())
        TRI_TRY(check_newer(store, *version, access));
done:
    tri_sql_give(store, objects);
    return status;
}

/* What an older version has left without standings gets them, if that does not take long; else they come with what
 * is added later. */
static triage_status fill_standings(tri_store *store) {
    store->has_standings = true;
    return tri_store_refresh(store,
                             &(tri_refresh_options){.deadline_ns = tri_now_ns() + 5 * INT64_C(1000000000)});
}

/* What older versions kept of this machine was measured here. */
static triage_status adopt(tri_store *store) {
    triage_status status = TRIAGE_OK;
    sqlite3_stmt *sql = NULL;
    char host[TRI_HASH_SIZE];
    bool row;
    tri_machine_hash(host);
    TRI_TRY(tri_sql_begin(store));
    status = tri_sql_take(&sql, store, "adopt");
    if (status == TRIAGE_OK)
        status = tri_sql_bind_text(store, sql, ":host", host);
    if (status == TRIAGE_OK)
        status = tri_sql_step(&row, store, sql);
    tri_sql_give(store, sql);
    status = tri_sql_end(store, status);
done:
    return status;
}

static triage_status prepare_writer(tri_store *store, int64_t version) {
    triage_status status = TRIAGE_OK;
    const bool older = version > 0 && version < newest_version(), has_origins = version >= 4;
    TRI_TRY(set_journal(store));
    TRI_TRY(tri_sql_run(store, "configure_write"));
    while (version < newest_version())
        TRI_TRY(migrate_once(&version, store));
    if (older && !has_origins)
        TRI_TRY(adopt(store));
    if (older)
        TRI_TRY(fill_standings(store));
done:
    return status;
}

triage_status tri_schema_prepare(tri_store *store, tri_access access) {
    triage_status status = TRIAGE_OK;
    const bool alone = access == TRI_ACCESS_WRITE && tri_is_wal_on_network(store->path);
    int64_t version;
    if (alone)
        TRI_TRY(tri_sql_run(store, "lock_exclusive"));
    TRI_TRY(identify(&version, store, access));
    if (access == TRI_ACCESS_WRITE)
        TRI_TRY(prepare_writer(store, version));
    else if (version == 0)
        TRI_TRY(tri_fail(TRIAGE_E_NOT_FOUND, "%s: an empty database", store->path));
    /* What is read is in every version: an older file needs no migration for it. */
    const bool newer = version > newest_version();
    if (access == TRI_ACCESS_WRITE || newer)
        version = newest_version();
    TRI_TRY(check_objects(store, version, newer));
    store->has_standings =
        version >= 5; /* those of before are by another ranking; the first writer makes them anew */
    store->has_arrivals = version >= 4;
    if (!store->has_arrivals)
        TRI_TRY(tri_sql_run(store, "no_arrivals"));
    if (alone) {
        TRI_TRY(tri_sql_run(store, "lock_normal"));
        TRI_TRY(tri_sql_integer(&version, store, "schema_version")); /* the next look gives the lock back */
    }
done:
    return status;
}
