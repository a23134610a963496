/* What a kernel of bsr_gemm does for a problem: tiles, waves, bytes, products. First guesses, in the units of the chip;
 * what evidence says of them is learnt on top (src/evidence/predict.h).
 *
 * The geometry is read from the axes by name, so that a new kernel with the same names is understood: tile_m and tile_n
 * (else warps of 32 rows, or the block's rows), warps_*, ctas_per_sm, stages, cluster_*. */
#include "op/bsr_gemm/bsr_gemm.h"

#include <math.h>

/* Natural logarithms, but for flags and small counts. Middle and deviation over the 2900 rows of the drawn problems and the
 * grid (tests/bench/predict.py prints them). */
const tri_feature tri_bsr_features[] = {{"guess", 3, 1.1},
                                        {"memory", 1, 1.3},
                                        {"l2", 2, 1.6},
                                        {"products", 1.5, 1.8},
                                        {"steps", -0.1, 1.6},
                                        {"waves", 0.5, 0.84},
                                        {"fullness", -0.24, 1.5},
                                        {"unevenness", 0.07, 0.12},
                                        {"tiles_per_sm", 0.8, 1},
                                        {"n", 5.4, 2},
                                        {"m", 8.3, 0.79},
                                        {"k", 8.2, 0.78},
                                        {"block_m", 3.8, 0.79},
                                        {"row_length", 2.1, 1.3},
                                        {"blocks", 6.6, 2},
                                        {"tile_m", 4.4, 1.1},
                                        {"tile_n", 4.6, 0.8},
                                        {"warps", 2, 0.65},
                                        {"ctas_per_sm", 0.45, 0.58},
                                        {"in_flight", 12, 0.54},
                                        {"smem", 10, 4.1},
                                        {"k_path", 6.4, 1.4},
                                        {"columns_used", -0.37, 0.64},
                                        {"density", -2.3, 0.96},
                                        {"imbalance", 0.07, 0.17},
                                        {"column_major", 0.53, 0.5},
                                        {"whole_n", 0.53, 0.5},
                                        {"bytes_a", 15, 1.4},
                                        {"bytes_b", 14, 2.1},
                                        {"bytes_c", 14, 2},
                                        {"stages", 1.3, 0.39},
                                        {"order", 0.17, 0.37},
                                        {"gather", 0.05, 0.23},
                                        {"cluster", 1.2, 0.48},
                                        {"ahead", 1.2, 2.2},
                                        {"group", 3.1, 5},
                                        {"wgmma", 0.11, 0.32},
                                        {"raster", 0.18, 0.46},
                                        {"c_slabs", 0.2, 0.56},
                                        {"run", 0.03, 0.16},
                                        {"stages_b", 0.26, 0.7},
                                        {"warps_m", 0.27, 0.56},
                                        {"warps_k", 0.2, 0.55},
                                        {"share", 1, 0.13},
                                        {"tile_of_block", 0.62, 1.5},
                                        {"column_tiles", 1.2, 1.3},
                                        {"parts", 0.3, 0.6},
                                        {"in_pieces", 0.1, 0.3},
                                        {0}};

/* What is asked of the chip, with the share of the data sheet's rate that such kernels reach (docs/performance.md). */
#define MEMORY_SHARE 0.83       /* of the peak: 4.0 of 4.8 TB/s on the H200 */
#define L2_BYTES_PER_CLOCK 30.6 /* of an SM: 8 TB/s on the H200 */
#define WGMMA_PER_CLOCK 2296.0  /* operations of an SM: 600 TFLOP/s on the H200, and by mma.sync 350 */
#define MMA_PER_CLOCK 1339.0
#define START_NS 4000.0   /* launch, first and last bytes */
#define STEP_NS 30.0      /* of 32 k, one after the other, where a warp does nothing but bring them */
#define OWN_STEP_NS 240.0 /* where warps bring themselves what they multiply, and wait for it */
#define WAVE_NS 700.0
/* A row's record, its columns and its first bytes come one after another, a cluster waits for all its SMs, and then their sums are added. */
#define CLUSTER_WAVE_NS 2300.0
#define ADD_NS 1500.0 /* twice as many */
#define EMPTY_PANEL_NS                                                                                       \
    2000.0 /* a tile without blocks; and what rows in pieces cost a tile (docs/notebook.md#rows-in-pieces) */
#define EVEN 1.05 /* rows so alike leave a deal nothing to even out */
#define SM_THREADS 2048
#define SM_REGISTERS 65536

/* The problem as a kernel meets it. */
typedef struct shape {
    double m, n, k, block_m, block_k, rows, columns, blocks, row_length, density, imbalance, in;
} shape;

/* How the host deals panels out. */
typedef struct deal {
    double parts, rounds;                      /* of a panel, of a worker */
    bool in_pieces;                            /* warps share rows */
    double products_ns, steps_ns, ends_ns, ns; /* of one part */
} deal;

/* One configuration of it. */
typedef struct work {
    double tile_m, tile_n, cluster, warps, split, step, smem, in_flight,
        ctas_per_sm; /* of a CTA, and how many */
    deal deal;       /* of a panel */
    double part_m;   /* rows of a tile as it is dealt */
    double row_tiles, column_tiles, ctas, fullness, waves, per_sm, uneven, busy;
    double tile_k; /* that a tile streams of B */
    double path;   /* k that the longest warp goes through */
} work;

static double least(double a, double b) {
    return a < b ? a : b;
}
static double most(double a, double b) {
    return a > b ? a : b;
}

static shape shape_of(const tri_bsr_problem *p) {
    shape s = {.m = (double)p->m,
               .n = (double)p->n,
               .k = (double)p->k,
               .block_m = p->block_m,
               .block_k = p->block_k,
               .imbalance = p->fingerprint.imbalance_e1 / 10.0,
               .in = (double)tri_dtype_size(p->in_type)};
    s.rows = s.m / s.block_m;
    s.columns = s.k / s.block_k;
    s.blocks = most(1, (double)p->nnzb);
    s.row_length = s.blocks / s.rows;
    s.density = least(1, s.blocks / (s.rows * s.columns));
    return s;
}

/* The blocks of a row dealt to the CTAs of a cluster, each on wgmma with a warp that loads. */
static bool is_dealt_to_clusters(const tri_config_axes *axes) {
    return tri_config_axis(axes, "cluster_k", 0) > 0 && tri_config_axis(axes, "warps_k", 0) == 0;
}

/* Rows and columns of a tile, and what a CTA is. */
static void read_tile(work *w, const shape *s, const tri_config_axes *axes) {
    const double warps = tri_config_axis(axes, "warps", 0), share = tri_config_axis(axes, "share", 1);
    const double few = s->n <= 8    ? 8
                       : s->n <= 16 ? 16
                       : s->n <= 32 ? 32
                                    : 64; /* of a kernel for few columns */
    w->tile_m = tri_config_axis(axes, "tile_m", warps > 0 ? warps * 32 : s->block_m * share);
    w->tile_n = tri_config_axis(axes, "tile_n", few);
    w->cluster = most(tri_config_axis(axes, "cluster_n", 1),
                      most(tri_config_axis(axes, "cluster_k", 1), tri_config_axis(axes, "cluster", 1)));
    w->split = tri_config_axis(axes, "warps_k", 1) * tri_config_axis(axes, "cluster_k", 1);
    const double groups = tri_config_axis(axes, "wg_n", 0);
    w->warps = groups > 0 ? 4 * (floor(share * s->block_m / 64) * groups + 1)
                          : most(1, warps) * tri_config_axis(axes, "warps_m", 1) *
                                tri_config_axis(axes, "warps_n", 1) * tri_config_axis(axes, "warps_k", 1);
    if (is_dealt_to_clusters(axes))
        w->warps = w->tile_m / 16 + 1;
    const double group = tri_config_axis(axes, "group", 0);
    w->step = tri_config_axis(axes, "step_k",
                              tri_config_axis(axes, "tile_k",
                                              is_dealt_to_clusters(axes) ? 64
                                              : group > 0                ? group * least(s->block_k, 64)
                                                                         : 32));
}

/* A streams through registers: each warp has its own pipeline. */
static void read_register_pipeline(work *w, const tri_config_axes *axes) {
    const double rows = w->tile_m / tri_config_axis(axes, "warps_m", 1) / 8, columns = floor(w->tile_n / 8);
    const double stages = tri_config_axis(axes, "stages", 1);
    const double registers = rows * ceil(columns / 2) * 4 + stages * rows * 4 +
                             tri_config_axis(axes, "stages_b", 1) * columns * 4 + 34;
    w->in_flight = w->warps * stages * rows * 512;
    w->ctas_per_sm = most(1, least(floor(SM_REGISTERS / (registers * 32 * w->warps)), floor(24 / w->warps)));
}

static void read_pipeline(work *w, const shape *s, const tri_config_axes *axes, const tri_device_info *info) {
    const double warps = tri_config_axis(axes, "warps", 0);
    if (tri_config_axis(axes, "warps_k", 0) > 0) {
        read_register_pipeline(w, axes);
        return;
    }
    if (warps > 0) { /* a panel: B by stages, A by each warp */
        const double stages = tri_config_axis(axes, "stages", 1);
        w->smem = stages * (tri_config_axis(axes, "group", 1) * s->block_m * w->tile_n * s->in + 16) +
                  warps * floor(32 / s->block_m) * tri_config_axis(axes, "ahead", 1) * s->block_m *
                      s->block_m * s->in;
        w->ctas_per_sm = 1;
    } else {
        const double sums = w->tile_m * w->tile_n / (w->warps * 32);
        /* as deep as fits, where that is no axis */
        const double stages =
            is_dealt_to_clusters(axes)
                ? least(8, floor(((double)info->smem_bytes_max / tri_config_axis(axes, "ctas_per_sm", 1) -
                                  1152) /
                                 ((w->tile_m + w->tile_n) * w->step * s->in)))
                : tri_config_axis(axes, "stages", 1);
        w->smem = stages * (w->tile_m + w->tile_n) * w->step * s->in;
        w->ctas_per_sm = tri_config_axis(axes, "ctas_per_sm", 0);
        if (w->ctas_per_sm < 1)
            w->ctas_per_sm = most(1, floor(least(least(4, (double)info->smem_bytes_max / (w->smem + 1024)),
                                                 least(SM_THREADS / (w->warps * 32),
                                                       SM_REGISTERS / (w->warps * 32 * (sums + 72))))));
    }
    w->in_flight = w->smem;
}

/* ---- panels, whole or as the host cuts and deals them (schedule/cut.c) ---- */

static bool is_panel(const tri_config_axes *axes) {
    return tri_config_axis(axes, "ahead", 0) > 0;
}

static bool is_dealt(const tri_config_axes *axes) {
    return tri_config_axis(axes, "order", 0) > 0;
}

/* A panel in so many parts, in the proportions of schedule/price.c: what brings B (18 a block column) and what multiplies
 * (13 a block) add in quadrature, and a tile has an end (160). In nanoseconds, of the blocks that panel.lua says an SM does
 * in the time of a tile without any. */
static void price_panel(deal *out, const shape *s, const work *w, const tri_config_axes *axes, double parts) {
    const double warps = tri_config_axis(axes, "warps", 1), group = tri_config_axis(axes, "group", 1);
    const double rows = least(s->rows, w->tile_m / s->block_m * w->cluster) / parts, here = rows / w->cluster;
    const double least_blocks = 125.0 * 64 * 256 / (w->tile_n * s->block_m * s->block_k);
    const double block_ns = EMPTY_PANEL_NS / least_blocks; /* of an SM that is busy */
    const double busy = w->tile_n <= 64 ? 8 : s->block_m <= 16 ? 6 : 5;
    const double together = tri_config_axis(axes, "gather", 0) > 0 ? 1 : group;
    const double needed = s->columns * (1 - pow(1 - s->density, rows * together));
    *out = (deal){.parts = parts, .in_pieces = is_dealt(axes) && w->cluster < 2 && here < warps};
    const double at_work = out->in_pieces ? warps : least(warps, ceil(here));
    out->products_ns = here * s->row_length / at_work * most(at_work, busy) * block_ns;
    out->steps_ns = ceil(needed / group) * group * block_ns * 18 / 13;
    out->ends_ns = (out->in_pieces ? EMPTY_PANEL_NS : 0) + block_ns * 160 / 13;
    out->ns = most(hypot(out->products_ns, out->steps_ns), EMPTY_PANEL_NS) + out->ends_ns;
}

/* How often a worker does one. Even parts end together; of uneven ones the deal gives each worker as much. */
static double rounds_of(const shape *s, const tri_config_axes *axes, double units, double workers) {
    const double share = most(1, units / workers);
    return is_dealt(axes) && s->imbalance > EVEN ? share : ceil(share - 1e-9);
}

/* Into as many parts as make the last worker end first. */
static void deal_panels(work *w, const shape *s, const tri_config_axes *axes, const tri_device_info *info) {
    const double workers = most(1, floor(info->sm_count / w->cluster)),
                 whole = is_dealt(axes) ? w->tile_m / s->block_m * w->cluster : 1;
    const double units = ceil(s->m / (w->tile_m * w->cluster)) * ceil(s->n / w->tile_n);
    w->deal.ns = INFINITY;
    for (int parts = 1; parts <= (int)whole; parts++) {
        deal one;
        price_panel(&one, s, w, axes, parts);
        one.rounds = rounds_of(s, axes, units * parts, workers);
        if (one.ns * one.rounds < w->deal.ns * w->deal.rounds || parts < 2)
            w->deal = one;
    }
}

static void count_tiles(work *w, const shape *s, const tri_config_axes *axes, const tri_device_info *info) {
    w->deal.parts = 1;
    if (is_panel(axes))
        deal_panels(w, s, axes, info);
    w->part_m = w->tile_m / w->deal.parts;
    w->row_tiles = ceil(s->m / w->tile_m) * w->deal.parts;
    w->column_tiles = ceil(s->n / w->tile_n);
    w->ctas = w->row_tiles * w->column_tiles * tri_config_axis(axes, "cluster_k", 1);
    w->fullness = w->ctas / (info->sm_count * w->ctas_per_sm);
    w->waves = ceil(w->fullness);
    w->per_sm = ceil(w->ctas / info->sm_count);
    w->uneven = w->ctas > info->sm_count ? w->per_sm * info->sm_count / w->ctas : 1;
    w->busy = least(1, w->ctas / info->sm_count);
    if (is_dealt(axes) && s->imbalance > EVEN) { /* dealt by what they cost */
        w->uneven = 1;
        w->waves = most(1, w->fullness);
    }
}

/* A tile of one block row goes through its blocks, and the longest one decides; one of several through the columns of any. */
static void measure_path(work *w, const shape *s, const tri_config_axes *axes) {
    const double rows = most(1, w->part_m / s->block_m);
    const double columns = rows > 1 ? s->columns * (1 - pow(1 - s->density, rows)) : s->row_length;
    const double longest = rows > 1 ? columns : least(s->columns, columns * s->imbalance);
    const double run = tri_config_axis(axes, "run", -1); /* a warp is dealt blocks, or steps */
    const double dealt = run == 0 ? most(w->step, s->block_k) : w->step;
    w->tile_k = columns * s->block_k;
    w->path = ceil(most(1, longest * s->block_k / dealt / w->split)) * dealt;
}

/* skinny and wmma: registers or cp.async, and no warp that only loads. */
static bool brings_own(const tri_config_axes *axes) {
    return tri_config_axis(axes, "warps_k", 0) > 0 || tri_config_axis(axes, "tile_k", 0) > 0;
}

static double logarithm(double value) {
    return log(most(value, 1e-9));
}

static void set_panel_terms(tri_cost *out, const deal *of) {
    out->term_ns[3] = of->products_ns * of->rounds;
    out->term_ns[4] = of->steps_ns * of->rounds;
    out->term_ns[5] = of->ends_ns * of->rounds;
    out->guess_ns = START_NS + out->term_ns[1] + of->ns * of->rounds;
}

/* *bytes: of A, B and C. */
static void set_terms(tri_cost *out, double bytes[3], const shape *s, const work *w,
                      const tri_config_axes *axes, const tri_device_info *info) {
    const double clock = info->clock_khz * 1e-6 * info->sm_count; /* cycles of all SMs in a nanosecond */
    const double memory = MEMORY_SHARE * 2e-6 * info->memory_clock_khz * info->memory_bus_bits / 8;
    const bool wgmma = tri_config_axis(axes, "wg_n", 0) > 0 || tri_config_axis(axes, "wgmma", 0) > 0 ||
                       is_dealt_to_clusters(axes);
    const double tiles = w->row_tiles * w->column_tiles, wait = w->uneven / w->busy;
    const double length = s->row_length * s->block_k;
    bytes[0] = s->blocks * s->block_m * s->block_k * s->in;
    bytes[1] = s->k * s->n * s->in * (1 - pow(1 - s->density, s->rows));
    bytes[2] = s->m * s->n * 2;
    out->term_ns[0] = START_NS;
    out->term_ns[1] = (bytes[0] + bytes[1] + bytes[2]) / memory;
    const double l2 =
        tiles * (w->part_m * length + w->tile_n * w->tile_k) * s->in / (L2_BYTES_PER_CLOCK * clock);
    const double products =
        tiles * 2 * w->part_m * w->tile_n * length / ((wgmma ? WGMMA_PER_CLOCK : MMA_PER_CLOCK) * clock);
    out->term_ns[2] = l2 * wait;
    out->term_ns[3] = products * wait;
    out->term_ns[4] = w->waves * w->path / 32 * (brings_own(axes) ? OWN_STEP_NS : STEP_NS);
    out->term_ns[5] =
        w->waves * (is_dealt_to_clusters(axes) ? CLUSTER_WAVE_NS + ADD_NS * log2(w->cluster) : WAVE_NS);
    out->guess_ns = START_NS + out->term_ns[1] + most(out->term_ns[2], out->term_ns[3]) + out->term_ns[4] +
                    out->term_ns[5];
    if (is_panel(axes))
        set_panel_terms(out, &w->deal);
}

static void set_features(tri_cost *out, const double bytes[3], const shape *s, const work *w,
                         const tri_config_axes *axes, bool column_major) {
    double *at = out->features;
    const double *term = out->term_ns;
    const double logarithms[] = {out->guess_ns / 1e3,
                                 term[1] / 1e3,
                                 term[2] / 1e3,
                                 term[3] / 1e3,
                                 term[4] / 1e3,
                                 w->waves,
                                 w->fullness,
                                 w->uneven,
                                 w->per_sm,
                                 s->n,
                                 s->m,
                                 s->k,
                                 s->block_m,
                                 s->row_length,
                                 s->blocks,
                                 w->tile_m,
                                 w->tile_n,
                                 w->warps,
                                 w->ctas_per_sm,
                                 w->in_flight * w->ctas_per_sm,
                                 w->smem * w->ctas_per_sm + 1,
                                 w->path,
                                 s->n / (w->column_tiles * w->tile_n),
                                 s->density,
                                 s->imbalance};
    for (size_t i = 0; i < sizeof logarithms / sizeof *logarithms; i++)
        *at++ = logarithm(logarithms[i]);
    *at++ = column_major;
    *at++ = fmod(s->n, 8) == 0;
    for (int i = 0; i < 3; i++)
        *at++ = logarithm(bytes[i]);
    *at++ = logarithm(tri_config_axis(axes, "stages", 1));
    *at++ = tri_config_axis(axes, "order", 0);
    *at++ = tri_config_axis(axes, "gather", 0);
    *at++ = w->cluster;
    static const char *const plain[] = {"ahead", "group", "wgmma", "raster", "c_slabs", "run", "stages_b"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        *at++ = tri_config_axis(axes, plain[i], 0);
    *at++ = logarithm(tri_config_axis(axes, "warps_m", 1));
    *at++ = logarithm(tri_config_axis(axes, "warps_k", 1));
    *at++ = tri_config_axis(axes, "share", 1);
    *at++ = logarithm(w->tile_m / s->block_m);
    *at++ = logarithm(w->column_tiles);
    *at++ = logarithm(w->deal.parts);
    *at++ = w->deal.in_pieces;
}

bool tri_bsr_cost(tri_cost *out, const tri_problem *problem, const char *config,
                  const tri_device_info *info) {
    const tri_bsr_problem *own = tri_bsr(problem);
    const shape s = shape_of(own);
    work w = {0};
    double bytes[3];
    tri_config_axes read;
    const tri_config_axes *axes = &read;
    *out = (tri_cost){0};
    if (info->cc == 0 || info->sm_count < 1 || info->clock_khz < 1 || info->memory_clock_khz < 1 ||
        info->memory_bus_bits < 1)
        return false; /* a CPU, or one that does not say */
    tri_config_axes_read(&read, config);
    read_tile(&w, &s, axes);
    if (w.tile_m < 1 || w.tile_n < 1 || w.warps < 1 || w.split < 1 || w.step < 1)
        return false;
    read_pipeline(&w, &s, axes, info);
    count_tiles(&w, &s, axes, info);
    measure_path(&w, &s, axes);
    set_terms(out, bytes, &s, &w, axes, info);
    set_features(out, bytes, &s, &w, axes, own->b_layout == TRIAGE_COL_MAJOR);
    return true;
}
