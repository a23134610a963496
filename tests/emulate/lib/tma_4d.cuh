// Stands for templates/lib/tma_4d.cuh: boxes of rank 4 that land as late as somebody waits for one, 128-byte swizzle.
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

static void tma_row(const tma_copy &copy, int row, int width)
{
    const emulated_map &map = *copy.map;
    const char *from = (const char *)map.base + copy.at[0] * map.element + (copy.at[1] + row) * map.strides[1] +
                       copy.at[2] * map.strides[2] + copy.at[3] * map.strides[3];
    bool there = copy.at[1] + row < map.dims[1] && copy.at[2] < map.dims[2] && copy.at[3] < map.dims[3];
    for (int piece = 0; piece < width / 16; piece++) {
        size_t to = (copy.to - (char *)room) + row * width + piece * 16;
        to ^= to >> 3 & 0x70;
        if (there)
            memcpy((char *)room + to, from + piece * 16, 16);
        else
            memset((char *)room + to, 0, 16);
    }
}

static bool tma_land_one()
{
    if (tma_flying.empty())
        return false;
    const tma_copy copy = tma_flying.front();
    tma_flying.erase(tma_flying.begin());
    const int width = copy.map->box[0] * copy.map->element;
    for (int row = 0; row < copy.map->box[1]; row++)
        tma_row(copy, row, width);
    mbarrier_at(copy.bar).bytes -= width * copy.map->box[1];
    mbarrier_turn(mbarrier_at(copy.bar));
    return true;
}

static void tma_load_4d(void *to, const void *map, unsigned long long *bar, int c0, int c1, int c2, int c3,
                        unsigned long long)
{
    tma_flying.push_back({(char *)to, (const emulated_map *)map, bar, {c0, c1, c2, c3}});
}
static void tma_prefetch_map(const void *) {}
static unsigned long long l2_evict_first() { return 0; }

#endif
