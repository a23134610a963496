#include "pattern/npz.h"

#include "base/inflate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER_MAX ((size_t)1 << 30) /* bytes of one array */
#define INDEX_MAX INT64_C(2147483647)

typedef struct archive {
    const char *path;
    const unsigned char *data;
    size_t size;
} archive;

/* Little-endian, as zip and the machines we run on are. */
static uint32_t number(const unsigned char *at, int bytes) {
    uint32_t value = 0;
    for (int i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static triage_status fail_zip(const archive *of) {
    return tri_fail(TRIAGE_E_DATA, "%s: is no whole zip file, as scipy.sparse.save_npz writes it", of->path);
}

/* ---- zip ---- */

enum { END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30, COMMENT_MAX = 65535 };

/* The record at the end of the file. NULL: there is none. */
static const unsigned char *find_end(const archive *of) {
    const size_t most = of->size < END_SIZE + COMMENT_MAX ? of->size : END_SIZE + COMMENT_MAX;
    for (size_t back = END_SIZE; back <= most; back++)
        if (!memcmp(of->data + of->size - back, "PK\5\6", 4))
            return of->data + of->size - back;
    return NULL;
}

/* The member's entry in the directory; NULL: there is none, or the directory leaves the file. */
static const unsigned char *find_entry(const archive *of, const char *name) {
    const unsigned char *end = find_end(of);
    size_t at = end ? number(end + 16, 4) : of->size;
    for (uint32_t left = end ? number(end + 10, 2) : 0; left > 0; left--) {
        if (at > of->size || of->size - at < ENTRY_SIZE || memcmp(of->data + at, "PK\1\2", 4) != 0)
            return NULL;
        const unsigned char *entry = of->data + at;
        const size_t length = number(entry + 28, 2), more = number(entry + 30, 2) + number(entry + 32, 2);
        if (of->size - at - ENTRY_SIZE < length)
            return NULL;
        if (length == strlen(name) && !memcmp(entry + ENTRY_SIZE, name, length))
            return entry;
        at += ENTRY_SIZE + length + more;
    }
    return NULL;
}

/* A member's bytes, owned by the caller. */
static triage_status read_member(char **out, size_t *out_size, const archive *of, const char *name) {
    const unsigned char *entry = find_entry(of, name);
    if (!entry)
        return tri_fail(TRIAGE_E_DATA, "%s: has no %s: a CSR or BSR matrix of scipy.sparse.save_npz has",
                        of->path, name);
    const uint32_t method = number(entry + 10, 2), packed = number(entry + 20, 4),
                   whole = number(entry + 24, 4);
    const size_t local = number(entry + 42, 4);
    if (local > of->size || of->size - local < LOCAL_SIZE || (method != 0 && method != 8) ||
        whole > MEMBER_MAX)
        return fail_zip(of);
    const size_t start =
        local + LOCAL_SIZE + number(of->data + local + 26, 2) + number(of->data + local + 28, 2);
    if (start > of->size || of->size - start < packed || (method == 0 && packed != whole))
        return fail_zip(of);
    const char *data = (const char *)of->data + start;
    triage_status status = TRIAGE_OK;
    if (method == 8) {
        status = tri_inflate(out, out_size, data, packed, TRI_INFLATE_RAW, whole, of->path);
    } else {
        status = tri_calloc(out, (size_t)whole + 1, 1);
        if (status == TRIAGE_OK)
            memcpy(*out, data, whole);
        *out_size = whole;
    }
    return status;
}

/* ---- numpy's arrays ---- */

typedef struct array {
    char *bytes; /* owned: the whole member */
    const char *items;
    char kind; /* 'i', 'u', 'f', 'S', 'U', ... */
    size_t item_size, count;
    int64_t shape[4];
    int dims;
} array;

static triage_status fail_array(const archive *of, const char *name) {
    return tri_fail(TRIAGE_E_DATA, "%s: %s is not an array as scipy writes it", of->path, name);
}

/* "(4, 3)" of the header. */
static bool read_shape(array *out, const char *header) {
    const char *at = strstr(header, "'shape': (");
    if (!at)
        return false;
    at += strlen("'shape': (");
    out->count = 1;
    for (out->dims = 0; *at && *at != ')'; out->dims++) {
        char *end = NULL;
        const long long length = strtoll(at, &end, 10);
        if (end == at || out->dims == 4 || length < 0 || length > INDEX_MAX)
            return false;
        out->shape[out->dims] = length;
        if (__builtin_mul_overflow(out->count, (size_t)length, &out->count))
            return false;
        at = end + strspn(end, ", ");
    }
    return *at == ')';
}

/* 'descr': '<i4' */
static bool read_type(array *out, const char *header) {
    const char *at = strstr(header, "'descr': '");
    if (!at)
        return false;
    at += strlen("'descr': '");
    if (*at != '<' && *at != '|' && *at != '=')
        return false;
    out->kind = at[1];
    out->item_size = strtoul(at + 2, NULL, 10) * (out->kind == 'U' ? 4 : 1);
    return out->item_size <= 4096;
}

/* Version 1 has two bytes of the header's length, later ones four. */
static bool parse_array(array *out, size_t size) {
    const unsigned char *head = (const unsigned char *)out->bytes;
    if (size < 12 || memcmp(head, "\x93NUMPY", 6) != 0)
        return false;
    const size_t start = head[6] == 1 ? 10 : 12, length = number(head + 8, head[6] == 1 ? 2 : 4);
    if (length > size - start || length > 4096)
        return false;
    char header[4097];
    memcpy(header, head + start, length);
    header[length] = '\0';
    size_t bytes = 0;
    if (!read_type(out, header) || !read_shape(out, header) || strstr(header, "'fortran_order': True") ||
        __builtin_mul_overflow(out->count, out->item_size, &bytes) || bytes != size - start - length)
        return false;
    out->items = out->bytes + start + length;
    return true;
}

static triage_status read_array(array *out, const archive *of, const char *name) {
    size_t size = 0;
    triage_status status = read_member(&out->bytes, &size, of, name);
    if (status == TRIAGE_OK && !parse_array(out, size))
        status = fail_array(of, name);
    return status;
}

/* An integer of 4 or 8 bytes in low .. high. */
static triage_status read_integer(int64_t *out, const array *from, size_t i, int64_t low, int64_t high,
                                  const archive *of, const char *name) {
    int32_t half = 0;
    if (from->kind != 'i' || (from->item_size != 4 && from->item_size != 8))
        return fail_array(of, name);
    if (from->item_size == 4) {
        memcpy(&half, from->items + i * 4, 4);
        *out = half;
    } else {
        memcpy(out, from->items + i * 8, 8);
    }
    if (*out >= low && *out <= high)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "%s: %s[%zu] is %" PRId64 "; allowed %" PRId64 " .. %" PRId64, of->path,
                    name, i, *out, low, high);
}

/* ---- a matrix ---- */

typedef struct matrix {
    array format, shape, indptr, indices, data;
} matrix;

static bool format_is(const array *format, const char *word) {
    const size_t step = format->kind == 'U' ? 4 : 1;
    if (format->count != 1 || format->item_size < strlen(word) * step)
        return false;
    for (size_t i = 0; i < strlen(word); i++)
        if (format->items[i * step] != word[i])
            return false;
    return true;
}

/* How many elements a block of the pattern has, each way. */
static triage_status read_block(int64_t block[2], const matrix *m, const archive *of) {
    block[0] = block[1] = 1;
    if (format_is(&m->format, "csr"))
        return TRIAGE_OK;
    if (!format_is(&m->format, "bsr"))
        return tri_fail(TRIAGE_E_DATA, "%s: only CSR and BSR matrices are read", of->path);
    if (m->data.dims != 3 || m->data.shape[1] < 1 || m->data.shape[2] < 1)
        return fail_array(of, "data.npy");
    block[0] = m->data.shape[1];
    block[1] = m->data.shape[2];
    return TRIAGE_OK;
}

static triage_status read_sizes(tri_pattern *out, const matrix *m, const archive *of) {
    triage_status status = TRIAGE_OK;
    int64_t block[2], sizes[2];
    TRI_TRY(read_block(block, m, of));
    if (m->shape.count != 2)
        return fail_array(of, "shape.npy");
    for (size_t i = 0; i < 2; i++) {
        TRI_TRY(read_integer(&sizes[i], &m->shape, i, 1, INDEX_MAX, of, "shape"));
        if (sizes[i] % block[i] != 0)
            return tri_fail(TRIAGE_E_DATA, "%s: %" PRId64 " is no multiple of the block's %" PRId64, of->path,
                            sizes[i], block[i]);
    }
    if (format_is(&m->format, "bsr")) {
        out->file_block_rows = block[0];
        out->file_block_cols = block[1];
    }
    out->block_rows = sizes[0] / block[0];
    out->block_cols = sizes[1] / block[1];
    out->nnzb = (int64_t)m->indices.count;
    if (m->indptr.count != (size_t)out->block_rows + 1 || out->nnzb > INDEX_MAX)
        return tri_fail(TRIAGE_E_DATA, "%s: indptr has %zu entries for %" PRId64 " rows", of->path,
                        m->indptr.count, out->block_rows);
done:
    return status;
}

static int compare_columns(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* scipy's rows need not be in order. */
static triage_status sort_row(tri_pattern *out, int64_t row, const archive *of) {
    int32_t *first = out->col_idx + out->row_ptr[row], *end = out->col_idx + out->row_ptr[row + 1];
    qsort(first, (size_t)(end - first), sizeof *first, compare_columns);
    for (const int32_t *at = first; at + 1 < end; at++)
        if (at[0] == at[1])
            return tri_fail(TRIAGE_E_DATA, "%s: row %" PRId64 " has column %d twice", of->path, row, at[0]);
    return TRIAGE_OK;
}

static triage_status fill(tri_pattern *out, const matrix *m, const archive *of) {
    triage_status status = TRIAGE_OK;
    int64_t value = 0;
    TRI_TRY(tri_calloc(&out->row_ptr, (size_t)out->block_rows + 1, sizeof *out->row_ptr));
    TRI_TRY(tri_calloc(&out->col_idx, (size_t)out->nnzb, sizeof *out->col_idx));
    for (int64_t i = 0; i <= out->block_rows; i++) {
        const int64_t low = i == out->block_rows ? out->nnzb : value, high = i == 0 ? 0 : out->nnzb;
        TRI_TRY(read_integer(&value, &m->indptr, (size_t)i, low, high, of, "indptr"));
        out->row_ptr[i] = (int32_t)value;
    }
    for (int64_t i = 0; i < out->nnzb; i++) {
        TRI_TRY(read_integer(&value, &m->indices, (size_t)i, 0, out->block_cols - 1, of, "indices"));
        out->col_idx[i] = (int32_t)value;
    }
    for (int64_t row = 0; row < out->block_rows; row++)
        TRI_TRY(sort_row(out, row, of));
done:
    return status;
}

triage_status tri_npz_read(tri_pattern *out, const char *path, const char *data, size_t size) {
    const archive of = {path, (const unsigned char *)data, size};
    triage_status status = TRIAGE_OK;
    matrix m = {0};
    TRI_TRY(read_array(&m.format, &of, "format.npy"));
    TRI_TRY(read_array(&m.shape, &of, "shape.npy"));
    TRI_TRY(read_array(&m.indptr, &of, "indptr.npy"));
    TRI_TRY(read_array(&m.indices, &of, "indices.npy"));
    if (format_is(&m.format, "bsr"))
        TRI_TRY(read_array(&m.data, &of, "data.npy"));
    TRI_TRY(read_sizes(out, &m, &of));
    TRI_TRY(fill(out, &m, &of));
done:
    free(m.format.bytes);
    free(m.shape.bytes);
    free(m.indptr.bytes);
    free(m.indices.bytes);
    free(m.data.bytes);
    return status;
}
