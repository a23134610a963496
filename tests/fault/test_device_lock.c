/* Turns on a device: strangers' files, pipes and links in place of the lock, the first user's umask, and two users of one
 * machine (as root: the other user is made by setuid). Waiting is counted in tries; no time is looked at. */
#include "support/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure/device_lock.h"
#include "support/scratch_group.h"

#define STRANGER 12345
static const tri_device_info device = {.backend = "host", .name = "a CPU"};
static char said[4096];

static void note(void *user, triage_log_level level, const char *line) {
    (void)user, (void)level;
    const size_t size = strlen(said);
    snprintf(said + size, sizeof said - size, "%s\n", line);
}

static bool take(tri_device_lock *lock, double own_s, double others_s) {
    const tri_log log = {note, NULL};
    const tri_device_patience patience = {own_s, others_s};
    bool ours = false;
    must(tri_device_lock_take(&ours, lock, &patience, &log));
    return ours;
}

static tri_device_lock open_lock(void) {
    tri_device_lock lock = TRI_DEVICE_LOCK_INIT;
    must(tri_device_lock_open(&lock, folder, &device, TRI_DEVICE_LOCK_RUN));
    return lock;
}

static int set_up(void **state) {
    make_scratch(state);
    return chmod(folder, 01777);
}

/* Another process, as that user, takes the lock and keeps it; it is ended with end(). */
static pid_t hold_as(uid_t uid, mode_t mask) {
    int ends[2];
    char ready = 0;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        umask(mask);
        alarm(600); /* should the test end before it ends us */
        if (uid != geteuid() && setuid(uid) != 0)
            _exit(1);
        tri_device_lock lock = open_lock();
        ready = take(&lock, 0, 0) ? 'y' : 'n';
        if (write(ends[1], &ready, 1) == 1)
            pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], &ready, 1), 1);
    assert_int_equal(ready, 'y');
    close(ends[0]);
    close(ends[1]);
    return child;
}

static void end(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void one_at_a_time_and_by_name(void **state) {
    (void)state;
    char who[64];
    tri_device_lock lock = open_lock();
    const pid_t child = hold_as(geteuid(), 022);
    said[0] = '\0';
    for (int i = 0; i < 3; i++)
        assert_false(take(&lock, 0, 0));
    snprintf(who, sizeof who, "process %ld of user ", (long)child);
    assert_non_null(strstr(said, "another run times on a CPU: waiting for its end (process "));
    assert_non_null(strstr(said, who));
    assert_null(strstr(strchr(said, '\n'), "another run")); /* once */
    end(child);
    assert_true(take(&lock, 0, 0)); /* killed: free at once */
    assert_false(lock.beside_others);
    tri_device_lock_close(&lock);
}

static void waiting_for_oneself_ends_with_an_error(void **state) {
    (void)state;
    bool ours = true;
    const tri_device_patience patience = {1e-9, 0};
    tri_device_lock lock = open_lock();
    const pid_t child = hold_as(geteuid(), 022);
    must(tri_device_lock_take(&ours, &lock, &patience, NULL)); /* begins to wait */
    assert_int_equal(tri_device_lock_take(&ours, &lock, &patience, NULL), TRIAGE_E_NO_DEVICE);
    assert_false(ours);
    assert_non_null(strstr(triage_last_error(), "a CPU is in use by process "));
    end(child);
    tri_device_lock_close(&lock);
}

/* Whatever lies under the name is passed over, and never opened for long. */
static void other_things_in_its_place(void **state) {
    (void)state;
    char path[256];
    tri_device_lock lock = open_lock();
    snprintf(path, sizeof path, "%s/%s%lu.0.lock", folder, lock.stem, (unsigned long)geteuid());
    tri_device_lock_close(&lock);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);
    lock = open_lock();
    assert_true(take(&lock, 0, 0));
    tri_device_lock_close(&lock);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    lock = open_lock();
    assert_true(take(&lock, 0, 0));
    tri_device_lock_close(&lock);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    lock = open_lock();
    assert_true(take(&lock, 0, 0));
    tri_device_lock_close(&lock);
    assert_int_equal(rmdir(path), 0);
}

static void a_umask_locks_nobody_out(void **state) {
    (void)state;
    end(hold_as(geteuid(), 0777));
    tri_device_lock lock = open_lock();
    assert_true(take(&lock, 0, 0));
    tri_device_lock_close(&lock);
}

static void two_users(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    tri_device_lock lock = open_lock();
    pid_t child = hold_as(STRANGER, 0777);
    said[0] = '\0';
    for (int i = 0; i < 3; i++)
        assert_false(take(&lock, 0, 0)); /* he times: it is his turn */
    assert_non_null(strstr(said, "of user 12345"));
    end(child);
    assert_true(take(&lock, 0, 0));
    tri_device_lock_close(&lock);

    child = hold_as(STRANGER, 022); /* he never ends */
    lock = open_lock();
    said[0] = '\0';
    assert_false(take(&lock, 0, 1e-9));
    assert_true(take(&lock, 0, 1e-9));
    assert_true(lock.beside_others);
    assert_non_null(strstr(said, "timing beside it"));
    end(child);
    tri_device_lock_close(&lock);
}

/* As somebody who wants to keep root from timing: he cannot open root's file, and his own under root's name is nobody's. */
static void a_stranger_cannot_hold_what_is_not_his(void **state) {
    (void)state;
    char path[256];
    if (geteuid() != 0)
        skip();
    tri_device_lock lock = open_lock();
    snprintf(path, sizeof path, "%s/%s0.0.lock", folder, lock.stem);
    const pid_t child = fork();
    if (child == 0) {
        if (setuid(STRANGER) != 0)
            _exit(1);
        _exit(access(path, R_OK) == 0 || access(path, W_OK) == 0 || unlink(path) == 0);
    }
    int state_of_child = 0;
    waitpid(child, &state_of_child, 0);
    assert_int_equal(state_of_child, 0);
    tri_device_lock_close(&lock);
    assert_int_equal(unlink(path), 0);
    scratch_write(folder, strrchr(path, '/') + 1, "", 0666);
    assert_int_equal(chown(path, STRANGER, STRANGER), 0);
    lock = open_lock();
    assert_true(take(&lock, 0, 0));
    tri_device_lock_close(&lock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time_and_by_name),
        cmocka_unit_test(waiting_for_oneself_ends_with_an_error),
        cmocka_unit_test(other_things_in_its_place),
        cmocka_unit_test(a_umask_locks_nobody_out),
        cmocka_unit_test(two_users),
        cmocka_unit_test(a_stranger_cannot_hold_what_is_not_his),
    };
    return cmocka_run_group_tests_name("turns on a device", tests, set_up, remove_scratch);
}
