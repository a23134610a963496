/* What a run does now, for who watches it. */
#include "tune/search.h"

/* In words, of the measurer and of the state of trials. */
static const char *doing_of(const tri_search *search, const tri_tune_moment *moment) {
    if (search->lock.waits_since_ns && !search->lock.taken)
        return "waiting for the device";
    switch (search->measurer) {
    case TRI_MEASURER_OPENING:
        return "opening the device";
    case TRI_MEASURER_PREPARING:
        return "preparing inputs and reference";
    default:
        return moment->config ? "timing" : NULL;
    }
}

void tri_search_show(const tri_search *search, const char *doing, const char *config) {
    const tri_tune_options *options = search->options;
    tri_tune_moment moment = {.doing = doing, .config = config, .left_s = -1};
    if (!options->watch)
        return;
    for (size_t i = 0; i < search->trial_count; i++) {
        const tri_search_trial *trial = search->trials[i];
        if (trial->state == TRI_TRIAL_MEASURING && !config)
            moment.config = trial->row.config;
        if (trial->state == TRI_TRIAL_COMPILING && !moment.compiling++)
            moment.compiled_config = trial->row.config;
    }
    if (!doing)
        moment.doing = doing_of(search, &moment);
    if (options->time_limit_s > 0)
        moment.left_s = options->time_limit_s - tri_search_seconds_used(search);
    options->watch(options->watch_user, &moment);
}
