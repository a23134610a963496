/* The sequence locks around a plan's last argument blocks. */
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

/* ---- several ---- */

/* Fibonacci hashing of all words: buffers lie at multiples of large powers of two. */
static tri_args_cache *set_of(tri_args_table *table, const tri_operands *operands) {
    uint64_t words[TRI_OPERAND_WORDS], hash = 0;
    memcpy(words, operands, sizeof words);
    for (size_t i = 0; i < TRI_OPERAND_WORDS; i++)
        hash = (hash ^ words[i] ^ hash >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return table->slots[(hash >> 40) % TRI_ARGS_SETS];
}

bool tri_args_table_get(tri_args_block *out, tri_args_table *table, const tri_operands *operands) {
    tri_args_cache *set = set_of(table, operands);
    for (int way = 0; way < TRI_ARGS_WAYS; way++)
        if (tri_args_cache_get(out, &set[way], operands))
            return true;
    return false;
}

void tri_args_table_put(tri_args_table *table, const tri_operands *operands, const tri_args_block *block) {
    tri_args_cache *set = set_of(table, operands);
    int way = 0;
    while (way < TRI_ARGS_WAYS && atomic_load_explicit(&set[way].sequence, memory_order_relaxed) != 0)
        way++;
    if (way == TRI_ARGS_WAYS)
        way = (int)(atomic_fetch_add_explicit(&table->turn, 1, memory_order_relaxed) % TRI_ARGS_WAYS);
    tri_args_cache_put(&set[way], operands, block);
}
