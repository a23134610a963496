// links: base store
/* A database on a network file system, which this program fakes by being its own statfs: no write-ahead log is
 * used there, not even for a moment, nothing is lost, and it is said what to do instead. */
#include "store/fixture.h"

#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "store/sqlite.h"

/* Every path below it is on NFS; "": none is. */
static char far_away[128];

int statfs(const char *path, struct statfs *out) {
    const long code = syscall(SYS_statfs, path, out);
    if (code == 0 && far_away[0] && strncmp(path, far_away, strlen(far_away)) == 0)
        out->f_type = NFS_SUPER_MAGIC;
    return (int)code;
}

static void move_away(const char *name) {
    snprintf(far_away, sizeof far_away, "%s", name ? in_folder(name) : "");
}

static bool is_there(const char *name) {
    return access(in_folder(name), F_OK) == 0;
}

/* 1: a rollback journal, 2: a write-ahead log. */
static int journal_of(const char *name) {
    char *data = NULL;
    assert_ok(tri_file_read(&data, NULL, in_folder(name), 0));
    const int version = data[18];
    free(data);
    return version;
}

static void test_it_is_noticed(void **state) {
    (void)state;
    assert_false(tri_store_is_on_network(in_folder("nfs/a.db")));
    move_away("nfs");
    assert_ok(tri_make_dirs(in_folder("nfs")));
    assert_true(tri_store_is_on_network(in_folder("nfs/a.db")));
    assert_true(tri_store_is_on_network(in_folder("nfs/to/be/made/a.db"))); /* the folder above it */
    assert_false(tri_store_is_on_network(in_folder("a.db")));
    assert_false(tri_store_is_on_network("a.db"));
    assert_false(tri_store_is_on_network("/a.db"));
    assert_non_null(strstr(TRI_NETWORK_ADVICE, "triage_db sync"));
    assert_non_null(strstr(TRI_NETWORK_ADVICE, "merge"));
}

static void test_no_log_there(void **state) {
    (void)state;
    move_away("nfs");
    tri_store *store = open_store("nfs/new.db", TRI_STORE_WRITE);
    add(store, row_of("a", 100));
    assert_false(is_there("nfs/new.db-wal") || is_there("nfs/new.db-shm"));
    tri_store *reader = open_store("nfs/new.db", TRI_STORE_READ);
    expect_rows(reader, 1);
    tri_store_close(reader);
    tri_store_close(store);
    assert_int_equal(journal_of("nfs/new.db"), 1);
    store = open_store("local.db", TRI_STORE_WRITE); /* the others have one */
    add(store, row_of("a", 100));
    assert_true(is_there("local.db-wal"));
    tri_store_close(store);
    assert_int_equal(journal_of("local.db"), 2);
}

static void copy(const char *from, const char *to) {
    char command[512];
    snprintf(command, sizeof command, "cp %s %s", in_folder(from), in_folder(to));
    assert_int_equal(system(command), 0);
}

/* A copy of a local file is in WAL mode still: it is read as it lies, and the first writer takes the mode away. */
static void test_a_copy_of_a_local_file(void **state) {
    (void)state;
    move_away("nfs");
    copy("local.db", "nfs/copy.db");
    assert_true(tri_is_wal_on_network(in_folder("nfs/copy.db")));
    assert_false(tri_is_wal_on_network(in_folder("local.db")));
    tri_store *store = open_store("nfs/copy.db", TRI_STORE_READ);
    expect_rows(store, 1);
    assert_false(is_there("nfs/copy.db-wal") || is_there("nfs/copy.db-shm"));
    tri_store_close(store);
    assert_int_equal(journal_of("nfs/copy.db"), 2);                 /* a reader changes nothing */
    assert_int_equal(mkdir(in_folder("nfs/copy.db-shm"), 0700), 0); /* who wants that memory fails */
    store = open_store("nfs/copy.db", TRI_STORE_WRITE);
    assert_int_equal(rmdir(in_folder("nfs/copy.db-shm")), 0);
    assert_int_equal(journal_of("nfs/copy.db"), 1);
    assert_false(is_there("nfs/copy.db-wal"));
    tri_store *other = open_store("nfs/copy.db", TRI_STORE_WRITE); /* and keeps no lock */
    add(other, row_of("b", 100));
    tri_store_close(other);
    tri_store_close(store);
}

static void test_a_log_that_somebody_writes(void **state) {
    (void)state;
    tri_store *store = NULL;
    move_away(NULL);
    tri_store *writer = open_store("nfs/busy.db", TRI_STORE_WRITE);
    add(writer, row_of("a", 100));
    assert_true(is_there("nfs/busy.db-wal"));
    move_away("nfs");
    assert_fails(TRIAGE_E_IO, "somebody writes to it with a write-ahead log",
                 tri_store_open(&store, in_folder("nfs/busy.db"), TRI_STORE_READ));
    assert_null(store);
    tri_store_close(writer);
    store = open_store("nfs/busy.db", TRI_STORE_READ);
    expect_rows(store, 1);
    tri_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_noticed),
        cmocka_unit_test(test_no_log_there),
        cmocka_unit_test(test_a_copy_of_a_local_file),
        cmocka_unit_test(test_a_log_that_somebody_writes),
    };
    return cmocka_run_group_tests_name("network", tests, make_folder, remove_folder);
}
