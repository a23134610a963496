// Stands for templates/lib/tma.cuh: boxes that land as late as somebody waits for one, swizzled as the map says.
#ifndef TRIAGE_EMULATE_TMA
#define TRIAGE_EMULATE_TMA

#include "map.h"
#include "lib/ptx.cuh"

struct tma_copy {
    char *to;
    const emulated_map *map;
    unsigned long long *bar;
    int at[4];
};
static std::vector<tma_copy> tma_flying;

static bool tma_is_inside(const tma_copy &copy, int column, int row)
{
    const int *dims = copy.map->dims;
    return copy.at[0] + column < dims[0] && copy.at[1] + row < dims[1] && copy.at[2] < dims[2] && copy.at[3] < dims[3];
}

static void tma_row(const tma_copy &copy, int row)
{
    const emulated_map &map = *copy.map;
    const char *from = (const char *)map.base + copy.at[0] * map.element + (copy.at[1] + row) * map.strides[1] +
                       copy.at[2] * map.strides[2] + copy.at[3] * map.strides[3];
    for (int column = 0; column < map.box[0]; column++) {
        size_t to = (copy.to - (char *)room) + (row * map.box[0] + column) * map.element;
        to ^= to >> 3 & (map.swizzle == 64 ? 0x30 : 0x70);
        if (tma_is_inside(copy, column, row))
            memcpy((char *)room + to, from + column * map.element, map.element);
        else
            memset((char *)room + to, 0, map.element);
    }
}

static bool tma_land_one()
{
    if (tma_flying.empty())
        return false;
    const tma_copy copy = tma_flying.front();
    tma_flying.erase(tma_flying.begin());
    for (int row = 0; row < copy.map->box[1]; row++)
        tma_row(copy, row);
    mbarrier_at(copy.bar).bytes -= copy.map->box[0] * copy.map->element * copy.map->box[1];
    mbarrier_turn(mbarrier_at(copy.bar));
    return true;
}

static void tma_load_2d(void *to, const void *map, unsigned long long *bar, int c0, int c1)
{
    tma_flying.push_back({(char *)to, (const emulated_map *)map, bar, {c0, c1, 0, 0}});
}
static void tma_load_2d_multicast(void *, const void *, unsigned long long *, int, int, unsigned short) { abort(); }
static void tma_prefetch_map(const void *) {}
static unsigned long long l2_evict_first() { return 0; }

#endif
