#include "evidence/admission.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "op/dense.h"
#include "evidence/roofline.h"

struct tri_admission {
    pthread_mutex_t mutex;                   /* over all below */
    tri_space *built_in[TRI_OPERATIONS_MAX]; /* opened when a row of the operation comes */
    tri_space *own;                          /* the user's, or NULL */
    char *data_dir;
    int64_t unjudged;
    /* The last row's, parsed: rows of one problem and device follow each other. */
    char *problem_key, *device_key;
    const tri_operation *op; /* NULL: the dense product, or an operation that this version does not know */
    tri_problem problem;
    tri_least_work work; /* unless the operation is not known */
    tri_device_info info;
};

triage_status tri_admission_open(tri_admission **out, const char *space_path, const char *data_dir) {
    triage_status status = TRIAGE_OK;
    tri_admission *made = NULL;
    TRI_TRY(tri_calloc(&made, 1, sizeof *made));
    pthread_mutex_init(&made->mutex, NULL);
    if (data_dir)
        TRI_TRY(tri_strdup(&made->data_dir, data_dir));
    if (space_path)
        TRI_TRY(
            tri_space_open(&made->own, NULL, &(tri_space_options){.data_dir = data_dir, .path = space_path}));
    *out = made;
    made = NULL;
done:
    tri_admission_free(made);
    return status;
}

void tri_admission_free(tri_admission *admission) {
    if (!admission)
        return;
    for (size_t i = 0; i < TRI_OPERATIONS_MAX; i++)
        tri_space_free(admission->built_in[i]);
    tri_space_free(admission->own);
    free(admission->data_dir);
    free(admission->problem_key);
    free(admission->device_key);
    pthread_mutex_destroy(&admission->mutex);
    free(admission);
}

int64_t tri_admission_unjudged(tri_admission *admission) {
    pthread_mutex_lock(&admission->mutex);
    const int64_t unjudged = admission->unjudged;
    pthread_mutex_unlock(&admission->mutex);
    return unjudged;
}

/* ---- keys ---- */

static bool is_same(const char *kept, const char *key) {
    return kept && strcmp(kept, key) == 0;
}

static triage_status replace(char **kept, const char *key) {
    free(*kept);
    *kept = NULL;
    return tri_strdup(kept, key);
}

/* A key's own message does not say where it stands. */
static triage_status wrong_key(const char *field) {
    return tri_fail(TRIAGE_E_DATA, "%s: %s", field, triage_last_error());
}

/* Of a newer version: its rows are kept unjudged, since refusing them would lose them for good (a sync asks for each row
 * once). The key must look like one all the same. */
static triage_status check_unknown(const char *key) {
    const size_t size = strcspn(key, " ");
    bool sane = size > 0 && size <= 40 && strlen(key) < 512 && strstr(key, " m=");
    for (size_t i = 0; key[i] && sane; i++)
        sane = key[i] >= ' ' && key[i] <= '~' &&
               (i >= size || (key[i] >= 'a' && key[i] <= 'z') || key[i] == '_' ||
                (i > 0 && key[i] >= '0' && key[i] <= '9'));
    return sane ? TRIAGE_OK : tri_fail(TRIAGE_E_DATA, "'%.80s' is the key of no problem", key);
}

static triage_status parse_problem(tri_admission *a, const char *key) {
    triage_status status = TRIAGE_OK;
    tri_gemm gemm;
    a->op = NULL;
    a->work = (tri_least_work){0};
    if (tri_dense_is_key(key)) {
        TRI_TRY(tri_dense_parse(&gemm, key));
        tri_dense_least_work(&a->work, &gemm);
    } else if (!tri_operation_find(key)) {
        TRI_TRY(check_unknown(key));
    } else {
        TRI_TRY(tri_problem_parse(&a->problem, key));
        a->op = a->problem.op;
        a->op->least_work(&a->work, &a->problem);
    }
done:
    return status;
}

static triage_status read_keys(tri_admission *a, const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    if (!is_same(a->problem_key, row->problem)) {
        free(a->problem_key); /* not read whole, nothing is known of it */
        a->problem_key = NULL;
        if (parse_problem(a, row->problem) != TRIAGE_OK)
            return wrong_key("problem");
        TRI_TRY(replace(&a->problem_key, row->problem));
    }
    if (!is_same(a->device_key, row->device)) {
        tri_device_info info;
        if (tri_device_parse(&info, row->device) != TRIAGE_OK)
            return wrong_key("device");
        a->info = info;
        TRI_TRY(replace(&a->device_key, row->device));
    }
done:
    return status;
}

/* ---- the configuration ---- */

/* Not of a space: a library's product of the same shape, called as this version calls it. */
static triage_status check_dense(const tri_measurement *row) {
    const char *kernel = tri_dense_kernel(row->device);
    char hash[TRI_HASH_SIZE];
    tri_dense_source_hash(hash, kernel);
    if (strcmp(row->config, kernel) == 0 && strcmp(row->source_hash, hash) == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "config: \"%.80s\" for a dense product, which is by %s on this device",
                    row->config, kernel);
}

static triage_status check_kernel(const tri_measurement *row) {
    const size_t size = strcspn(row->config, " ");
    if (strlen(row->kernel) == size && memcmp(row->kernel, row->config, size) == 0)
        return TRIAGE_OK;
    return tri_fail(TRIAGE_E_DATA, "kernel: \"%.40s\", but config begins with \"%.*s\"", row->kernel,
                    (int)(size < 40 ? size : 40), row->config);
}

/* For whichever of the problems that the key stands for. */
static triage_status find_in(tri_space *space, const tri_admission *a, const char *config) {
    triage_status status = TRIAGE_OK;
    tri_problem problems[1 + TRI_VARIANTS] = {a->problem};
    const size_t count = 1 + (a->op->variants ? a->op->variants(problems + 1, &a->problem) : 0);
    for (size_t i = 0; i < count; i++) {
        tri_candidate candidate;
        status = tri_space_candidate(&candidate, space, &problems[i], &a->info, config);
        if (status == TRIAGE_OK)
            tri_candidate_free(&candidate);
        if (status != TRIAGE_E_UNSUPPORTED)
            break;
    }
    return status;
}

/* The built-in space of the row's operation, then the user's own if it is for that. */
static triage_status spaces_of(tri_space *out[2], tri_admission *a) {
    tri_space **built_in = &a->built_in[tri_operation_index(a->op)];
    triage_status status = TRIAGE_OK;
    if (!*built_in)
        TRI_TRY(tri_space_open(built_in, a->op, &(tri_space_options){.data_dir = a->data_dir}));
    out[0] = *built_in;
    out[1] = a->own && tri_space_operation(a->own) == a->op ? a->own : NULL;
done:
    return status;
}

/* Not of this space, or against its constraints; another failure (memory, a limit) is not the row's. */
static bool is_verdict(triage_status status) {
    return status == TRIAGE_E_DATA || status == TRIAGE_E_UNSUPPORTED;
}

static triage_status check_config(tri_admission *a, const tri_measurement *row) {
    char why[512] = "";
    tri_space *spaces[2] = {NULL, NULL};
    triage_status status = spaces_of(spaces, a);
    if (status != TRIAGE_OK)
        return status;
    for (size_t i = 0; i < 2 && spaces[i]; i++) {
        status = find_in(spaces[i], a, row->config);
        if (!is_verdict(status))
            return status;
        if (!why[0] || status == TRIAGE_E_UNSUPPORTED) /* the space that has the kernel says more */
            snprintf(why, sizeof why, "%s", triage_last_error());
    }
    if (strcmp(row->version, TRIAGE_VERSION) == 0)
        return tri_fail(TRIAGE_E_DATA, "config: %s", why);
    a->unjudged++;
    return TRIAGE_OK;
}

/* ---- the time ---- */

static triage_status check_time(const tri_admission *a, const tri_measurement *row) {
    tri_roofline roof;
    if (row->median_ns <= 0)
        return TRIAGE_OK;
    tri_roofline_of(&roof, &a->work, &a->info, row->cold_l2);
    if (row->min_ns >= roof.least_ns)
        return TRIAGE_OK;
    if (roof.bytes > 0)
        return tri_fail(
            TRIAGE_E_DATA,
            "min_ns: %.4g ns for %.3g bytes; allowed on this device from %.4g ns on (%s bandwidth)",
            row->min_ns, roof.bytes, roof.least_ns, roof.limit);
    return tri_fail(
        TRIAGE_E_DATA,
        "min_ns: %.4g ns for %.3g operations; allowed on this device from %.4g ns on (arithmetic)",
        row->min_ns, roof.flops, roof.least_ns);
}

static triage_status check_claims(tri_admission *a, const tri_measurement *row) {
    triage_status status = TRIAGE_OK;
    TRI_TRY(read_keys(a, row));
    TRI_TRY(check_kernel(row));
    if (tri_dense_is_key(row->problem))
        TRI_TRY(check_dense(row));
    TRI_TRY(check_time(a, row));
done:
    return status;
}

static triage_status check(tri_admission *a, const tri_measurement *row) {
    const triage_status status = check_claims(a, row);
    if (status != TRIAGE_OK || tri_dense_is_key(row->problem))
        return status;
    if (a->op)
        return check_config(a, row);
    a->unjudged++;
    return TRIAGE_OK;
}

triage_status tri_admission_check_claims(const tri_measurement *row) {
    tri_admission a = {0};
    const triage_status status = check_claims(&a, row);
    free(a.problem_key);
    free(a.device_key);
    return status;
}

triage_status tri_admission_check(void *user, const tri_measurement *row) {
    tri_admission *a = user;
    pthread_mutex_lock(&a->mutex);
    triage_status status = check(a, row);
    pthread_mutex_unlock(&a->mutex);
    return status;
}
