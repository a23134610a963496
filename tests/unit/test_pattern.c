/* Patterns: random ones, files, arrays of a caller; fingerprints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "op/bsr_gemm/bsr_gemm.h"
#include "support/scratch_group.h"

#define SMALL TRI_SOURCE_DIR "/tests/data/dlmc/variational_0.9_encoder1_ffn2.smtx"

/* tri_pattern_copy checks everything that a pattern must be. */
static void assert_valid(const tri_pattern *pattern) {
    tri_pattern copy;
    if (tri_pattern_copy(&copy, pattern->block_rows, pattern->block_cols, pattern->nnzb, pattern->row_ptr,
                         pattern->col_idx) != TRIAGE_OK)
        fail_msg("%s", triage_last_error());
    tri_pattern_free(&copy);
}

/* ---- random ---- */

static void random_has_the_count_spread_evenly(void **state) {
    (void)state;
    const double sparsities[] = {0, 0.1, 0.5, 0.9, 0.95, 0.999, 1};
    const int64_t sizes[][2] = {{1, 1}, {3, 5}, {64, 64}, {100, 7}, {1, 1000}, {128, 130}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < sizeof sparsities / sizeof *sparsities; i++) {
            tri_pattern p;
            int64_t rows = sizes[s][0], all = rows * sizes[s][1];
            assert_int_equal(tri_pattern_random(&p, rows, sizes[s][1], sparsities[i], 7), TRIAGE_OK);
            assert_int_equal(p.nnzb, (int64_t)((1 - sparsities[i]) * (double)all + 0.5));
            assert_valid(&p);
            for (int64_t row = 0; row < rows; row++)
                assert_in_range(p.row_ptr[row + 1] - p.row_ptr[row], p.nnzb / rows,
                                (p.nnzb + rows - 1) / rows);
            tri_pattern_free(&p);
        }
}

static void random_depends_on_the_seed_alone(void **state) {
    (void)state;
    tri_pattern a, b, c;
    assert_int_equal(tri_pattern_random(&a, 64, 64, 0.8, 1), TRIAGE_OK);
    assert_int_equal(tri_pattern_random(&b, 64, 64, 0.8, 1), TRIAGE_OK);
    assert_int_equal(tri_pattern_random(&c, 64, 64, 0.8, 2), TRIAGE_OK);
    assert_memory_equal(a.col_idx, b.col_idx, (size_t)a.nnzb * 4);
    assert_memory_not_equal(a.col_idx, c.col_idx, (size_t)a.nnzb * 4);
    const int32_t first[] = {5,  10, 11, 15, 22, 32, 39,
                             49, 54, 56, 57, 61, 3}; /* the same on every machine */
    assert_memory_equal(a.col_idx, first, sizeof first);
    tri_pattern_free(&a);
    tri_pattern_free(&b);
    tri_pattern_free(&c);
}

static void random_uses_all_columns_alike(void **state) {
    (void)state;
    tri_pattern p;
    int counts[50] = {0};
    assert_int_equal(tri_pattern_random(&p, 10000, 50, 0.9, 3), TRIAGE_OK);
    for (int64_t i = 0; i < p.nnzb; i++)
        counts[p.col_idx[i]]++;
    for (int i = 0; i < 50; i++)
        assert_in_range(counts[i], 850, 1150); /* 1000, five sigma */
    tri_pattern_free(&p);
}

static void random_refuses(void **state) {
    (void)state;
    tri_pattern p;
    double nan = strtod("nan", NULL);
    assert_int_equal(tri_pattern_random(&p, 4, 4, -0.1, 1), TRIAGE_E_INVALID);
    assert_int_equal(tri_pattern_random(&p, 4, 4, 1.1, 1), TRIAGE_E_INVALID);
    assert_string_equal(triage_last_error(), "sparsity is 1.1; allowed 0 .. 1");
    assert_int_equal(tri_pattern_random(&p, 4, 4, nan, 1), TRIAGE_E_INVALID);
    assert_int_equal(tri_pattern_random(&p, 0, 4, 0.5, 1), TRIAGE_E_INVALID);
    assert_int_equal(tri_pattern_random(&p, 4, -1, 0.5, 1), TRIAGE_E_INVALID);
    assert_int_equal(tri_pattern_random(&p, INT64_MAX, INT64_MAX, 0.5, 1), TRIAGE_E_INVALID);
    assert_int_equal(tri_pattern_random(&p, 1 << 20, 1 << 20, 0.5, 1), TRIAGE_E_INVALID);
    assert_null(p.row_ptr);
    assert_null(p.col_idx);
    tri_pattern_free(&p);
    tri_pattern_free(NULL);
}

/* ---- arrays ---- */

static void copy_refuses(void **state) {
    (void)state;
    tri_pattern p;
    static const struct {
        int64_t rows, cols, nnzb;
        int32_t row_ptr[4], col_idx[4];
        const char *message;
    } cases[] = {
        {3, 4, 3, {1, 1, 2, 3}, {0, 1, 2}, "row_ptr[0] is 1; it must be 0"},
        {3, 4, 3, {0, 2, 1, 3}, {0, 1, 2}, "row_ptr[2] is 1; allowed 2 .. 3"},
        {3, 4, 3, {0, 4, 1, 3}, {0, 1, 2}, "row_ptr[1] is 4; allowed 0 .. 3"},
        {3, 4, 3, {0, -1, 1, 3}, {0, 1, 2}, "row_ptr[1] is -1; allowed 0 .. 3"},
        {3, 4, 3, {0, 1, 1, 2}, {0, 1, 2}, "row_ptr[3] is 2; it must be nnzb, 3"},
        {3, 4, 3, {0, 1, 1, 3}, {0, 4, 2}, "block row 2: col_idx[1] is 4; allowed 0 .. 3"},
        {3, 4, 3, {0, 1, 1, 3}, {0, -1, 2}, "block row 2: col_idx[1] is -1; allowed 0 .. 3"},
        {3,
         4,
         3,
         {0, 1, 1, 3},
         {0, 2, 2},
         "block row 2: col_idx[2] is 2 after 2; columns must ascend without repetition"},
        {3,
         4,
         3,
         {0, 1, 1, 3},
         {0, 2, 1},
         "block row 2: col_idx[2] is 1 after 2; columns must ascend without repetition"},
        {3, 4, -1, {0, 0, 0, 0}, {0}, "a pattern of -1 stored blocks; allowed 0 .. 12"},
        {3, 4, 13, {0, 0, 0, 0}, {0}, "a pattern of 13 stored blocks; allowed 0 .. 12"},
        {0,
         4,
         0,
         {0, 0, 0, 0},
         {0},
         "a pattern of 0 x 4 blocks; allowed 1 .. 2147483646 rows and 1 .. 2147483647 columns"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tri_pattern_copy(&p, cases[i].rows, cases[i].cols, cases[i].nnzb, cases[i].row_ptr,
                                          cases[i].col_idx),
                         TRIAGE_E_DATA);
        assert_string_equal(triage_last_error(), cases[i].message);
        assert_null(p.row_ptr);
    }
    const int32_t empty[] = {0, 0};
    assert_int_equal(tri_pattern_copy(&p, 1, 1, 0, empty, NULL), TRIAGE_OK);
    tri_pattern_free(&p);
}

/* ---- files ---- */

static triage_status read_text(tri_pattern *out, const char *text) {
    scratch_write(folder, "p", text, 0600);
    return tri_pattern_read(out, scratch_path(folder, "p"));
}

/* text is refused with `message` after the path. */
static void assert_refused(const char *text, const char *message) {
    tri_pattern p;
    char expected[256];
    triage_status status = read_text(&p, text);
    snprintf(expected, sizeof expected, "%s/p:%s", folder, message);
    if (status != TRIAGE_E_DATA || strcmp(triage_last_error(), expected) != 0)
        fail_msg("status %d, '%s' where '%s' belongs, for:\n%s", (int)status, triage_last_error(), expected,
                 text);
    assert_null(p.row_ptr);
    assert_null(p.col_idx);
}

static void assert_pattern(const tri_pattern *p, int64_t rows, int64_t cols, int64_t nnzb,
                           const int32_t *row_ptr, const int32_t *col_idx) {
    assert_int_equal(p->block_rows, rows);
    assert_int_equal(p->block_cols, cols);
    assert_int_equal(p->nnzb, nnzb);
    assert_memory_equal(p->row_ptr, row_ptr, (size_t)(rows + 1) * 4);
    if (nnzb)
        assert_memory_equal(p->col_idx, col_idx, (size_t)nnzb * 4);
}

static void reads_a_real_pattern(void **state) {
    (void)state;
    tri_pattern p;
    tri_fingerprint f;
    assert_int_equal(tri_pattern_read(&p, SMALL), TRIAGE_OK);
    assert_int_equal(p.block_rows, 512);
    assert_int_equal(p.block_cols, 2048);
    assert_int_equal(p.nnzb, 20119);
    assert_int_equal(p.row_ptr[1], 47);
    assert_valid(&p);
    tri_fingerprint_of(&f, &p);
    assert_int_equal(f.density_e4, 190); /* 20119 / (512 * 2048) = 1.92 % */
    assert_int_equal(f.imbalance_e1, 28);
    assert_int_equal(f.overlap_e1, 2);
    tri_pattern_free(&p);
}

static void reads_smtx(void **state) {
    (void)state;
    tri_pattern p;
    const int32_t row_ptr[] = {0, 2, 2, 3}, col_idx[] = {0, 3, 1}, none[] = {0, 0, 0};
    const char *texts[] = {"3, 4, 3\n0 2 2 3\n0 3 1\n", "3,4,3\n0 2 2 3 \n0 3 1 ",
                           "3, 4, 3\r\n0 2 2 3\r\n0 3 1\r\n\r\n", " 3 ,\t4 , 3\n 0 2 2 3\n 0 3 1\n\n \n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(read_text(&p, texts[i]), TRIAGE_OK);
        assert_pattern(&p, 3, 4, 3, row_ptr, col_idx);
        tri_pattern_free(&p);
    }
    assert_int_equal(read_text(&p, "2, 4, 0\n0 0 0\n\n"), TRIAGE_OK);
    assert_pattern(&p, 2, 4, 0, none, NULL);
    tri_pattern_free(&p);
    assert_int_equal(read_text(&p, "2, 4, 0\n0 0 0"), TRIAGE_OK);
    tri_pattern_free(&p);
}

static void refuses_smtx_headers(void **state) {
    (void)state;
    assert_refused("", "1: the line ends where rows belongs");
    assert_refused("\n", "1: the line ends where rows belongs");
    assert_refused("hello\n", "1: rows: 'hello' is not a whole number; allowed 1 .. 2147483646");
    assert_refused("-3, 4, 3\n", "1: rows: '-3,' is not a whole number; allowed 1 .. 2147483646");
    assert_refused("3x, 4, 3\n", "1: rows: '3x,' is not a whole number; allowed 1 .. 2147483646");
    assert_refused("0, 4, 0\n0\n", "1: rows: 0 is out of range; allowed 1 .. 2147483646");
    assert_refused("3 4 3\n", "1: '4' where a comma belongs; line 1 is 'rows, cols, nnz'");
    assert_refused("3, 4\n", "1: '' where a comma belongs; line 1 is 'rows, cols, nnz'");
    assert_refused("3, 4, \n", "1: the line ends where nnz belongs");
    assert_refused("3, 4, 3, 5\n0 1 2 3\n0 0 0\n", "1: ',' after nnz");
    assert_refused("3, 4, 13\n", "1: 13 nonzeros in 3 x 4");
    assert_refused("99999999999999999999999, 4, 3\n",
                   "1: rows: 99999999999999999999999 is out of range; allowed 1 .. 2147483646");
    assert_refused("2000000000, 2000000000, 2000000000\n0 1\n",
                   "1: 4000000001 numbers are promised but the file has room for 3 at most");
}

static void refuses_smtx_bodies(void **state) {
    (void)state;
    assert_refused("3, 4, 3\n0 2 2\n0 3 1\n", "2: the line ends where a row offset belongs");
    assert_refused("3, 4, 3\n0 2 2 3 3\n0 3 1\n", "2: '3' after the last row offset");
    assert_refused("3, 4, 3\n1 2 2 3\n0 3 1\n", "2: row offset 0 is 1; allowed 0 .. 0");
    assert_refused("3, 4, 3\n0 2 1 3\n0 3 1\n", "2: row offset 2 is 1; allowed 2 .. 3");
    assert_refused("3, 4, 3\n0 2 4 3\n0 3 1\n", "2: row offset 2 is 4; allowed 2 .. 3");
    assert_refused("3, 4, 3\n0 2 2 2\n0 3\n", "2: row offset 3 is 2; allowed 3 .. 3");
    assert_refused("3, 4, 3\n0 2 two 3\n0 3 1\n",
                   "2: a row offset: 'two' is not a whole number; allowed 0 .. 2147483647");
    assert_refused("3, 4, 3\n0 2 2 3\n0 3\n", "3: the line ends where a column index belongs");
    assert_refused("3, 4, 3\n0 2 2 3\n0 4 1\n", "3: a column index: 4 is out of range; allowed 0 .. 3");
    assert_refused("3, 4, 3\n0 2 2 3\n0 -1 1\n",
                   "3: a column index: '-1' is not a whole number; allowed 0 .. 3");
    assert_refused("3, 4, 3\n0 2 2 3\n3 0 1\n",
                   "3: row 0: column 0 after 3; columns must ascend without repetition");
    assert_refused("3, 4, 3\n0 2 2 3\n3 3 1\n",
                   "3: row 0: column 3 after 3; columns must ascend without repetition");
    assert_refused("3, 4, 3\n0 2 2 3\n0 3 1 2\n", "3: '2' after the last column index");
    assert_refused("3, 4, 3\n0 2 2 3\n0 3 1\n\n7\n", "5: '7' after the end of the pattern");
    assert_refused("3, 4, 3\n0 2 2 3\n", "1: 7 numbers are promised but the file has room for 5 at most");
}

static void refuses_every_truncation(void **state) {
    (void)state;
    const char whole[] = "3, 4, 3\n0 2 2 3\n0 3 1";
    for (size_t size = 0; size + 1 < sizeof whole - 1; size++) {
        tri_pattern p;
        char text[sizeof whole];
        memcpy(text, whole, size);
        text[size] = '\0';
        assert_int_equal(read_text(&p, text), TRIAGE_E_DATA);
    }
}

static void refuses_bytes_that_are_no_text(void **state) {
    (void)state;
    tri_pattern p;
    const char *path = scratch_path(folder, "p");
    tri_random random;
    char bytes[200];
    tri_random_seed(&random, 1);
    for (int i = 0; i < 300; i++) {
        for (size_t j = 0; j < sizeof bytes; j++)
            bytes[j] = (char)tri_random_next(&random);
        if (i % 2)
            memcpy(bytes, "%%MatrixMarket matrix coordinate pattern general\n", 49);
        assert_int_equal(tri_file_write_atomic(path, bytes, sizeof bytes, 0600), TRIAGE_OK);
        assert_int_equal(tri_pattern_read(&p, path), TRIAGE_E_DATA);
        assert_null(strchr(triage_last_error(), '\n'));
    }
    assert_int_equal(tri_file_write_atomic(path, "3, 4, 3\n0 2\0002 3\n0 3 1\n", 22, 0600), TRIAGE_OK);
    assert_int_equal(tri_pattern_read(&p, path), TRIAGE_E_DATA);
}

static void refuses_files_that_cannot_be_read(void **state) {
    (void)state;
    tri_pattern p;
    assert_int_equal(tri_pattern_read(&p, scratch_path(folder, "none.smtx")), TRIAGE_E_DATA);
    assert_non_null(strstr(triage_last_error(), "none.smtx: cannot read"));
    assert_int_equal(tri_pattern_read(&p, folder), TRIAGE_E_DATA);
}

static void reads_mtx(void **state) {
    (void)state;
    tri_pattern p;
    const int32_t row_ptr[] = {0, 2, 2, 3}, col_idx[] = {0, 3, 1}, none[] = {0, 0};
    const char *texts[] = {
        "%%MatrixMarket matrix coordinate pattern general\n3 4 3\n3 2\n1 4\n1 1\n",
        "%%MatrixMarket matrix coordinate real general\n% a comment\n%\n\n3 4 3\n1 1 1e-3\n3 2 -0.5\n1 4 "
        "+2.5E+1",
        "%%matrixmarket MATRIX Coordinate Integer General\r\n3 4 3\r\n1 4 7\r\n\r\n3 2 -1\r\n1 1 0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (read_text(&p, texts[i]) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        assert_pattern(&p, 3, 4, 3, row_ptr, col_idx);
        tri_pattern_free(&p);
    }
    assert_int_equal(read_text(&p, "%%MatrixMarket matrix coordinate pattern general\n1 9 0\n"), TRIAGE_OK);
    assert_pattern(&p, 1, 9, 0, none, NULL);
    tri_pattern_free(&p);
}

/* What other programs write: a mark of UTF-8, comments and blank lines anywhere, one triangle for two. */
static void reads_mtx_of_others(void **state) {
    (void)state;
    tri_pattern p;
    const int32_t one_ptr[] = {0, 1, 1, 1, 1}, one[] = {0}, two_ptr[] = {0, 1, 1, 1, 2}, two[] = {0, 3};
    const int32_t symmetric_ptr[] = {0, 2, 4, 5, 6}, symmetric[] = {0, 1, 0, 3, 2, 1};
    const int32_t skew_ptr[] = {0, 1, 2, 3, 4}, skew[] = {1, 0, 3, 2};
    const int32_t pattern_ptr[] = {0, 2, 2, 3, 4}, pattern[] = {0, 2, 0, 3};
    const struct {
        const char *name;
        int64_t nnzb;
        const int32_t *row_ptr, *col_idx;
    } cases[] = {{"bom.mtx", 1, one_ptr, one},         {"comment_after_sizes_indented.mtx", 1, one_ptr, one},
                 {"comment_end.mtx", 1, one_ptr, one}, {"comment_inside.mtx", 2, two_ptr, two},
                 {"crlf.mtx", 2, two_ptr, two},        {"symmetric.mtx", 6, symmetric_ptr, symmetric},
                 {"skew.mtx", 4, skew_ptr, skew},      {"pattern_symmetric.mtx", 4, pattern_ptr, pattern}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        snprintf(path, sizeof path, TRI_SOURCE_DIR "/tests/data/patterns/%s", cases[i].name);
        if (tri_pattern_read(&p, path) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        assert_pattern(&p, 4, 4, cases[i].nnzb, cases[i].row_ptr, cases[i].col_idx);
        tri_pattern_free(&p);
    }
}

/* Packed by gzip, and by scipy: each nonzero of CSR, each block of BSR is a block. */
static void reads_packed_files(void **state) {
    (void)state;
    static const char *const names[] = {"packed.mtx.gz", "csr.npz", "csr_plain.npz", "bsr.npz"};
    const int32_t row_ptr[] = {0, 2, 2, 3, 4}, col_idx[] = {0, 3, 1, 2};
    tri_pattern p;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512], *whole = NULL;
        size_t size = 0;
        snprintf(path, sizeof path, TRI_SOURCE_DIR "/tests/data/patterns/%s", names[i]);
        if (tri_pattern_read(&p, path) != TRIAGE_OK)
            fail_msg("%s", triage_last_error());
        assert_pattern(&p, 4, 4, 4, row_ptr, col_idx);
        tri_pattern_free(&p);
        assert_int_equal(tri_file_read(&whole, &size, path, 0), TRIAGE_OK);
        tri_random random;
        tri_random_seed(&random, i);
        for (int damaged = 0; damaged < 500; damaged++) { /* some are still right: a time stamp, a value */
            const size_t cut = damaged % 2 ? size - tri_random_below(&random, size) : size;
            char *copy = malloc(size);
            memcpy(copy, whole, size);
            copy[tri_random_below(&random, size)] = (char)tri_random_next(&random);
            assert_int_equal(tri_file_write_atomic(scratch_path(folder, "p"), copy, cut, 0600), TRIAGE_OK);
            const triage_status status = tri_pattern_read(&p, scratch_path(folder, "p"));
            assert_true(status == TRIAGE_OK || status == TRIAGE_E_DATA);
            if (status == TRIAGE_OK)
                assert_valid(&p);
            tri_pattern_free(&p);
            free(copy);
        }
        free(whole);
    }
}

#define PATTERN "%%MatrixMarket matrix coordinate pattern general\n"
#define REAL "%%MatrixMarket matrix coordinate real general\n"

static void refuses_mtx(void **state) {
    (void)state;
    assert_refused("%%MatrixMarket matrix array real general\n",
                   "1: only '%%MatrixMarket matrix coordinate' files are read");
    assert_refused("%%MatrixMarket matrix coordinate complex general\n",
                   "1: field 'complex'; allowed real, integer, pattern");
    assert_refused("%%MatrixMarket matrix coordinate real hermitian\n3 3 1\n1 1 1\n",
                   "1: symmetry 'hermitian'; allowed general, symmetric, skew-symmetric");
    assert_refused("%%MatrixMarket matrix coordinate real symmetric\n3 4 1\n1 1 1\n",
                   "2: 3 x 4 is not square, as a symmetric matrix is");
    assert_refused("%%MatrixMarket matrix coordinate pattern symmetric\n3 3 1\n1 2\n",
                   "3: row 1 column 2 is not below the diagonal of a symmetric matrix");
    assert_refused("%%MatrixMarket matrix coordinate pattern skew-symmetric\n3 3 1\n2 2\n",
                   "3: row 2 column 2 is not below the diagonal of a skew-symmetric matrix");
    assert_refused("% a comment where the banner belongs\n4 4 2\n1 1\n2 3\n",
                   "1: the first line of a Matrix Market file begins with '%%MatrixMarket', not '%'");
    assert_refused(PATTERN, "2: the line ends where rows belongs");
    assert_refused(PATTERN "3 4\n", "2: the line ends where nnz belongs");
    assert_refused(PATTERN "3 4 13\n", "2: 13 nonzeros in 3 x 4");
    assert_refused(PATTERN "3 4 3\n1 1\n", "2: 6 numbers are promised but the file has room for 3 at most");
    assert_refused(PATTERN "900000000 4 1\n1 1\n",
                   "2: rows: 900000000 is out of range; allowed 1 .. 67108864");
    assert_refused(PATTERN "3 4 2\n1 1\n     ", "4: the line ends where a row belongs");
    assert_refused(PATTERN "3 4 1\n0 1\n", "3: a row: 0 is out of range; allowed 1 .. 3");
    assert_refused(PATTERN "3 4 1\n1 5\n", "3: a column: 5 is out of range; allowed 1 .. 4");
    assert_refused(PATTERN "3 4 1\n1 1 1\n", "3: '1' after the entry");
    assert_refused(PATTERN "3 4 1\n1 1\n2 2\n", "4: '2' after the end of the pattern");
    assert_refused(PATTERN "3 4 3\n1 2\n3 1\n1 2\n", "5: row 1 column 2 again; it is on line 3 already");
    assert_refused(REAL "3 4 1\n1 1\n", "3: the line ends where a value belongs");
    assert_refused(REAL "3 4 1\n1 1 x\n", "3: 'x' is not a value");
    assert_refused(REAL "3 4 1\n1 1 nan\n", "3: 'nan' is not a value");
}

/* ---- fingerprints ---- */

static void fingerprint_does_not_depend_on_the_seed(void **state) {
    (void)state;
    const double sparsities[] = {0, 0.3, 0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999, 1};
    const int64_t sizes[][2] = {{8, 8}, {16, 64}, {64, 64}, {128, 128}, {512, 512}, {32, 200}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < sizeof sparsities / sizeof *sparsities; i++) {
            tri_fingerprint first, other;
            for (uint64_t seed = 0; seed < 12; seed++) {
                tri_pattern p;
                assert_int_equal(tri_pattern_random(&p, sizes[s][0], sizes[s][1], sparsities[i], seed),
                                 TRIAGE_OK);
                tri_fingerprint_of(seed ? &other : &first, &p);
                tri_pattern_free(&p);
                if (seed)
                    assert_memory_equal(&first, &other, sizeof first);
            }
        }
}

static void fingerprint_tells_kinds_apart(void **state) {
    (void)state;
    tri_pattern random, band, uneven;
    tri_fingerprint f;
    assert_int_equal(tri_pattern_random(&random, 128, 128, 0.9, 1), TRIAGE_OK);
    tri_fingerprint_of(&f, &random);
    assert_int_equal(f.density_e4, 1000);
    assert_int_equal(f.imbalance_e1, 10);
    assert_int_equal(f.overlap_e1, 1);
    tri_pattern_free(&random);

    int32_t row_ptr[65], col_idx[64 * 4];
    for (int i = 0; i <= 64; i++)
        row_ptr[i] = 4 * i;
    for (int i = 0; i < 256; i++)
        col_idx[i] = i / 4 + i % 4;
    assert_int_equal(tri_pattern_copy(&band, 64, 67, 256, row_ptr, col_idx), TRIAGE_OK);
    tri_fingerprint_of(&f, &band);
    assert_int_equal(f.overlap_e1, 8); /* 3 of 4, 7.5 */
    tri_pattern_free(&band);

    for (int i = 1; i <= 64; i++)
        row_ptr[i] = 64; /* one row has them all: 64 times the mean */
    for (int i = 0; i < 64; i++)
        col_idx[i] = i;
    assert_int_equal(tri_pattern_copy(&uneven, 64, 64, 64, row_ptr, col_idx), TRIAGE_OK);
    tri_fingerprint_of(&f, &uneven);
    assert_int_equal(f.density_e4, 160); /* 1.5625 %, two digits */
    assert_int_equal(f.imbalance_e1, 640);
    assert_int_equal(f.overlap_e1, 0);
    tri_pattern_free(&uneven);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_has_the_count_spread_evenly),
        cmocka_unit_test(random_depends_on_the_seed_alone),
        cmocka_unit_test(random_uses_all_columns_alike),
        cmocka_unit_test(random_refuses),
        cmocka_unit_test(copy_refuses),
        cmocka_unit_test(reads_a_real_pattern),
        cmocka_unit_test(reads_smtx),
        cmocka_unit_test(refuses_smtx_headers),
        cmocka_unit_test(refuses_smtx_bodies),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_bytes_that_are_no_text),
        cmocka_unit_test(refuses_files_that_cannot_be_read),
        cmocka_unit_test(reads_mtx),
        cmocka_unit_test(reads_mtx_of_others),
        cmocka_unit_test(reads_packed_files),
        cmocka_unit_test(refuses_mtx),
        cmocka_unit_test(fingerprint_does_not_depend_on_the_seed),
        cmocka_unit_test(fingerprint_tells_kinds_apart),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
