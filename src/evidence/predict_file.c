/* A fit on disk: a tenth of a second of work that the next process need not do.
 *
 *     header, then for each kernel its process as it is in memory, then the hash of all that as text
 *
 * It is of this machine and build: the header has the hash of what was learnt from, the samples with all numbers that the
 * operation says of them and the constants of the fit. Another evidence or another model is another hash: a miss, as is any
 * damage. */
#include "evidence/predict_model.h"

#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)64 << 20)

static const char magic[8] = "TRIFIT1";

typedef struct header {
    char magic[8];
    char state[40];
    uint64_t kernels, samples, problems;
} header;

typedef struct kernel_header {
    char name[64];
    uint64_t pivots;
    double base, slope[TRI_FEATURES_MAX];
} kernel_header;

static void fill_header(header *out, const tri_predictor *p) {
    static const double constants[] = {TRI_PREDICT_OFFSET,      TRI_PREDICT_SLOPE,        TRI_PREDICT_LOCAL,
                                       TRI_PREDICT_REACH,       TRI_PREDICT_OF_A_PROBLEM, TRI_PREDICT_NOISE,
                                       TRI_PREDICT_LEAST_PIVOT, TRI_PREDICTOR_PIVOTS};
    const tri_piece pieces[] = {{constants, sizeof constants},
                                {p->samples, p->count * sizeof *p->samples},
                                {p->kernels, p->kernel_count * sizeof *p->kernels}};
    *out = (header){.kernels = p->kernel_count, .samples = p->count, .problems = p->problem_count};
    memcpy(out->magic, magic, sizeof magic);
    tri_hash_pieces(out->state, pieces, sizeof pieces / sizeof *pieces);
}

/* ---- writing ---- */

static void append(char **at, const void *data, size_t size) {
    memcpy(*at, data, size);
    *at += size;
}

static size_t bytes_of(size_t pivots) {
    return sizeof(kernel_header) + pivots * (sizeof(tri_predict_point) + sizeof(double)) +
           2 * tri_triangle(pivots) * sizeof(double);
}

static void append_process(char **at, const tri_predict_process *process) {
    kernel_header head = {.pivots = process->pivots, .base = process->base};
    memcpy(head.name, process->name, sizeof head.name);
    memcpy(head.slope, process->slope, sizeof head.slope);
    append(at, &head, sizeof head);
    append(at, process->at, process->pivots * sizeof *process->at);
    append(at, process->weights, process->pivots * sizeof *process->weights);
    append(at, process->l, tri_triangle(process->pivots) * sizeof *process->l);
    append(at, process->c, tri_triangle(process->pivots) * sizeof *process->c);
}

static triage_status write_file(const char *path, const header *head, const tri_predictor *p) {
    triage_status status = TRIAGE_OK;
    char *data = NULL, *at, *folder = NULL;
    size_t size = sizeof *head + TRI_HASH_SIZE;
    for (size_t i = 0; i < p->kernel_count; i++)
        size += bytes_of(p->kernels[i].pivots);
    TRI_TRY(tri_calloc(&data, size, 1));
    at = data;
    append(&at, head, sizeof *head);
    for (size_t i = 0; i < p->kernel_count; i++)
        append_process(&at, &p->kernels[i]);
    tri_hash(at, data, (size_t)(at - data));
    TRI_TRY(tri_strdup(&folder, path));
    *strrchr(folder, '/') = '\0';
    TRI_TRY(tri_make_dirs(folder));
    status = tri_file_write_atomic(path, data, size, 0600);
done:
    free(folder);
    free(data);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    const char *at;
    size_t left;
} reader;

static bool take(void *out, reader *from, size_t size) {
    if (from->left < size)
        return false;
    memcpy(out, from->at, size);
    from->at += size;
    from->left -= size;
    return true;
}

static bool take_array(void *out_pointer, reader *from, size_t count, size_t size) {
    void *data = NULL;
    if (from->left < count * size || tri_calloc(&data, count + 1, size) != TRIAGE_OK)
        return false;
    memcpy(out_pointer, &data, sizeof data);
    return take(data, from, count * size);
}

/* What it has taken when it fails is the process's. */
static bool take_process(tri_predict_process *out, reader *from) {
    kernel_header head;
    if (!take(&head, from, sizeof head) || memcmp(head.name, out->name, sizeof head.name) != 0 ||
        head.pivots > TRI_PREDICTOR_PIVOTS)
        return false;
    out->base = head.base;
    memcpy(out->slope, head.slope, sizeof head.slope);
    const size_t pivots = (size_t)head.pivots, triangle = tri_triangle(pivots);
    if (!take_array(&out->at, from, pivots, sizeof *out->at) ||
        !take_array(&out->weights, from, pivots, sizeof *out->weights) ||
        !take_array(&out->l, from, triangle, sizeof *out->l) ||
        !take_array(&out->c, from, triangle, sizeof *out->c))
        return false;
    out->pivots = pivots;
    return true;
}

static void forget(tri_predictor *p) {
    for (size_t i = 0; i < p->kernel_count; i++) {
        tri_predict_process *process = &p->kernels[i];
        tri_predict_process empty = {0};
        memcpy(empty.name, process->name, sizeof empty.name);
        tri_predict_free_process(process);
        *process = empty;
    }
}

static bool is_whole(const char *data, size_t size) {
    char hash[TRI_HASH_SIZE];
    if (size < sizeof(header) + TRI_HASH_SIZE)
        return false;
    tri_hash(hash, data, size - TRI_HASH_SIZE);
    return memcmp(hash, data + size - TRI_HASH_SIZE, TRI_HASH_SIZE) == 0;
}

static bool read_file(tri_predictor *p, const header *wanted, const char *path) {
    char *data = NULL;
    size_t size = 0;
    header head;
    bool done = tri_file_read(&data, &size, path, FILE_LIMIT) == TRIAGE_OK && is_whole(data, size);
    reader from = {data, done ? size - TRI_HASH_SIZE : 0};
    done = done && take(&head, &from, sizeof head) && memcmp(&head, wanted, sizeof head) == 0;
    for (size_t i = 0; done && i < p->kernel_count; i++)
        done = take_process(&p->kernels[i], &from);
    done = done && from.left == 0;
    if (!done)
        forget(p);
    free(data);
    return done;
}

/* ---- all ---- */

static int by_kernel_and_problem(const void *left, const void *right) {
    const tri_predict_sample *a = left, *b = right;
    if (a->kernel != b->kernel)
        return a->kernel < b->kernel ? -1 : 1;
    if (a->problem != b->problem)
        return a->problem < b->problem ? -1 : 1;
    return a->name < b->name ? -1 : a->name > b->name;
}

triage_status tri_predictor_fit(tri_predictor *p, const char *path) {
    triage_status status = TRIAGE_OK;
    header head;
    if (p->count > 1)
        qsort(p->samples, p->count, sizeof *p->samples, by_kernel_and_problem);
    if (path) {
        fill_header(&head, p);
        p->is_from_file = read_file(p, &head, path);
    }
    if (!p->is_from_file)
        TRI_TRY(tri_predict_fit(p));
    if (path && !p->is_from_file && write_file(path, &head, p) != TRIAGE_OK)
        status = TRIAGE_OK; /* a folder that cannot be written costs the next process its time */
done:
    return status;
}
