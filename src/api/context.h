/* What is behind a triage_context. Shared by the files of this room; src/cli's triage_bench reaches through
 * it to run the plain kernel on the same device. */
#ifndef TRIAGE_API_CONTEXT_H
#define TRIAGE_API_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "device/pack.h"
#include "evidence/sisters.h"
#include "evidence/teach.h"
#include "store/sync_thread.h"

/* A kernel chosen, compiled and loaded for one problem. Made once, then immutable; lives as long as the
 * context, so that matrices of one kind share it. */
typedef struct tri_loaded tri_loaded;

/* A compiled kernel: several problems may need the same text with another launch geometry. */
typedef struct tri_shared_image tri_shared_image;

struct triage_context {
    tri_device *device;
    char *cache_dir, *data_dir; /* NULL: none, the built-in ones */
    char *record_path;          /* NULL: nothing is recorded */
    double first_call_ms;       /* what a first call may race for; 0: not at all */
    pthread_mutex_t
        race_lock; /* one race at a time on the device; lock may be taken inside, never the other way round */
    tri_log log;
    atomic_flag looked_at_cache;
    tri_pack *pack;       /* NULL: none that can be used */
    atomic_bool bad_pack; /* one of its kernels was damaged, or did not load: it is not asked again */
    atomic_bool told_of_other_text; /* a pack's kernel was of other text than this library's */
    /* Held while a kernel is looked up, never while one is compiled, never by a call that finds its plan. Whoever takes it
     * keeps the lines of the log until it is given back: tri_context_lock, _unlock. */
    pthread_mutex_t lock;
    pthread_cond_t made;                   /* a kernel, or it failed: what is_being_made has changed */
    tri_space *spaces[TRI_OPERATIONS_MAX]; /* by operation, once asked; under lock, as are all below */
    tri_store *store;                      /* NULL: no database */
    char *own_path;                        /* of the file that store is, or would be; NULL: none */
    atomic_bool has_own_file;              /* a first call has written to it */
    char *local_path;      /* with a server: the file that store is, once it is there; NULL: none */
    tri_sync_thread *sync; /* with a server: keeps that file in step with it */
    tri_store *pretuned;   /* shipped evidence for this device, once asked; NULL: none */
    bool asked_pretuned;   /* pretuned is open, or there is none */
    bool asked_shipped;    /* shipped evidence was read at all: for tests */
    tri_sisters *sisters;  /* other devices, once asked */
    tri_predictor
        *predictors[TRI_OPERATIONS_MAX]; /* by operation, once asked; NULL: nothing can be predicted */
    bool asked_predictor[TRI_OPERATIONS_MAX];
    bool is_learning[TRI_OPERATIONS_MAX]; /* by a thread, without the lock: then context->made */
    tri_loaded *loaded;
    tri_shared_image *compiled;
};

void tri_context_lock(triage_context *context);
/* Then tells what was logged meanwhile. */
void tri_context_unlock(triage_context *context);

/* The local file of a server, or the own one, if it has come to be since the context was opened. Under context->lock. */
void tri_context_find_store(triage_context *context);

/* Adds a row of evidence to the own database file, which is made if need be; none: it is forgotten. Without any lock. */
triage_status tri_context_remember(triage_context *context, tri_measurement *row);

/* Shipped evidence for the context's device, opened when it is first asked for. Borrowed; NULL: nothing. Under
 * context->lock. */
triage_status tri_context_pretuned(tri_store **out, triage_context *context);

/* The stored median of the dense product of a problem's shape: the user's own evidence, else what is shipped; 0: not
 * known. Takes the context's lock. */
triage_status tri_context_dense_time(double *median_ns, triage_context *context, const tri_problem *problem);

/* The space of an operation, opened when it is first asked for. Under context->lock. */
triage_status tri_context_space(tri_space **out, triage_context *context, const tri_operation *op);

/* Compiles a text for the context's device, unless the pack or the cache has it. hash: tri_source_hash of it. */
triage_status tri_context_compile(tri_image *out, triage_context *context, const tri_source *source,
                                  const char *hash);

/* Frees what loaded.c keeps in a context (loaded kernels, compiled images). */
void tri_context_free_kernels(triage_context *context);

#endif
