/* The sequence lock around a plan's last argument block. */
#include <string.h>

#include "run/plan.h"

/* The loads are acquire and the stores release, word by word: a load of the sequence after them cannot move
 * up, and the sequence's odd value is seen before any new word. That costs nothing on x86. */

static bool same_operands(tri_args_cache *cache, const tri_operands *operands) {
    uint64_t words[TRI_OPERAND_WORDS];
    memcpy(words, operands, sizeof words);
    bool same = true;
    for (size_t i = 0; i < TRI_OPERAND_WORDS; i++)
        same &= atomic_load_explicit(&cache->operands[i], memory_order_acquire) == words[i];
    return same;
}

bool tri_args_cache_get(tri_args_block *out, tri_args_cache *cache, const tri_operands *operands) {
    uint64_t before = atomic_load_explicit(&cache->sequence, memory_order_acquire);
    if (before == 0 || before % 2 != 0 || !same_operands(cache, operands))
        return false;
    for (size_t i = 0; i < TRI_ARGS_WORDS; i++)
        out->words[i] = atomic_load_explicit(&cache->args[i], memory_order_acquire);
    return atomic_load_explicit(&cache->sequence, memory_order_relaxed) == before;
}

void tri_args_cache_put(tri_args_cache *cache, const tri_operands *operands, const tri_args_block *block) {
    uint64_t words[TRI_OPERAND_WORDS];
    memcpy(words, operands, sizeof words);
    uint64_t before = atomic_load_explicit(&cache->sequence, memory_order_relaxed);
    if (before % 2 != 0 ||
        !atomic_compare_exchange_strong_explicit(&cache->sequence, &before, before + 1, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return;
    for (size_t i = 0; i < TRI_OPERAND_WORDS; i++)
        atomic_store_explicit(&cache->operands[i], words[i], memory_order_release);
    for (size_t i = 0; i < TRI_ARGS_WORDS; i++)
        atomic_store_explicit(&cache->args[i], block->words[i], memory_order_release);
    atomic_store_explicit(&cache->sequence, before + 2, memory_order_release);
}
