/* Causal attention with grouped heads, and one step of decoding from a paged cache:
 *
 *   cc attention.c -ltriage && ./a.out [database]
 *
 * Q, K and V are float on the host device and bf16 on a GPU, laid out [batch][row][head][d].
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "triage.h"

enum { BATCH = 2, HEADS_Q = 8, HEADS_KV = 2, ROWS = 256, D = 64, PAGE = 16, PAGES = BATCH * ROWS / PAGE };

static void check(triage_status status) {
    if (status == TRIAGE_OK)
        return;
    fprintf(stderr, "%s: %s\n", triage_status_name(status), triage_last_error());
    exit(1);
}

static size_t element(const triage_context *context) {
    return triage_context_is_host(context) ? sizeof(float) : 2;
}

/* `count` elements of small numbers on the device, freed with the rest. */
static void *numbers(triage_context *context, size_t count, unsigned seed) {
    size_t size = element(context);
    unsigned char *host = malloc(count * size);
    void *device = NULL;
    for (size_t i = 0; host && i < count; i++) {
        float value = (float)((i * 2654435761u + seed) % 1000) / 500.0f - 1.0f;
        unsigned bits;
        memcpy(&bits, &value, sizeof bits);
        bits = size == 2 ? bits >> 16 : bits; /* bf16 is the upper half of a float */
        memcpy(host + i * size, &bits, size); /* little endian */
    }
    check(triage_device_alloc(&device, context, count * size));
    check(triage_device_upload(context, device, host, count * size));
    free(host);
    return device;
}

static void *words(triage_context *context, const int32_t *from, size_t count) {
    void *device = NULL;
    check(triage_device_alloc(&device, context, count * sizeof *from));
    check(triage_device_upload(context, device, from, count * sizeof *from));
    return device;
}

/* [batch][row][head][d] */
static triage_tensor tensor(void *data, int64_t rows, int64_t heads) {
    return (triage_tensor){data, rows * heads * D, D, heads * D};
}

static triage_attention_desc describe(const triage_context *context) {
    triage_attention_desc desc = TRIAGE_ATTENTION_DESC_INIT;
    desc.in_type = desc.out_type = triage_context_is_host(context) ? TRIAGE_F32 : TRIAGE_BF16;
    desc.batch = BATCH, desc.heads_q = HEADS_Q, desc.heads_kv = HEADS_KV;
    desc.max_q = desc.max_k = ROWS;
    desc.head_dim = desc.head_dim_v = D;
    desc.mask = TRIAGE_MASK_CAUSAL;
    return desc;
}

static void show(triage_context *context, const triage_attention *attention,
                 const triage_attention_call *call, const char *what) {
    triage_choice choice = {.version = TRIAGE_CHOICE_VERSION};
    unsigned char first[4];
    unsigned bits = 0;
    float value;
    check(triage_attention_choice(&choice, attention, call));
    check(triage_attention_run(attention, call, NULL));
    check(triage_device_synchronize(context));
    check(triage_device_download(context, first, call->o.data, element(context)));
    memcpy(&bits, first, element(context));
    bits = element(context) == 2 ? bits << 16 : bits;
    memcpy(&value, &bits, sizeof value);
    printf("%s: %s, O[0] = %g\n", what, choice.config, (double)value);
}

int main(int argc, char **argv) {
    triage_context_options options = TRIAGE_CONTEXT_OPTIONS_INIT;
    triage_context *context = NULL;
    triage_attention *prefill = NULL, *decode = NULL;
    options.db_path = argc > 1 ? argv[1] : NULL;
    check(triage_context_open(&context, &options));

    void *q = numbers(context, BATCH * ROWS * HEADS_Q * D, 1),
         *o = numbers(context, BATCH * ROWS * HEADS_Q * D, 2);
    void *k = numbers(context, BATCH * ROWS * HEADS_KV * D, 3),
         *v = numbers(context, BATCH * ROWS * HEADS_KV * D, 4);

    triage_attention_desc desc = describe(context);
    check(triage_attention_create(&prefill, context, &desc));
    triage_attention_call call = TRIAGE_ATTENTION_CALL_INIT;
    call.q = tensor(q, ROWS, HEADS_Q), call.o = tensor(o, ROWS, HEADS_Q);
    call.k = tensor(k, ROWS, HEADS_KV), call.v = tensor(v, ROWS, HEADS_KV);
    show(context, prefill, &call, "causal");

    /* The same memory as pages of 16 rows; one sequence has 100 keys, the other 7. */
    int32_t table[PAGES], lengths[BATCH] = {100, 7};
    for (int i = 0; i < PAGES; i++)
        table[i] = i;
    desc.max_q = 1;
    desc.lengths = TRIAGE_LENGTHS_CACHE;
    desc.page_size = PAGE;
    check(triage_attention_create(&decode, context, &desc));
    call.q = tensor(q, 1, HEADS_Q), call.o = tensor(o, 1, HEADS_Q);
    call.k = tensor(k, PAGE, HEADS_KV), call.v = tensor(v, PAGE, HEADS_KV);
    call.len_k = words(context, lengths, BATCH);
    call.page_table = words(context, table, PAGES);
    call.page_stride = PAGES / BATCH;
    call.pages = PAGES;
    show(context, decode, &call, "decode");

    triage_attention_free(prefill);
    triage_attention_free(decode);
    void *memory[] = {q, k, v, o, (void *)call.len_k, (void *)call.page_table};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        triage_device_release(context, memory[i]);
    triage_context_free(context);
    return 0;
}
