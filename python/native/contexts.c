#include "contexts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_GPUS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(triage_context *) contexts[1 + MOST_GPUS]; /* the CPU's, then each GPU's */
static char *texts[6];                                    /* what those to be opened are opened with */
static double first_call_ms;

static bool open_context(triage_context **out, int index) {
    char device[16] = "host";
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    if (index > 0)
        snprintf(device, sizeof device, "cuda:%d", index - 1);
    options.device = device;
    options.db_path = texts[0];
    options.cache_dir = texts[1];
    options.data_dir = texts[2];
    options.space_path = texts[3];
    options.local_db_path = texts[4];
    options.record_path = texts[5];
    options.first_call_ms = first_call_ms;
    return succeeded(triage_context_open(out, &options));
}

static triage_context *context_at(int index) {
    triage_context *context = atomic_load_explicit(&contexts[index], memory_order_acquire);
    if (context)
        return context;
    pthread_mutex_lock(&lock);
    context = atomic_load_explicit(&contexts[index], memory_order_relaxed);
    if (!context && open_context(&context, index))
        atomic_store_explicit(&contexts[index], context, memory_order_release);
    pthread_mutex_unlock(&lock);
    return context;
}

triage_context *context_of(const operand *like) {
    if (like->device_type == torch.type_cpu())
        return context_at(0);
    if (like->device_type != torch.type_cuda() || like->device_index < 0 || like->device_index >= MOST_GPUS) {
        fail("%s is on a device that is neither the CPU nor one of the first %d of CUDA", like->name,
             MOST_GPUS);
        return NULL;
    }
    return context_at(1 + like->device_index);
}

bool stream_of(void **out, const operand *like) {
    *out = NULL;
    return like->device_type != torch.type_cuda() ||
           (torch.cuda_stream && torch.cuda_stream(like->device_index, out) == 0) ||
           fail("torch gives no CUDA stream for %s", like->name);
}

/* ---- what Python calls (triage_kernels/_native.py); no call of an operator may be under way ---- */

TRIAGE_API void triage_torch_close(void);
TRIAGE_API int triage_torch_configure(const char *db_path, const char *cache_dir, const char *data_dir,
                                      const char *space_path, const char *local_db_path,
                                      const char *record_path, double first_call);
TRIAGE_API triage_context *triage_torch_context(int index);

/* Closes all contexts; what needs one again opens it. */
void triage_torch_close(void) {
    drop_matrices();
    drop_attentions();
    pthread_mutex_lock(&lock);
    for (int i = 0; i <= MOST_GPUS; i++)
        triage_context_free(atomic_exchange(&contexts[i], NULL));
    pthread_mutex_unlock(&lock);
}

/* As triage_context_options. 0: done. */
int triage_torch_configure(const char *db_path, const char *cache_dir, const char *data_dir,
                           const char *space_path, const char *local_db_path, const char *record_path,
                           double first_call) {
    const char *given[] = {db_path, cache_dir, data_dir, space_path, local_db_path, record_path};
    bool done = true;
    triage_torch_close();
    first_call_ms = first_call;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        free(texts[i]);
        texts[i] = given[i] ? strdup(given[i]) : NULL;
        done = done && (!given[i] || texts[i]);
    }
    return done ? 0 : -1;
}

/* 0: the CPU's; 1 + N: that of GPU N. NULL: triage_last_error() says why. */
triage_context *triage_torch_context(int index) {
    forget_failure();
    return index >= 0 && index <= MOST_GPUS ? context_at(index) : NULL;
}
