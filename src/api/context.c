/* Opening and closing a context, and device memory for programs without CUDA headers. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "evidence/admission.h"
#include "evidence/dense_evidence.h"
#include "evidence/pretuned.h"
#include "api/context.h"

#define FIRST_CALL_MS_MOST 600000

/* What a caller of an older version does not know of is NULL. */
static triage_status read_options(triage_context_options *out, const triage_context_options *given) {
    *out = (triage_context_options)TRIAGE_CONTEXT_OPTIONS_INIT;
    if (given && (given->version < 1 || given->version > TRIAGE_CONTEXT_OPTIONS_VERSION))
        return tri_fail(TRIAGE_E_INVALID,
                        "options.version is %u; must be 1 .. %u (TRIAGE_CONTEXT_OPTIONS_INIT)",
                        given->version, TRIAGE_CONTEXT_OPTIONS_VERSION);
    static const size_t known[] = {0,
                                   offsetof(triage_context_options, local_db_path),
                                   offsetof(triage_context_options, pack_path),
                                   offsetof(triage_context_options, first_call_ms),
                                   offsetof(triage_context_options, record_path),
                                   sizeof *out};
    if (given)
        memcpy(out, given, known[given->version]);
    if (!(out->first_call_ms >= 0 && out->first_call_ms <= FIRST_CALL_MS_MOST))
        return tri_fail(TRIAGE_E_INVALID, "options.first_call_ms is %g; must be 0 .. %d", out->first_call_ms,
                        FIRST_CALL_MS_MOST);
    if (out->pack_trust && !tri_is_public_key(out->pack_trust))
        return tri_fail(TRIAGE_E_INVALID,
                        "options.pack_trust '%.70s' is not a key of 64 hex digits (triage_db key)",
                        out->pack_trust);
    return TRIAGE_OK;
}

static triage_status copy_text(char **out, const char *text) {
    return text ? tri_strdup(out, text) : TRIAGE_OK;
}

/* A database that is not there yet is no error: everything is answered with defaults. */
static triage_status open_file(triage_context *context, const char *path) {
    if (tri_store_is_on_network(path))
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, TRI_NETWORK_ADVICE, path);
    triage_status status = TRIAGE_OK;
    if (!context->own_path)
        TRI_TRY(tri_strdup(&context->own_path, path));
    status = tri_store_open(&context->store, path, TRI_STORE_READ);
    if (status != TRIAGE_E_NOT_FOUND)
        return status;
    tri_log_line(&context->log, TRIAGE_LOG_INFO, "no database at %s: using default kernels", path);
    status = TRIAGE_OK;
done:
    return status;
}

/* Where the programs keep theirs, as far as that can be known without the environment. option: what to give instead. */
static triage_status place_at_home(char **out, const char *below, const char *option) {
    char buffer[4096];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) != 0 || !found || found->pw_dir[0] != '/')
        return tri_fail(TRIAGE_E_INVALID, "user %u has no home folder: %s is expected", (unsigned)getuid(),
                        option);
    return tri_path_join(out, found->pw_dir, below);
}

static const char database_at_home[] = ".local/share/triage/triage.db", cache_at_home[] = ".cache/triage";

/* A tri_check_fn. The thread may outlive the context, and a lookup judges the configurations itself: no space. */
static triage_status check_claims(void *user, const tri_measurement *row) {
    (void)user;
    return tri_admission_check_claims(row);
}

/* Only the file is opened here. The sync thread takes the server, and all the time that it needs. */
static triage_status open_server(triage_context *context, const triage_context_options *options) {
    const double interval_s = 300;
    triage_status status = TRIAGE_OK;
    TRI_TRY(tri_store_check_url(options->db_path));
    TRI_TRY(options->local_db_path ? tri_strdup(&context->local_path, options->local_db_path)
                                   : place_at_home(&context->local_path, database_at_home,
                                                   "options.local_db_path beside a postgresql:// db_path"));
    TRI_TRY(open_file(context, context->local_path));
    TRI_TRY(tri_sync_thread_new(&context->sync, &(tri_sync_thread_options){.local_path = context->local_path,
                                                                           .server_url = options->db_path,
                                                                           .check = check_claims,
                                                                           .log = &context->log,
                                                                           .interval_s = interval_s,
                                                                           .never_migrates = true,
                                                                           .leaves_at_once = true}));
done:
    return status;
}

static void forget_predictors(triage_context *context) {
    for (size_t i = 0; i < TRI_OPERATIONS_MAX; i++) {
        tri_predictor_free(context->predictors[i]);
        context->predictors[i] = NULL;
        context->asked_predictor[i] = false;
    }
}

triage_status tri_context_remember(triage_context *context, tri_measurement *row) {
    tri_store *store = NULL;
    triage_status status = TRIAGE_OK;
    if (!context->own_path)
        return TRIAGE_OK;
    TRI_TRY(tri_make_parent(context->own_path));
    TRI_TRY(tri_store_open(&store, context->own_path, TRI_STORE_WRITE));
    atomic_store(&context->has_own_file, true);
    TRI_TRY(tri_store_add(store, row));
done:
    tri_store_close(store);
    return status;
}

void tri_context_lock(triage_context *context) {
    tri_log_keep();
    pthread_mutex_lock(&context->lock);
}

void tri_context_unlock(triage_context *context) {
    pthread_mutex_unlock(&context->lock);
    tri_log_tell();
}

void tri_context_find_store(triage_context *context) {
    const char *path = atomic_load(&context->has_own_file) ? context->own_path : context->local_path;
    if (context->store || !path)
        return;
    triage_status status = tri_store_open(&context->store, path, TRI_STORE_READ);
    if (status != TRIAGE_OK && status != TRIAGE_E_NOT_FOUND)
        tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
    if (!context->store)
        return;
    forget_predictors(context); /* these do not know that store */
    tri_sisters_close(context->sisters);
    context->sisters = NULL;
}

static triage_status open_store_at_home(triage_context *context) {
    char *path = NULL;
    triage_status status = TRIAGE_OK;
    TRI_TRY(place_at_home(&path, database_at_home, "options.db_path"));
    TRI_TRY(open_file(context, path));
done:
    free(path);
    return status;
}

static triage_status choose_cache(triage_context *context, const triage_context_options *options) {
    if (options->default_places && !options->cache_dir)
        return place_at_home(&context->cache_dir, cache_at_home, "options.cache_dir");
    return copy_text(&context->cache_dir, options->cache_dir);
}

/* Whatever is wrong with a pack costs its kernels, never the product. */
static triage_status open_pack(triage_context *context, const triage_context_options *options) {
    const tri_device_info *info = tri_device_describe(context->device);
    if (!options->pack_path)
        return TRIAGE_OK;
    triage_status status = tri_pack_open(&context->pack, options->pack_path, options->pack_trust, info);
    if (status == TRIAGE_OK || status == TRIAGE_E_MEMORY)
        return status;
    tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
    return TRIAGE_OK;
}

static triage_status open_store(triage_context *context, const triage_context_options *options) {
    if (!options->db_path)
        return options->default_places ? open_store_at_home(context) : TRIAGE_OK;
    return tri_store_is_url(options->db_path) ? open_server(context, options)
                                              : open_file(context, options->db_path);
}

/* A wrong path or folder is an error of opening. So the user's space, or else the first operation's space of the data folder, is
 * read now. Built-in spaces cannot be wrong: each is read when its operation is first asked for. */
static triage_status open_space(triage_context *context, const char *path) {
    if (!path && !context->data_dir)
        return TRIAGE_OK;
    const tri_space_options options = {.data_dir = context->data_dir, .path = path};
    tri_space *space = NULL;
    triage_status status = tri_space_open(&space, path ? NULL : tri_operations()[0], &options);
    if (status == TRIAGE_OK)
        context->spaces[tri_operation_index(tri_space_operation(space))] = space;
    return status;
}

triage_status tri_context_space(tri_space **out, triage_context *context, const tri_operation *op) {
    tri_space **space = &context->spaces[tri_operation_index(op)];
    triage_status status = TRIAGE_OK;
    if (!*space)
        status = tri_space_open(space, op, &(tri_space_options){.data_dir = context->data_dir});
    *out = *space;
    return status;
}

triage_status triage_context_open(triage_context **out, const triage_context_options *options) {
    triage_status status = TRIAGE_OK;
    triage_context *context = NULL;
    triage_context_options known;
    if (!out)
        return tri_fail(TRIAGE_E_INVALID, "out is NULL");
    *out = NULL;
    TRI_TRY(read_options(&known, options));
    options = &known;
    TRI_TRY(tri_calloc(&context, 1, sizeof *context));
    pthread_mutex_init(&context->lock, NULL);
    pthread_cond_init(&context->made, NULL);
    pthread_mutex_init(&context->race_lock, NULL);
    context->first_call_ms = options->first_call_ms;
    context->log = (tri_log){options->log, options->log_user};
    TRI_TRY(choose_cache(context, options));
    TRI_TRY(copy_text(&context->data_dir, options->data_dir));
    TRI_TRY(copy_text(&context->record_path, options->record_path));
    TRI_TRY(open_store(context, options));
    TRI_TRY(open_space(context, options->space_path));
    const char *device = options->device ? options->device : "auto";
    /* "cuda:N" names a device, whatever is current in this thread */
    TRI_TRY(tri_device_open(&context->device, device, strncmp(device, "cuda:", 5) != 0));
    TRI_TRY(open_pack(context, options));
    *out = context;
    context = NULL;
done:
    triage_context_free(context);
    return status;
}

void triage_context_free(triage_context *context) {
    if (!context)
        return;
    tri_context_free_kernels(context);
    tri_device_close(context->device);
    for (size_t i = 0; i < TRI_OPERATIONS_MAX; i++)
        tri_space_free(context->spaces[i]);
    forget_predictors(context);
    tri_sisters_close(context->sisters); /* borrows the store */
    tri_store_close(context->pretuned);
    tri_store_close(context->store);
    tri_pack_close(context->pack);
    (void)tri_sync_thread_free(context->sync, NULL);
    pthread_cond_destroy(&context->made);
    pthread_mutex_destroy(&context->lock);
    pthread_mutex_destroy(&context->race_lock);
    free(context->own_path);
    free(context->local_path);
    free(context->cache_dir);
    free(context->data_dir);
    free(context->record_path);
    free(context);
}

const char *triage_context_device_name(const triage_context *context) {
    return context ? tri_device_describe(context->device)->name : "";
}

int triage_context_is_host(const triage_context *context) {
    return context && tri_device_describe(context->device)->cc == 0;
}

/* ---- device memory ---- */

static triage_status check_copy(const triage_context *context, const void *to, const void *from) {
    if (!context)
        return tri_fail(TRIAGE_E_INVALID, "context is NULL");
    if (!to || !from)
        return tri_fail(TRIAGE_E_INVALID, "the %s of a copy is NULL", to ? "source" : "destination");
    return TRIAGE_OK;
}

triage_status triage_device_alloc(void **out, triage_context *context, size_t bytes) {
    if (!out || !context)
        return tri_fail(TRIAGE_E_INVALID, "%s is NULL", out ? "context" : "out");
    *out = NULL;
    if (bytes == 0 || bytes > INT64_MAX)
        return tri_fail(TRIAGE_E_INVALID, "bytes is %zu; must be 1 .. 2^63-1", bytes);
    tri_address address = 0;
    triage_status status = tri_device_alloc(context->device, &address, bytes);
    *out = (void *)(uintptr_t)address;
    return status;
}

void triage_device_release(triage_context *context, void *memory) {
    if (context && memory)
        tri_device_release(context->device, (tri_address)(uintptr_t)memory);
}

triage_status triage_device_upload(triage_context *context, void *to_device, const void *from_host,
                                   size_t bytes) {
    triage_status status = check_copy(context, to_device, from_host);
    if (status != TRIAGE_OK || bytes == 0)
        return status;
    status = tri_device_upload(context->device, (tri_address)(uintptr_t)to_device, from_host, bytes);
    /* the driver may return while the last part of pageable memory is still on its way */
    return status == TRIAGE_OK ? tri_device_synchronize(context->device) : status;
}

triage_status triage_device_download(triage_context *context, void *to_host, const void *from_device,
                                     size_t bytes) {
    triage_status status = check_copy(context, to_host, from_device);
    if (status != TRIAGE_OK || bytes == 0)
        return status;
    return tri_device_download(context->device, to_host, (tri_address)(uintptr_t)from_device, bytes);
}

int triage_stream_is_capturing(const triage_context *context, void *stream) {
    return context && tri_device_is_capturing(context->device, stream);
}

triage_status triage_device_synchronize(triage_context *context) {
    return context ? tri_device_synchronize(context->device) : tri_fail(TRIAGE_E_INVALID, "context is NULL");
}

triage_status tri_context_pretuned(tri_store **out, triage_context *context) {
    triage_status status = TRIAGE_OK;
    if (!context->asked_pretuned)
        TRI_TRY(tri_pretuned_open(&context->pretuned, tri_device_describe(context->device), context->data_dir,
                                  &context->log));
    context->asked_pretuned = context->asked_shipped = true;
    *out = context->pretuned;
done:
    return status;
}

/* A server that cannot be reached now knows nothing now. */
static triage_status look_up_own(double *median_ns, const triage_context *context, const tri_problem *problem,
                                 const tri_device_info *info) {
    if (!context->store)
        return TRIAGE_OK;
    triage_status status = tri_dense_lookup(median_ns, context->store, problem, info);
    if (status != TRIAGE_E_IO || !tri_store_is_server(context->store))
        return status;
    tri_log_line(&context->log, TRIAGE_LOG_WARNING, "%s: doing without it", triage_last_error());
    return TRIAGE_OK;
}

triage_status tri_context_dense_time(double *median_ns, triage_context *context, const tri_problem *problem) {
    const tri_device_info *info = tri_device_describe(context->device);
    tri_store *pretuned = NULL;
    triage_status status = TRIAGE_OK;
    *median_ns = 0;
    tri_context_lock(context);
    TRI_TRY(look_up_own(median_ns, context, problem, info));
    if (*median_ns > 0)
        goto done;
    TRI_TRY(tri_context_pretuned(&pretuned, context));
    if (pretuned)
        TRI_TRY(tri_dense_lookup(median_ns, pretuned, problem, info));
done:
    tri_context_unlock(context);
    return status;
}
