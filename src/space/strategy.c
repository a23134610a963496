/* A strategy is a Lua file that returns a function(space, options) -> { next = , tell = }:
 *
 *   space.size          how many configurations there are; they are numbered 1 .. size
 *   space.default       the number of the default
 *   space.coordinates   [i]: its kernel, then the value index on each axis of that kernel (made when first asked for)
 *   options.seed, options.budget (1 .. size)
 *   options.known       a list of numbers, the most promising first, none twice and the default not among them: what
 *                       was good on near problems. Those that come with triage propose them right after the
 *                       default; empty, it changes nothing
 *   options.prior       a list of { number, ns or false if it failed }: times of another device or a near problem
 *   options.stop_gain   end where less than this part of the best time is to be gained; 0: never
 *   next(self)          -> number | nil, waiting | nil, false, why it ends here (text)
 *   tell(self, number, median_ns, compile_ms)      median_ns is nil if it failed; compile_ms is nil if nobody knows it, and
 *                       while compiling is not what a search waits for
 *   triage.random(n)    1 .. n, from the seed
 *   triage.surrogate    a model of the space: surrogate_lua.c
 */
#include "space/strategy.h"

#include <stdlib.h>
#include <string.h>

static bool is_path(const char *name) {
    size_t size = strlen(name);
    return strchr(name, '/') || (size > 4 && !strcmp(name + size - 4, ".lua"));
}

static triage_status check_known(const tri_configs *configs, const tri_strategy_options *options) {
    for (size_t i = 0; i < options->known_count; i++)
        if (options->known[i] >= configs->count)
            return tri_fail(TRIAGE_E_INVALID, "a known configuration %zu: allowed are 0 .. %zu",
                            options->known[i], configs->count - 1);
    for (size_t i = 0; i < options->prior_count; i++)
        if (options->prior[i].point >= configs->count)
            return tri_fail(TRIAGE_E_INVALID, "a time of configuration %zu: allowed are 0 .. %zu",
                            options->prior[i].point, configs->count - 1);
    return TRIAGE_OK;
}

triage_status tri_strategy_make(tri_strategy **out, const char *file, const tri_configs *configs,
                                const tri_strategy_options *options) {
    const size_t budget = options->budget;
    triage_status status = TRIAGE_OK;
    tri_strategy *strategy = NULL;
    TRI_TRY(check_known(configs, options));
    TRI_TRY(tri_calloc(&strategy, 1, sizeof *strategy));
    TRI_TRY(tri_strdup(&strategy->file, file));
    TRI_TRY(tri_calloc(&strategy->state, configs->count + 1, 1));
    strategy->configs = configs;
    strategy->count = configs->count;
    strategy->budget = budget && budget < configs->count ? budget : configs->count;
    *out = strategy;
    strategy = NULL;
done:
    tri_strategy_free(strategy);
    return status;
}

triage_status tri_strategy_open(tri_strategy **out, const char *name, const tri_configs *configs,
                                const tri_strategy_options *options) {
    const bool own = is_path(name), built_in = !own && !options->data_dir;
    triage_status status = TRIAGE_OK;
    char *file = NULL, *text = NULL;
    tri_strategy_text of = {0};
    *out = NULL;
    TRI_TRY(own ? tri_strdup(&file, name) : tri_format(&file, "tuner/strategies/%s.lua", name));
    status = tri_lua_file_read(&text, &of.size, options->data_dir, file, own ? name : NULL);
    if (status == TRIAGE_E_NOT_FOUND)
        status = tri_fail(TRIAGE_E_INVALID,
                          "there is no strategy '%s': exhaustive, random, local, model or a .lua file", name);
    TRI_TRY(status);
    of.file = file;
    of.text = text;
    status = (built_in ? tri_strategy_open_here : tri_strategy_open_remote)(out, &of, configs, options);
done:
    free(file);
    free(text);
    return status;
}

void tri_strategy_free(tri_strategy *strategy) {
    if (!strategy)
        return;
    if (strategy->mind)
        strategy->strategist->close(strategy);
    free(strategy->file);
    free(strategy->state);
    free(strategy);
}

const char *tri_strategy_ended(const tri_strategy *strategy) {
    return strategy->ended;
}

/* ---- next and tell ---- */

triage_status tri_strategy_next(int64_t *index, bool *waiting, tri_strategy *strategy) {
    int64_t found = -1;
    bool waits = false;
    *index = -1;
    *waiting = false;
    if (strategy->proposed == strategy->budget)
        return TRIAGE_OK;
    const triage_status status = strategy->strategist->next(&found, &waits, strategy);
    if (status != TRIAGE_OK)
        return status;
    if (found < 0 && waits && strategy->outstanding == 0)
        return tri_fail(TRIAGE_E_DATA, "%s: waits for a result, but none is outstanding", strategy->file);
    *index = found;
    *waiting = found < 0 && waits;
    if (found >= 0) {
        strategy->state[found] = TRI_CONFIG_PROPOSED;
        strategy->proposed++;
        strategy->outstanding++;
    }
    return TRIAGE_OK;
}

triage_status tri_strategy_tell(tri_strategy *strategy, int64_t index, const tri_strategy_result *result) {
    if (index < 0 || (uint64_t)index >= strategy->count || strategy->state[index] != TRI_CONFIG_PROPOSED)
        return tri_fail(TRIAGE_E_INVALID, "a result is told for configuration %lld, which is not outstanding",
                        (long long)index);
    const triage_status status = strategy->strategist->tell(strategy, index, result);
    if (status != TRIAGE_OK)
        return status;
    strategy->state[index] = TRI_CONFIG_TOLD;
    strategy->outstanding--;
    return TRIAGE_OK;
}
