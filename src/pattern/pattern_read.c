/* Patterns from files: .smtx (DLMC), .mtx (Matrix Market), either also by gzip, and .npz (scipy). Every violation of a text
 * is one line `file:line: ...`. */
#include "base/inflate.h"
#include "pattern/npz.h"
#include "pattern/pattern.h"

#include <ctype.h>
#include <float.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SIZE_LIMIT INT64_C(2147483647)
#define ROWS_LIMIT (INT64_C(1) << 26) /* an .mtx of ten bytes may name any number of rows */

typedef struct reader {
    const char *path;
    const char *at, *end;
    int64_t line; /* 1-based, of `at` */
} reader;

static triage_status __attribute__((format(printf, 3, 4)))
fail_at(const reader *in, int64_t line, const char *format, ...) {
    char what[512];
    va_list args;
    va_start(args, format);
    /* clang 14 does not see va_start here: NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return tri_fail(TRIAGE_E_DATA, "%s:%" PRId64 ": %s", in->path, line, what);
}

static void skip_blanks(reader *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\r'))
        in->at++;
}

static bool at_line_end(reader *in) {
    skip_blanks(in);
    return in->at == in->end || *in->at == '\n';
}

static void next_line(reader *in) {
    while (in->at < in->end && *in->at != '\n')
        in->at++;
    if (in->at < in->end) {
        in->at++;
        in->line++;
    }
}

/* The word at the reader, for messages: its first bytes. */
static int word_size(const reader *in) {
    int size = 0;
    while (in->at + size < in->end && size < 32 && !isspace((unsigned char)in->at[size]))
        size++;
    return size;
}

static triage_status read_number(int64_t *out, reader *in, int64_t low, int64_t high, const char *what) {
    if (at_line_end(in))
        return fail_at(in, in->line, "the line ends where %s belongs", what);
    const char *digit = in->at;
    int64_t value = 0;
    for (; digit < in->end && isdigit((unsigned char)*digit); digit++)
        value = value > SIZE_LIMIT ? value : value * 10 + (*digit - '0');
    bool ends = digit == in->end || isspace((unsigned char)*digit) || *digit == ',';
    if (digit == in->at || !ends)
        return fail_at(in, in->line, "%s: '%.*s' is not a whole number; allowed %" PRId64 " .. %" PRId64,
                       what, word_size(in), in->at, low, high);
    if (value < low || value > high)
        return fail_at(in, in->line, "%s: %.*s is out of range; allowed %" PRId64 " .. %" PRId64, what,
                       (int)(digit - in->at < 32 ? digit - in->at : 32), in->at, low, high);
    in->at = digit;
    *out = value;
    return TRIAGE_OK;
}

static triage_status expect_line_end(reader *in, const char *after) {
    if (!at_line_end(in))
        return fail_at(in, in->line, "'%.*s' after %s", word_size(in), in->at, after);
    next_line(in);
    return TRIAGE_OK;
}

static triage_status expect_file_end(reader *in) {
    while (in->at < in->end) {
        if (!at_line_end(in))
            return fail_at(in, in->line, "'%.*s' after the end of the pattern", word_size(in), in->at);
        next_line(in);
    }
    return TRIAGE_OK;
}

/* Each number is a digit and a separator at least, so the file's size bounds what it may promise. */
static triage_status check_room(const reader *in, int64_t line, int64_t numbers) {
    int64_t room = (in->end - in->at) / 2 + 1;
    if (numbers <= room)
        return TRIAGE_OK;
    return fail_at(in, line, "%" PRId64 " numbers are promised but the file has room for %" PRId64 " at most",
                   numbers, room);
}

static triage_status check_nnz(const reader *in, const tri_pattern *pattern) {
    if (pattern->nnzb <= pattern->block_rows * pattern->block_cols)
        return TRIAGE_OK;
    return fail_at(in, in->line, "%" PRId64 " nonzeros in %" PRId64 " x %" PRId64, pattern->nnzb,
                   pattern->block_rows, pattern->block_cols);
}

static triage_status allocate(tri_pattern *out) {
    triage_status status = tri_calloc(&out->row_ptr, (size_t)out->block_rows + 1, sizeof *out->row_ptr);
    if (status == TRIAGE_OK)
        status = tri_calloc(&out->col_idx, (size_t)out->nnzb, sizeof *out->col_idx);
    return status;
}

/* ---- .smtx ---- */

static triage_status read_comma(reader *in) {
    skip_blanks(in);
    if (in->at == in->end || *in->at != ',')
        return fail_at(in, in->line, "'%.*s' where a comma belongs; line 1 is 'rows, cols, nnz'",
                       word_size(in), in->at);
    in->at++;
    return TRIAGE_OK;
}

static triage_status read_smtx_header(tri_pattern *out, reader *in) {
    triage_status status;
    TRI_TRY(read_number(&out->block_rows, in, 1, SIZE_LIMIT - 1, "rows"));
    TRI_TRY(read_comma(in));
    TRI_TRY(read_number(&out->block_cols, in, 1, SIZE_LIMIT, "cols"));
    TRI_TRY(read_comma(in));
    TRI_TRY(read_number(&out->nnzb, in, 0, SIZE_LIMIT, "nnz"));
    TRI_TRY(check_nnz(in, out));
    TRI_TRY(expect_line_end(in, "nnz"));
    TRI_TRY(check_room(in, 1, out->block_rows + 1 + out->nnzb));
done:
    return status;
}

static triage_status read_offsets(tri_pattern *out, reader *in) {
    for (int64_t row = 0; row <= out->block_rows; row++) {
        int64_t offset = 0;
        triage_status status = read_number(&offset, in, 0, SIZE_LIMIT, "a row offset");
        if (status != TRIAGE_OK)
            return status;
        int64_t low = row == 0 ? 0 : out->row_ptr[row - 1];
        int64_t high = row == 0 ? 0 : out->nnzb;
        low = row == out->block_rows ? high : low;
        if (offset < low || offset > high)
            return fail_at(in, in->line,
                           "row offset %" PRId64 " is %" PRId64 "; allowed %" PRId64 " .. %" PRId64, row,
                           offset, low, high);
        out->row_ptr[row] = (int32_t)offset;
    }
    return expect_line_end(in, "the last row offset");
}

static triage_status read_indices(tri_pattern *out, reader *in) {
    for (int64_t row = 0; row < out->block_rows; row++) {
        int64_t last = -1;
        for (int32_t i = out->row_ptr[row]; i < out->row_ptr[row + 1]; i++) {
            int64_t col = 0;
            triage_status status = read_number(&col, in, 0, out->block_cols - 1, "a column index");
            if (status != TRIAGE_OK)
                return status;
            if (col <= last)
                return fail_at(in, in->line,
                               "row %" PRId64 ": column %" PRId64 " after %" PRId64
                               "; columns must ascend without repetition",
                               row, col, last);
            out->col_idx[i] = (int32_t)col;
            last = col;
        }
    }
    return expect_line_end(in, "the last column index");
}

static triage_status read_smtx(tri_pattern *out, reader *in) {
    triage_status status;
    TRI_TRY(read_smtx_header(out, in));
    TRI_TRY(allocate(out));
    TRI_TRY(read_offsets(out, in));
    TRI_TRY(read_indices(out, in));
    TRI_TRY(expect_file_end(in));
done:
    return status;
}

/* ---- .mtx ---- */

typedef struct entry {
    int32_t row, col, line;
} entry;

static const char banner[] = "%%MatrixMarket";

static bool take_word(reader *in, const char *word) {
    skip_blanks(in);
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || strncasecmp(in->at, word, size) != 0)
        return false;
    if (in->at + size < in->end && !isspace((unsigned char)in->at[size]))
        return false;
    in->at += size;
    return true;
}

/* What the first line says. */
typedef struct kind {
    bool has_values, mirrored; /* mirrored: one triangle stands for both */
    bool skew;                 /* with nothing on the diagonal */
} kind;

static triage_status read_banner(kind *out, reader *in) {
    if (!take_word(in, banner))
        return fail_at(in, 1, "the first line of a Matrix Market file begins with '%s', not '%.*s'", banner,
                       word_size(in), in->at);
    if (!take_word(in, "matrix") || !take_word(in, "coordinate"))
        return fail_at(in, 1, "only '%s matrix coordinate' files are read", banner);
    out->has_values = !take_word(in, "pattern");
    if (out->has_values && !take_word(in, "real") && !take_word(in, "integer"))
        return fail_at(in, 1, "field '%.*s'; allowed real, integer, pattern", word_size(in), in->at);
    out->skew = take_word(in, "skew-symmetric");
    out->mirrored = out->skew || take_word(in, "symmetric");
    if (!out->mirrored && !take_word(in, "general"))
        return fail_at(in, 1, "symmetry '%.*s'; allowed general, symmetric, skew-symmetric", word_size(in),
                       in->at);
    return expect_line_end(in, "the symmetry");
}

/* Comments and blank lines may stand anywhere after the first line. */
static void skip_comments(reader *in) {
    while (in->at < in->end && (at_line_end(in) || *in->at == '%'))
        next_line(in);
}

static triage_status read_mtx_sizes(tri_pattern *out, reader *in, const kind *of) {
    triage_status status;
    TRI_TRY(read_number(&out->block_rows, in, 1, ROWS_LIMIT, "rows"));
    TRI_TRY(read_number(&out->block_cols, in, 1, SIZE_LIMIT, "cols"));
    TRI_TRY(read_number(&out->nnzb, in, 0, SIZE_LIMIT, "nnz"));
    TRI_TRY(check_nnz(in, out));
    if (of->mirrored && out->block_rows != out->block_cols)
        return fail_at(in, in->line, "%" PRId64 " x %" PRId64 " is not square, as a symmetric matrix is",
                       out->block_rows, out->block_cols);
    int64_t line = in->line;
    TRI_TRY(expect_line_end(in, "nnz"));
    TRI_TRY(check_room(in, line, 2 * out->nnzb));
done:
    return status;
}

/* Only the place counts, but a value that is none is a sign of a broken file. */
static triage_status read_value(reader *in) {
    char word[64];
    double value;
    if (at_line_end(in))
        return fail_at(in, in->line, "the line ends where a value belongs");
    size_t size = 0;
    for (; in->at < in->end && size < sizeof word - 1 && !isspace((unsigned char)*in->at); in->at++)
        word[size++] = *in->at;
    word[size] = '\0';
    if (tri_parse_double(&value, word + (word[0] == '+'), -DBL_MAX, DBL_MAX, "value") != TRIAGE_OK)
        return fail_at(in, in->line, "'%s' is not a value", word);
    return TRIAGE_OK;
}

static triage_status read_entry(entry *out, reader *in, const tri_pattern *pattern, const kind *of) {
    triage_status status;
    int64_t row = 0, col = 0;
    skip_comments(in);
    TRI_TRY(read_number(&row, in, 1, pattern->block_rows, "a row"));
    TRI_TRY(read_number(&col, in, 1, pattern->block_cols, "a column"));
    if (of->has_values)
        TRI_TRY(read_value(in));
    if (of->mirrored && (row < col || (of->skew && row == col)))
        return fail_at(in, in->line,
                       "row %" PRId64 " column %" PRId64 " is not below the diagonal of a %ssymmetric matrix",
                       row, col, of->skew ? "skew-" : "");
    *out = (entry){(int32_t)(row - 1), (int32_t)(col - 1), (int32_t)in->line};
    TRI_TRY(expect_line_end(in, "the entry"));
done:
    return status;
}

/* The other triangle. entries has room for twice as many. */
static void mirror(tri_pattern *out, entry *entries) {
    const int64_t read = out->nnzb;
    for (int64_t i = 0; i < read; i++)
        if (entries[i].row != entries[i].col)
            entries[out->nnzb++] = (entry){entries[i].col, entries[i].row, entries[i].line};
}

static int compare_entries(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    if (a->col != b->col)
        return a->col < b->col ? -1 : 1;
    return a->line < b->line ? -1 : a->line > b->line;
}

static triage_status store_entries(tri_pattern *out, const reader *in, const entry *entries) {
    for (int64_t i = 0; i < out->nnzb; i++) {
        const entry *e = &entries[i];
        if (i > 0 && e->row == e[-1].row && e->col == e[-1].col)
            return fail_at(in, e->line, "row %d column %d again; it is on line %d already", (int)e->row + 1,
                           (int)e->col + 1, (int)e[-1].line);
        out->row_ptr[e->row + 1]++;
        out->col_idx[i] = e->col;
    }
    for (int64_t row = 0; row < out->block_rows; row++)
        out->row_ptr[row + 1] += out->row_ptr[row];
    return TRIAGE_OK;
}

static triage_status read_mtx(tri_pattern *out, reader *in) {
    triage_status status;
    entry *entries = NULL;
    kind of = {0};
    TRI_TRY(read_banner(&of, in));
    skip_comments(in);
    TRI_TRY(read_mtx_sizes(out, in, &of));
    TRI_TRY(tri_calloc(&entries, (size_t)out->nnzb * (of.mirrored ? 2 : 1), sizeof *entries));
    for (int64_t i = 0; i < out->nnzb; i++)
        TRI_TRY(read_entry(&entries[i], in, out, &of));
    skip_comments(in);
    TRI_TRY(expect_file_end(in));
    if (of.mirrored)
        mirror(out, entries);
    TRI_TRY(allocate(out));
    qsort(entries, (size_t)out->nnzb, sizeof *entries, compare_entries);
    TRI_TRY(store_entries(out, in, entries));
done:
    free(entries);
    return status;
}

/* ---- which of them ---- */

#define UNPACKED_MAX ((size_t)256 << 20) /* as much as a file may have */

static bool begins_with(const char *text, size_t size, const char *start, size_t start_size) {
    return size >= start_size && memcmp(text, start, start_size) == 0;
}

/* Replaces *text by what gzip packed, if it is that. */
static triage_status unpack(char **text, size_t *size, const char *path) {
    char *whole = NULL;
    size_t whole_size = 0;
    if (!begins_with(*text, *size, "\x1f\x8b", 2))
        return TRIAGE_OK;
    const triage_status status =
        tri_inflate(&whole, &whole_size, *text, *size, TRI_INFLATE_GZIP, UNPACKED_MAX, path);
    if (status != TRIAGE_OK)
        return status;
    free(*text);
    *text = whole;
    *size = whole_size;
    return TRIAGE_OK;
}

static triage_status read_text(tri_pattern *out, const char *path, const char *text, size_t size) {
    static const char mark[] = "\xef\xbb\xbf"; /* UTF-8's, which some editors write */
    const size_t skipped = begins_with(text, size, mark, sizeof mark - 1) ? sizeof mark - 1 : 0;
    reader in = {.path = path, .at = text + skipped, .end = text + size, .line = 1};
    const size_t length = strlen(path);
    const bool is_mtx =
        (in.at < in.end && *in.at == '%') || (length > 4 && !strcmp(path + length - 4, ".mtx"));
    return is_mtx ? read_mtx(out, &in) : read_smtx(out, &in);
}

triage_status tri_pattern_read(tri_pattern *out, const char *path) {
    char *text = NULL;
    size_t size = 0;
    *out = (tri_pattern){0};
    triage_status status = tri_file_read(&text, &size, path, 0);
    if (status != TRIAGE_OK) /* an input that cannot be read is bad input */
        return status == TRIAGE_E_IO ? TRIAGE_E_DATA : status;
    status = unpack(&text, &size, path);
    if (status == TRIAGE_OK)
        status = begins_with(text, size, "PK\3\4", 4) ? tri_npz_read(out, path, text, size)
                                                      : read_text(out, path, text, size);
    free(text);
    if (status != TRIAGE_OK)
        tri_pattern_free(out);
    return status;
}
