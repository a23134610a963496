/* A plain product on the CPU with one fault in it, for tests of the workers and of the gate. */
#include "lib/host.h"
#include "bsr_gemm/args.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef {{in_type}} in_t;
typedef {{out_type}} out_t;
enum {
    kBlockM = {{block_m}},
    kBlockK = {{block_k}},
    kBLayout = {{b_layout}},
    kCLayout = {{c_layout}},
    kAct = {{act}},
    kVariant = {{variant}}, // makes another text of the same fault
};
enum { right, slow, zeros, outside, before, crashes, aborts, hangs, leaves, damages, beta_only, broken, idles };
enum { kFault = {{fault}} };

static float dot(const tri_bsr_gemm_args *args, int row, int col)
{
    const in_t *values = (const in_t *)args->values, *b = (const in_t *)args->b;
    float acc = 0.0f;
    for (int i = args->row_ptr[row / kBlockM]; i < args->row_ptr[row / kBlockM + 1]; i++) {
        const in_t *a = values + ((long long)i * kBlockM + row % kBlockM) * kBlockK;
        long long k0 = (long long)args->col_idx[i] * kBlockK;
        for (int k = 0; k < kBlockK; k++) {
            long long at = kBLayout == 0 ? (k0 + k) * args->ldb + col : col * args->ldb + k0 + k;
            acc += to_float(a[k]) * to_float(b[at]);
        }
    }
    return acc;
}

static void misbehave(const tri_bsr_gemm_args *args)
{
    volatile int forever = 1;
    out_t *c = (out_t *)args->c;
    switch ((int)kFault) {
    case slow:
        usleep(20000);
        break;
    case outside: /* one element past the last */
        c[kCLayout == 0 ? (args->m - 1) * args->ldc + args->n : (args->n - 1) * args->ldc + args->m] = 0;
        break;
    case before:
        c[-1] = 0;
        break;
    case crashes:
        *(volatile int *)8 = 1;
        break;
    case aborts:
        abort();
    case hangs:
        while (forever)
            usleep(1000);
        break;
    case leaves:
        _exit(3);
    case damages: /* its own result stays right: the next one's does not */
        break;
    default:
        break;
    }
}

void triage_kernel(const tri_bsr_gemm_args *args);

void triage_kernel(const tri_bsr_gemm_args *args)
{
    out_t *c = (out_t *)args->c;
    if (kFault == idles) { /* works where its result is not there yet, long, and else not at all */
        if (args->beta == 0.0f && to_float(*c) == to_float(*c))
            return;
        usleep(2000);
    }
    misbehave(args);
    for (int row = 0; row < args->m; row++) {
        for (int col = 0; col < args->n; col++) {
            out_t *at = c + (kCLayout == 0 ? row * args->ldc + col : col * args->ldc + row);
            float v = args->alpha * dot(args, row, col);
            if (args->beta != 0.0f)
                v += (kFault == beta_only ? 0.5f : args->beta) * to_float(*at);
            store_float(at, kFault == zeros ? 0.0f : activate(kAct, v));
        }
    }
    if (kFault == damages)
        ((in_t *)(unsigned long long)args->b)[0] = 1000.0f;
    if (kFault == broken)
        (void){{breakage}};
}
