/* The same on a GPU: each CUDA template broken in ways that the gate must refuse. Without a device the mutated
 * texts are compiled only, which shows that the mutations still apply and are CUDA. */
#include "support/gate_world.h"

#define NOT_A_NUMBER "__int_as_float(0x7fffffff)"

/* The mma.sync kernels end in store_warp_tile on what acc holds. */
#define WMMA_STORE "store_warp_tile<kAct, kCLayout>(out, acc, row0, col0, lane);"
#define PANEL_STORE "store_warp_tile<kAct, kCLayout>(out, acc[r], row * kBlock, tile.col, lane);"
#define PANEL_SLOT "slot = {record.row, record.begin, record.end};"
#define ROW_STORE "store_warp_tile<kAct, kCLayout>(out, acc, work.row * kBlockM, col0, lane);"
#define OUT_VIEW "output_view<out_t> out = make_output_view<out_t>(args);"
#define ZERO(acc) "{ for (auto &m : " acc ") for (auto &n : m) for (auto &v : n) v = 0.0f; "

static const mutation of_wmma[] = {
    {"none", NULL, NULL},
    {"zero output", WMMA_STORE, ZERO("acc") WMMA_STORE "}"},
    {"one dropped block", "(work.end - first_block) * kSlicesPerBlock;",
     "(work.end - first_block - (block_row == 1)) * kSlicesPerBlock;"},
    {"one row 1 % off", WMMA_STORE,
     "{ if (blockIdx.x == 0 && threadIdx.x / 4 == 2) acc[0][0][0] *= 1.01f, acc[0][0][1] *= "
     "1.01f; " WMMA_STORE "}"},
    {"NaN in one element", WMMA_STORE,
     "{ if (blockIdx.x == 0 && threadIdx.x == 5) acc[0][0][1] = " NOT_A_NUMBER "; " WMMA_STORE "}"},
    {"alpha ignored", OUT_VIEW, OUT_VIEW " out.alpha = 1.0f;"},
    {"beta ignored", OUT_VIEW, OUT_VIEW " out.beta = 0.0f;"},
    {"last column unwritten", OUT_VIEW, OUT_VIEW " out.n -= 1;"},
};

static const mutation of_panel[] = {
    {"none", NULL, NULL},
    {"zero output", PANEL_STORE, ZERO("acc[r]") PANEL_STORE "}"},
    {"blocks of one row taken one too early", PANEL_SLOT,
     PANEL_SLOT " if (record.row == 3) slot.begin -= 1, slot.end -= 1;"},
    {"one row 1 % off", PANEL_STORE,
     "{ if (row == 1 && lane / 4 == 2) acc[r][0][0][0] *= 1.01f, acc[r][0][0][1] *= 1.01f; " PANEL_STORE "}"},
    {"NaN in one element", PANEL_STORE,
     "{ if (row == 2 && lane == 5) acc[r][0][0][1] = " NOT_A_NUMBER "; " PANEL_STORE "}"},
    {"one block row unwritten", "if (row >= 0)", "if (row >= 0 && row != 4)"},
    {"alpha ignored", OUT_VIEW, OUT_VIEW " out.alpha = 1.0f;"},
    {"beta ignored", OUT_VIEW, OUT_VIEW " out.beta = 0.0f;"},
};

#define WGMMA_X1 "const float x1 = sum[i + 1] * alpha"
#define WGMMA_END "work.begin = row.begin, work.end = row.end;"

static const mutation of_wgmma[] = {
    {"none", NULL, NULL},
    {"zero output", "pack2<out_t>(activate<kAct, out_t>(x0), activate<kAct, out_t>(x1))",
     "pack2<out_t>(0.0f, 0.0f)"},
    {"one dropped block", WGMMA_END, "work.begin = row.begin, work.end = row.end - (row.row == 1);"},
    {"a row's first columns are others", "work.early = {args.rows[at].col[",
     "work.early = {(row.row == 2) ^ args.rows[at].col["},
    {"one row 1 % off", WGMMA_X1,
     "const float x1 = (blockIdx.x == 0 && threadIdx.x / 4 == 2 ? 1.01f : 1.0f) * sum[i + 1] * alpha"},
    {"NaN in one element", WGMMA_X1,
     "const float x1 = (blockIdx.x == 0 && threadIdx.x == 5 && i == 4 ? " NOT_A_NUMBER
     " : 1.0f) * sum[i + 1] * alpha"},
    {"alpha ignored", ": args.alpha;", ": 1.0f;"},
    {"beta ignored", "args.beta * static_cast<float>", "0.0f * static_cast<float>"},
};

#define WGMMA_MASK "sync().rows[slot] = rows;"
#define WGMMA_MINE "if (mine) {\n            wgmma_fence_registers(sum);\n            wgmma_fence();"

static const mutation of_shared[] = {
    {"none", NULL, NULL},
    {"the second row's block forgotten", WGMMA_MASK, "sync().rows[slot] = slot == 1 ? rows & 1 : rows;"},
    {"products of the other row too", WGMMA_MINE, "if (true) {\n            wgmma_fence();"},
    {"a pair's first columns are others", "work.early = {panel.first[early].col,",
     "work.early = {panel.first[early].col ^ (place == 1),"},
    {"the rows of a pair change places", "finish_tile(args, finished, sum, alpha, row * kBlockM",
     "finish_tile(args, finished, sum, alpha, (row < 2 ? 1 - row : row) * kBlockM"},
};

static const mutation of_direct[] = {
    {"none", NULL, NULL},
    {"two pairs of a line change places", "make_uint4(v[0], v[1], v[2], v[3]);",
     "make_uint4(v[1], v[0], v[2], v[3]);"},
    {"the halves of sixteen rows change places", "kCLayout == 0 ? i % 2 * 8 + g",
     "kCLayout == 0 ? 8 - i % 2 * 8 + g"},
    {"last piece unwritten", "            *reinterpret_cast<uint4 *>(c + at) =",
     "            if (n + 8 != args.n) *reinterpret_cast<uint4 *>(c + at) ="},
};

static const mutation of_gathered[] = {
    {"none", NULL, NULL},
    {"a column comes from beside it",
     "tma_load_2d(part, &args.map_b, full, col + box * 64, column * kBlock);",
     "tma_load_2d(part, &args.map_b, full, col + box * 64, (column ^ (column == 5)) * kBlock);"},
    {"a step's rows are the next step's", "unsigned mine = lane < kGroup",
     "next = __shfl_xor_sync(0xffffffffu, next, 1); unsigned mine = lane < kGroup"},
    {"one block row unwritten", "if (row >= 0)", "if (row >= 0 && row != 4)"},
};

static const mutation of_dealt[] = {
    {"none", NULL, NULL},
    {"a tile is left out", "args.deal[round * workers + me];",
     "args.deal[round * workers + me] == 1 ? -1 : args.deal[round * workers + me];"},
};

static const mutation of_pieces[] = {
    {"none", NULL, NULL},
    {"one piece is not added", "for (; others; others &= others - 1) {",
     "for (others &= others - 1; others; others &= others - 1) {"},
    {"pieces are stored, not added", "if (__any_sync(0xffffffffu, stores && (pieces & (pieces - 1))))",
     "if (false)"},
    {"a piece begins one block later", "blocks.first += before;", "blocks.first += before + (before == 1);"},
    {"sums of the wrong columns", "acc[r][i % kHalves][n0 + i / kHalves];\n                    float4 more",
     "acc[r][i % kHalves][(n0 + i / kHalves) ^ 1];\n                    float4 more"},
};

static const mutation of_dealt_tiles[] = {
    {"none", NULL, NULL},
    {"a tile is left out", "kOrder == 0 ? at : args.deal[at];",
     "kOrder == 0 ? at : args.deal[at] == 1 ? -1 : args.deal[at];"},
    {"a tile is its neighbour", "place = tile / columns;\n            column",
     "place = tile / columns;\n            tile ^= tile == 3;\n            column"},
};

static const mutation of_row[] = {
    {"none", NULL, NULL},
    {"zero output", ROW_STORE, ZERO("acc") ROW_STORE "}"},
    {"one dropped block", "int pieces = (work.end - work.begin) * kPieces;",
     "int pieces = (work.end - work.begin - (work.row == 1)) * kPieces;"},
    {"a row's first columns are others", "int early = record.col[",
     "int early = (work.row == 2) ^ record.col["},
    {"a later column is another", "&full[slot], column, at % kPieces, col);",
     "&full[slot], column ^ (column == 5), at % kPieces, col);"},
    {"a block of A is its neighbour's", "(work.begin + at / kPieces) * kBlockM",
     "(work.begin + (at / kPieces ^ (at / kPieces == 2 && work.row == 3))) * kBlockM"},
    {"one row 1 % off", ROW_STORE,
     "{ if (blockIdx.x == 0 && threadIdx.x / 4 == 2) acc[0][0][0] *= 1.01f, acc[0][0][1] *= "
     "1.01f; " ROW_STORE "}"},
    {"NaN in one element", ROW_STORE,
     "{ if (blockIdx.x == 0 && threadIdx.x == 5) acc[0][0][1] = " NOT_A_NUMBER "; " ROW_STORE "}"},
    {"alpha ignored", OUT_VIEW, OUT_VIEW " out.alpha = 1.0f;"},
    {"beta ignored", OUT_VIEW, OUT_VIEW " out.beta = 0.0f;"},
};

#define STRIP_X0 "out.alpha * d[0] + bias[i % 2]"

static const mutation of_strip[] = {
    {"none", NULL, NULL},
    {"zero output", "const float *d = &acc[mt][nj * 2 + i / 2][i % 2 * 2];", "const float d[2] = {};"},
    {"one dropped block", "from.pieces = (work.end - work.begin) * kPieces;",
     "from.pieces = (work.end - work.begin - (work.row == 1)) * kPieces;"},
    {"a row's first columns are others", "columns.early = record.col[",
     "columns.early = (work.row == 2) ^ record.col["},
    {"a later column is another", "columns.here, block % 32);", "columns.here, block % 32) ^ (block == 5);"},
    {"a row of A is its neighbour's", "from.a + block + row * (kBlockK * 2)",
     "from.a + block + row * (kBlockK * 2) + (threadIdx.x == 5 ? kBlockK * 2 : 0)"},
    {"one row 1 % off", STRIP_X0,
     "(blockIdx.x == 0 && threadIdx.x / 4 == 2 ? 1.01f : 1.0f) * out.alpha * d[0] + bias[i % 2]"},
    {"NaN in one element", STRIP_X0,
     "(blockIdx.x == 0 && threadIdx.x == 5 && nj == 1 ? " NOT_A_NUMBER " : 1.0f) * " STRIP_X0},
    {"a line of C is its neighbour's", "swizzled<kLineChunks>(mine.row + line, mine.chunk)",
     "swizzled<kLineChunks>(mine.row - (mine.row == 1) + line, mine.chunk)"},
    {"a part of C unwritten", "col + (kCLayout == 0 ? 0 : line) < out.n)",
     "col + (kCLayout == 0 ? 0 : line) < out.n && row != 1)"},
    {"alpha ignored", OUT_VIEW, OUT_VIEW " out.alpha = 1.0f;"},
    {"beta ignored", OUT_VIEW, OUT_VIEW " out.beta = 0.0f;"},
};

#define SKINNY_STORE "out_t(finish<kAct, kCLayout, kBeta>(out, sum[e],"

static const mutation of_skinny[] = {
    {"none", NULL, NULL},
    {"zero output", SKINNY_STORE, "out_t(finish<kAct, kCLayout, kBeta>(out, 0.0f,"},
    {"one dropped block", "src.slices = (work.end - first_block) * kSlices;",
     "src.slices = (work.end - first_block - (block_row == 1)) * kSlices;"},
    {"a row's first columns are others", "load_cached_4(from + block)",
     "load_cached_4(from + block) ^ (block_row == 2)"},
    {"one row 1 % off", SKINNY_STORE,
     "out_t(finish<kAct, kCLayout, kBeta>(out, r == 5 ? 1.01f * sum[e] : sum[e],"},
    {"NaN in one element", SKINNY_STORE,
     "out_t(finish<kAct, kCLayout, kBeta>(out, r == 5 && c == 3 ? " NOT_A_NUMBER " : sum[e],"},
    {"one row unwritten", "|| col >= out.n)", "|| col >= out.n || row == 7)"},
    {"two neighbours change places", "to.v[e] =", "to.v[kWide > 1 ? e ^ 1 : e] ="},
    {"a warp takes another's steps", "kWorkers + src.worker) * kRun",
     "kWorkers + (src.worker == 1 ? 0 : src.worker)) * kRun"},
    {"alpha ignored", OUT_VIEW, OUT_VIEW " out.alpha = 1.0f;"},
    {"beta ignored", OUT_VIEW, OUT_VIEW " out.beta = 0.0f;"},
};

static const mutation of_e4m3[] = {
    {"none", NULL, NULL},
    {"a block's scale is its neighbour's", "next = scales[step / kStepsPerBlock + 1];",
     "next = scales[step / kStepsPerBlock];"},
    {"scale of B ignored", "alpha = kInBytes == 1 ? scaled_alpha(args, kScalePerBlock) : args.alpha;",
     "alpha = args.alpha;"},
    {"one block's sums not added", "scale = next;\n",
     "scale = step == 2 * kStepsPerBlock && tile.row[0] == 1 ? 0.0f : next;\n"},
};

#define TABLE(table) table, sizeof table / sizeof table[0]

static const struct {
    const char *kernel;
    int32_t block;
    int64_t cols;
    const mutation *table;
    size_t count;
    const char *with;
    bool e4m3; /* column-major, a scale for each block */
} cases[] = {
    {"wmma", 32, 77, TABLE(of_wmma), NULL, false},
    {"panel", 16, 136, TABLE(of_panel), NULL, false},
    {"panel", 32, 72, TABLE(of_panel), NULL, false},
    {"panel", 16, 136, TABLE(of_gathered), "gather=1", false},
    {"panel", 32, 136, TABLE(of_dealt), "order=1", false},
    {"panel", 16, 136, TABLE(of_pieces), "tile_n=64 group=16 stages=4 ahead=4 cluster=1 gather=0 order=1",
     false},
    {"panel", 32, 136, TABLE(of_pieces), "tile_n=128 group=8 stages=3 ahead=2 cluster=1 gather=1 order=1",
     false},
    {"row", 16, 136, TABLE(of_row), NULL, false},
    {"row", 32, 328, TABLE(of_row), NULL, false},
    {"strip", 16, 136, TABLE(of_strip), NULL, false},
    {"strip", 32, 328, TABLE(of_strip), NULL, false},
    {"strip", 64, 328, TABLE(of_strip), NULL, false},
    {"strip", 128, 328, TABLE(of_strip), NULL, false},
    {"skinny", 16, 40, TABLE(of_skinny), NULL, false},
    {"skinny", 64, 16, TABLE(of_skinny), "run=0", false},
    {"skinny", 64, 16, TABLE(of_skinny), "run=1", false},
    {"wgmma", 64, 328, TABLE(of_wgmma), "share=1", false},
    {"wgmma", 64, 328, TABLE(of_shared), "share=2", false},
    {"wgmma", 64, 328, TABLE(of_direct), "c_slabs=0", false},
    {"wgmma", 128, 456, TABLE(of_dealt_tiles), "order=1", false},
    {"wgmma", 128, 200, TABLE(of_wgmma), NULL, false},
    {"wgmma", 128, 208, TABLE(of_e4m3), "promote=128", true},
    {"wgmma", 64, 128, TABLE(of_e4m3), "promote=64", true},
};

static bool has_device;

/* What can be said without a GPU: the text is found and the broken kernel compiles for sm_90a. */
static void compile_only(const world_shape *shape, const mutation *table, size_t count) {
    tri_pattern pattern = {0};
    tri_problem problem = problem_of_shape(&pattern, shape);
    tri_device_info info;
    tri_space *space = NULL;
    tri_configs configs = {0};
    tri_candidate candidate = {0};
    tri_source source = {0};
    must(tri_device_info_of_target(&info, "sm_90a"));
    must(tri_space_open(&space, &tri_op_bsr_gemm, &(tri_space_options){.data_dir = TRI_SOURCE_DIR}));
    must(tri_space_enumerate(&configs, space, &problem, &info));
    const char *config = configs.text[first_of_kernel(&configs, shape->kernel, shape->with)];
    must(tri_space_candidate(&candidate, space, &problem, &info, config));
    must(tri_render(&source, &candidate, TRI_SOURCE_DIR));
    for (size_t i = 0; i < count; i++) {
        tri_image image = {0};
        tri_source broken = source;
        broken.text = mutate(source.text, &table[i]);
        if (!broken.text)
            fail_msg("%s: the template no longer has: %s", table[i].name, table[i].find);
        triage_status status = tri_compile(&image, "sm_90a", &broken, NULL);
        if (status != TRIAGE_E_NO_DEVICE) /* no NVRTC here */
            must(status);
        tri_image_free(&image);
        free(broken.text);
    }
    tri_source_free(&source);
    tri_candidate_free(&candidate);
    tri_configs_free(&configs);
    tri_space_free(space);
    tri_pattern_free(&pattern);
}

/* TRIAGE_TEST_PART=I/N: the I-th of N parts of the tables, so that N processes share them. */
static bool is_of_part(size_t table) {
    const char *part = getenv("TRIAGE_TEST_PART");
    unsigned mine = 1, parts = 1;
    if (part && (sscanf(part, "%u/%u", &mine, &parts) != 2 || mine < 1 || mine > parts))
        fail_msg("TRIAGE_TEST_PART is %s; allowed: I/N, I from 1 to N", part);
    return table % parts == mine - 1;
}

static void test_templates(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!is_of_part(i))
            continue;
        const world_shape shape = {.device = "cuda",
                                   .kernel = cases[i].kernel,
                                   .dtype = cases[i].e4m3 ? TRIAGE_E4M3 : TRIAGE_F16,
                                   .out = cases[i].e4m3 ? TRIAGE_BF16 : TRIAGE_F16,
                                   .layout = cases[i].e4m3 ? TRIAGE_COL_MAJOR : TRIAGE_ROW_MAJOR,
                                   .scale_per_block = cases[i].e4m3,
                                   .rows = 16 * cases[i].block,
                                   .cols = cases[i].cols,
                                   .depth = (cases[i].table == of_pieces ? 48 : 12) * cases[i].block,
                                   .block = cases[i].block,
                                   .with = cases[i].with,
                                   .uneven = cases[i].table == of_dealt || cases[i].table == of_dealt_tiles ||
                                             cases[i].table == of_pieces};
        if (!has_device) {
            compile_only(&shape, cases[i].table, cases[i].count);
            continue;
        }
        world w;
        open_world(&w, &shape);
        check_table(&w, &w.source, &w.candidate.launch, cases[i].table, cases[i].count);
        printf("%s %s, block %d: %zu mutations refused\n", cases[i].kernel,
               cases[i].with ? cases[i].with : "", (int)cases[i].block, cases[i].count - 1);
        close_world(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_templates)};
    int count = 0;
    has_device = tri_device_count(&count, "cuda") == TRIAGE_OK && count > 0;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0 && !has_device) {
        printf("skipped: no CUDA device (mutations compiled only)\n");
        return 77;
    }
    return failed;
}
