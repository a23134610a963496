/* What a product stores beside A B: the names of activations, in keys, options and messages. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <string.h>

static const char *const names[] = {"none", "relu", "gelu", "silu"};
enum { ACTIVATIONS = sizeof names / sizeof *names };

const char *tri_activation_name(triage_activation activation) {
    return (unsigned)activation < ACTIVATIONS ? names[(unsigned)activation] : "?";
}

bool tri_activation_find(triage_activation *out, const char *name) {
    for (int i = 0; i < ACTIVATIONS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (triage_activation)i;
            return true;
        }
    }
    return false;
}
