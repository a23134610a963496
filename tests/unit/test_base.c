// links: base
/* The base room: messages, text, files, hashes, random numbers, resources. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/resource_table.h"
#include "support/scratch_group.h"

/* ---- status ---- */

static void *fail_elsewhere(void *out) {
    strcpy(out, triage_last_error());
    tri_fail(TRIAGE_E_IO, "elsewhere");
    return NULL;
}

static void message_is_one_line_of_this_thread(void **state) {
    (void)state;
    char seen[64];
    pthread_t thread;
    assert_int_equal(tri_fail(TRIAGE_E_DATA, "line %d\nof\t%s", 3, "a\x7f"), TRIAGE_E_DATA);
    assert_string_equal(triage_last_error(), "line 3 of a ");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, seen), 0);
    pthread_join(thread, NULL);
    assert_string_equal(seen, "");
    assert_string_equal(triage_last_error(), "line 3 of a ");
    tri_fail(TRIAGE_E_DATA, "again: %s", triage_last_error()); /* the old message as an argument */
    assert_string_equal(triage_last_error(), "again: line 3 of a ");
}

static void long_message_is_cut(void **state) {
    (void)state;
    char *text = malloc(100001);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    tri_fail(TRIAGE_E_DATA, "%s", text);
    assert_in_range(strlen(triage_last_error()), 500, 2000);
    free(text);
}

static void every_status_has_its_name(void **state) {
    (void)state;
    for (int a = TRIAGE_OK; a <= TRIAGE_E_INTERRUPTED; a++)
        for (int b = a + 1; b <= TRIAGE_E_INTERRUPTED + 1; b++)
            assert_string_not_equal(triage_status_name((triage_status)a),
                                    triage_status_name((triage_status)b));
    assert_string_equal(triage_status_name((triage_status)99), "unknown status");
}

/* ---- text and numbers ---- */

static void text_grows(void **state) {
    (void)state;
    tri_text text = TRI_TEXT_INIT;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(tri_text_format(&text, "%03d,", i), TRIAGE_OK);
    assert_int_equal(text.size, 4000);
    assert_memory_equal(text.data + 3996, "999,", 5);
    assert_int_equal(tri_text_append(&text, "a\0b", 3), TRIAGE_OK);
    assert_int_equal(text.size, 4003);
    assert_int_equal(text.data[4003], 0);
    tri_text_free(&text);
    assert_null(text.data);
    assert_int_equal(tri_text_append(&text, NULL, 0), TRIAGE_OK); /* usable again; empty is a text too */
    assert_string_equal(text.data, "");
    tri_text_free(&text);
    tri_text_free(NULL);
}

static void formats_and_copies(void **state) {
    (void)state;
    char *text;
    assert_int_equal(tri_format(&text, "%s-%d", "a", 7), TRIAGE_OK);
    assert_string_equal(text, "a-7");
    free(text);
    assert_int_equal(tri_strdup(&text, "copy"), TRIAGE_OK);
    assert_string_equal(text, "copy");
    free(text);
}

static void reads_whole_numbers(void **state) {
    (void)state;
    int64_t value = 0;
    assert_int_equal(tri_parse_int64(&value, "-42", -100, 100, "x"), TRIAGE_OK);
    assert_int_equal(value, -42);
    assert_int_equal(tri_parse_int64(&value, "9223372036854775807", 0, INT64_MAX, "x"), TRIAGE_OK);
    assert_true(value == INT64_MAX);
    const char *bad[] = {"", " 1", "1 ", "+1", "0x10", "1e3", "one", "-", "1.0", "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tri_parse_int64(&value, bad[i], 0, 100, "--n"), TRIAGE_E_INVALID);
    assert_int_equal(tri_parse_int64(&value, "101", 1, 100, "--n"), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "--n: 101 is out of range; allowed 1 .. 100");
    assert_int_equal(tri_parse_int64(&value, "9223372036854775808", 0, INT64_MAX, "--n"), TRIAGE_E_INVALID);
    assert_true(value == INT64_MAX); /* untouched by the failures */
}

static void reads_real_numbers(void **state) {
    (void)state;
    double value = 0;
    assert_int_equal(tri_parse_double(&value, "0.25", 0, 1, "x"), TRIAGE_OK);
    assert_true(value == 0.25);
    assert_int_equal(tri_parse_double(&value, "-2.5e-3", -1, 1, "x"), TRIAGE_OK);
    assert_int_equal(tri_parse_double(&value, ".5", 0, 1, "x"), TRIAGE_OK);
    const char *bad[] = {"", "nan", "inf", "-inf", "0x1p3", "1,5", " 1", "1 ", "1e999", "+1", "2", "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tri_parse_double(&value, bad[i], 0, 1, "--sparsity"), TRIAGE_E_INVALID);
    assert_true(value == 0.5);
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8")) { /* where it is installed */
        assert_int_equal(tri_parse_double(&value, "0.25", 0, 1, "x"), TRIAGE_OK);
        setlocale(LC_NUMERIC, "C");
    }
}

static void allocation_checks_for_overflow(void **state) {
    (void)state;
    void *memory = &memory;
    assert_int_equal(tri_calloc(&memory, SIZE_MAX / 2, 3), TRIAGE_E_MEMORY);
    assert_null(memory);
    assert_int_equal(tri_calloc(&memory, 0, 8), TRIAGE_OK);
    assert_non_null(memory);
    free(memory);
    unsigned char *bytes;
    assert_int_equal(tri_calloc(&bytes, 7, 3), TRIAGE_OK);
    for (int i = 0; i < 21; i++)
        assert_int_equal(bytes[i], 0);
    free(bytes);
}

static void lists_grow(void **state) {
    (void)state;
    int32_t *items = NULL;
    size_t capacity = 0;
    for (int32_t i = 0; i < 1000; i++) {
        assert_int_equal(tri_grow(&items, &capacity, (size_t)i, sizeof *items, "numbers"), TRIAGE_OK);
        assert_true(capacity > (size_t)i);
        items[i] = i;
    }
    for (int32_t i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    int32_t *const kept = items;
    size_t full = PTRDIFF_MAX / sizeof *items;
    assert_int_equal(tri_grow(&items, &full, full, sizeof *items, "numbers"), TRIAGE_E_MEMORY);
    assert_true(items == kept && full == PTRDIFF_MAX / sizeof *items);
    assert_non_null(strstr(triage_last_error(), " numbers"));
    free(items);
}

/* ---- files ---- */

static void file_round_trip(void **state) {
    (void)state;
    const char *path = scratch_path(folder, "file");
    char *text;
    size_t size, large = 300000;
    assert_int_equal(tri_file_write_atomic(path, "old", 3, 0600), TRIAGE_OK);
    char *data = malloc(large);
    for (size_t i = 0; i < large; i++)
        data[i] = (char)(i * 7);
    assert_int_equal(tri_file_write_atomic(path, data, large, 0640), TRIAGE_OK);
    assert_int_equal(tri_file_read(&text, &size, path, 0), TRIAGE_OK);
    assert_int_equal(size, large);
    assert_memory_equal(text, data, large);
    assert_int_equal(text[size], 0);
    free(text);
    free(data);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(scratch_count(folder), 1); /* no temporary left */
    assert_int_equal(tri_file_read(&text, NULL, path, large - 1), TRIAGE_E_DATA);
    assert_null(text);
    assert_int_equal(tri_file_read(&text, NULL, path, large), TRIAGE_OK);
    free(text);
    unlink(path);
}

static void file_failures(void **state) {
    (void)state;
    char *text;
    assert_int_equal(tri_file_read(&text, NULL, scratch_path(folder, "none"), 0), TRIAGE_E_IO);
    assert_non_null(strstr(triage_last_error(), "none: cannot read: No such file"));
    assert_int_equal(tri_file_read(&text, NULL, folder, 0), TRIAGE_E_IO);
    const char *fifo = scratch_path(folder, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(tri_file_read(&text, NULL, fifo, 0), TRIAGE_E_IO); /* and does not hang */
    assert_int_equal(tri_file_write_atomic(fifo, "x", 1, 0600), TRIAGE_E_IO);
    const int reader = open(fifo, O_RDONLY | O_NONBLOCK);
    char byte = 0;
    assert_int_equal(tri_file_write_atomic(fifo, "x", 1, 0600), TRIAGE_OK); /* and it is still a pipe */
    assert_int_equal(read(reader, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(reader);
    unlink(fifo);
    assert_int_equal(tri_file_write_atomic(scratch_path(folder, "no/file"), "x", 1, 0600), TRIAGE_E_IO);
    const char *inner = scratch_path(folder, "taken");
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(tri_file_write_atomic(inner, "x", 1, 0600), TRIAGE_E_IO); /* rename fails */
    assert_int_equal(scratch_count(folder), 1);                                /* cleaned up */
    rmdir(inner);
}

static void folders_are_made_private(void **state) {
    (void)state;
    struct stat info;
    const char *deep = scratch_path(folder, "a/b//c/");
    assert_int_equal(tri_make_dirs(deep), TRIAGE_OK);
    assert_int_equal(tri_make_dirs(deep), TRIAGE_OK);
    assert_int_equal(stat(scratch_path(folder, "a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    const char *file = scratch_path(folder, "a/file");
    assert_int_equal(tri_file_write_atomic(file, "x", 1, 0600), TRIAGE_OK);
    assert_int_equal(tri_make_dirs(file), TRIAGE_E_IO);
    assert_int_equal(tri_make_dirs(scratch_path(folder, "a/file/d")), TRIAGE_E_IO);
}

static void paths_join(void **state) {
    (void)state;
    const char *cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path;
        assert_int_equal(tri_path_join(&path, cases[i][0], cases[i][1]), TRIAGE_OK);
        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

/* ---- hash ---- */

static void hash_is_blake2b(void **state) {
    (void)state;
    char hash[TRI_HASH_SIZE];
    tri_hash(hash, "abc", 3); /* python: hashlib.blake2b(b"abc", digest_size=16).hexdigest() */
    assert_string_equal(hash, "cf4ab791c62b8d2b2109c90275287816");
    tri_hash(hash, NULL, 0);
    assert_string_equal(hash, "cae66941d9efbd404e4d88758ea67670");
}

static void hash_sees_the_boundaries(void **state) {
    (void)state;
    char a[TRI_HASH_SIZE], b[TRI_HASH_SIZE], c[TRI_HASH_SIZE];
    tri_hash_pieces(a, (tri_piece[]){{"ab", 2}, {"c", 1}}, 2);
    tri_hash_pieces(b, (tri_piece[]){{"a", 1}, {"bc", 2}}, 2);
    tri_hash_pieces(c, (tri_piece[]){{"ab", 2}, {"c", 1}, {NULL, 0}}, 3);
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
    tri_hash_pieces(b, (tri_piece[]){{"ab", 2}, {"c", 1}}, 2);
    assert_string_equal(a, b);
    /* python: blake2b of 02 00*7 "ab" 01 00*7 "c": the same on every machine */
    assert_string_equal(a, "4826ed043ab3cdec576d8541fa5d5a80");
}

/* ---- random ---- */

static void random_is_xoshiro(void **state) {
    (void)state;
    tri_random random = {{1, 2, 3, 4}}; /* first outputs of the authors' C code from this state */
    assert_true(tri_random_next(&random) == 11520);
    assert_true(tri_random_next(&random) == 0);
    assert_true(tri_random_next(&random) == 1509978240);
    assert_true(tri_random_next(&random) == 1215971899390074240u);
    tri_random_seed(&random, 1234567); /* first outputs of splitmix64 from this seed */
    assert_true(random.state[0] == 6457827717110365317u);
    assert_true(random.state[1] == 3203168211198807973u);
}

static void random_below_is_even(void **state) {
    (void)state;
    tri_random random;
    int counts[7] = {0};
    tri_random_seed(&random, 1);
    for (int i = 0; i < 70000; i++)
        counts[tri_random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9600, 10400); /* four sigma */
    for (int i = 0; i < 100; i++)
        assert_int_equal(tri_random_below(&random, 1), 0);
}

/* ---- time, resources, log ---- */

static void clocks_run(void **state) {
    (void)state;
    int64_t before = tri_now_ns();
    usleep(2000);
    assert_true(tri_now_ns() - before >= 2000000);
    assert_true(tri_wall_time_ms() > INT64_C(1700000000000));
}

static void built_in_resources_are_sorted_and_found(void **state) {
    (void)state;
    assert_true(tri_resource_count > 0);
    for (size_t i = 0; i < tri_resource_count; i++) {
        char *text;
        size_t size;
        if (i > 0)
            assert_true(strcmp(tri_resource_name(i - 1), tri_resource_name(i)) < 0);
        assert_int_equal(tri_resource_read(&text, &size, NULL, tri_resource_name(i)), TRIAGE_OK);
        assert_int_equal(strlen(text), size);
        free(text);
    }
    assert_null(tri_resource_name(tri_resource_count));
}

static void built_in_resource_is_the_file(void **state) {
    (void)state;
    char *built_in, *file;
    const char *name = "templates/bsr_gemm/args.h";
    assert_int_equal(tri_resource_read(&built_in, NULL, NULL, name), TRIAGE_OK);
    assert_int_equal(tri_resource_read(&file, NULL, TRI_SOURCE_DIR, name), TRIAGE_OK);
    assert_string_equal(built_in, file);
    free(built_in);
    free(file);
}

static void resource_names_stay_inside(void **state) {
    (void)state;
    char *text;
    const char *bad[] = {"", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", "a/.."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tri_resource_read(&text, NULL, NULL, bad[i]), TRIAGE_E_INVALID);
        assert_int_equal(tri_resource_read(&text, NULL, TRI_SOURCE_DIR, bad[i]), TRIAGE_E_INVALID);
    }
    assert_int_equal(tri_resource_read(&text, NULL, NULL, "templates/none.cu"), TRIAGE_E_NOT_FOUND);
    assert_int_equal(tri_resource_read(&text, NULL, folder, "templates/none.cu"), TRIAGE_E_NOT_FOUND);
    assert_null(text);
    assert_int_equal(mkdir(scratch_path(folder, "a..b"), 0700), 0);
    scratch_write(folder, "a..b/x.lua", "ok", 0600);
    assert_int_equal(tri_resource_read(&text, NULL, folder, "a..b/x.lua"), TRIAGE_OK);
    assert_string_equal(text, "ok");
    free(text);
}

static void keep_line(void *user, triage_log_level level, const char *line) {
    snprintf(user, 64, "%d %s", (int)level, line);
}

static void log_calls_back(void **state) {
    (void)state;
    char line[64] = "";
    tri_log log = {keep_line, line};
    tri_log_line(&log, TRIAGE_LOG_WARNING, "a\n%d", 5);
    assert_string_equal(line, "1 a 5");
    tri_log_line(&(tri_log){0}, TRIAGE_LOG_INFO, "silent");
    tri_log_line(NULL, TRIAGE_LOG_INFO, "silent");
}

/* ---- what misleads ---- */

static void controls_are_known(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {{"\x1b[2J", 1},
                 {"\n", 1},
                 {"\x7f", 1},
                 {" ", 0},
                 {"a", 0},
                 {"\xc2\x80", 2},
                 {"\xc2\x9b", 2},
                 {"\xc2\x9f", 2},
                 {"\xc2\xa0", 0},
                 {"\xc3\x9b", 0},
                 {"\xc2", 0},
                 {"\xe2\x80\xaa", 3},
                 {"\xe2\x80\xae", 3},
                 {"\xe2\x80\xa9", 0},
                 {"\xe2\x81\xa6", 3},
                 {"\xe2\x81\xa9", 3},
                 {"\xe2\x81\xaa", 0},
                 {"\xe2\x80", 0},
                 {"\xe2", 0},
                 {"", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(tri_control_size(cases[i].text), cases[i].size);
    char text[] = "a\x1b"
                  "b\xc2\x9b"
                  "c\xe2\x80\xae"
                  "d\xe2\x82\xac";
    tri_text_tame(text);
    assert_string_equal(text, "a b  c   d\xe2\x82\xac");
    tri_set_error("%s", "x\xc2\x9b"
                        "31m\xe2\x80\xae");
    assert_string_equal(triage_last_error(), "x  31m   ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_are_known),
        cmocka_unit_test(message_is_one_line_of_this_thread),
        cmocka_unit_test(long_message_is_cut),
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(formats_and_copies),
        cmocka_unit_test(reads_whole_numbers),
        cmocka_unit_test(reads_real_numbers),
        cmocka_unit_test(allocation_checks_for_overflow),
        cmocka_unit_test(lists_grow),
        cmocka_unit_test(file_round_trip),
        cmocka_unit_test(file_failures),
        cmocka_unit_test(folders_are_made_private),
        cmocka_unit_test(paths_join),
        cmocka_unit_test(hash_is_blake2b),
        cmocka_unit_test(hash_sees_the_boundaries),
        cmocka_unit_test(random_is_xoshiro),
        cmocka_unit_test(random_below_is_even),
        cmocka_unit_test(clocks_run),
        cmocka_unit_test(built_in_resources_are_sorted_and_found),
        cmocka_unit_test(built_in_resource_is_the_file),
        cmocka_unit_test(resource_names_stay_inside),
        cmocka_unit_test(log_calls_back),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
