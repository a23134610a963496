/* All contestants. */
#include "cli/bench/bench.h"

#define TRI_CONTESTANT(name) extern const tri_contestant_type tri_contestant_##name;
#include "cli/bench/list.def"
#undef TRI_CONTESTANT
const tri_contestant_type *const tri_contestant_types[] = {
#define TRI_CONTESTANT(name) &tri_contestant_##name,
#include "cli/bench/list.def"
#undef TRI_CONTESTANT
    NULL};
