-- bsr_gemm: C = act(alpha A B + beta C + bias), A block-sparse (BSR).
--
-- Every kernel takes its parameters from the block at the top of its template; what is fixed by the problem
-- (types, layouts, blocks) comes from shared(), what is searched comes from the axes. A constraint's name is
-- what a user reads when nothing is legal. Kernels stand in order of preference: the first legal default is
-- what runs before anything is tuned. p, c, d: see tuner/triage.lua.

-- ---- what the problem fixes ------------------------------------------------------------------------

local cuda_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16", e4m3 = "__nv_fp8_e4m3" }
local wmma_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16", e4m3 = "e4m3_pair" }
local host_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t" }
local host_fp8_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t", e4m3 = "e4m3_t" } -- lib/host_fp8.h
local layout = { row = 0, col = 1 }
local act = { none = 0, relu = 1, gelu = 2, silu = 3 }

-- The parameters that every template of this operation has, then the given ones.
local function shared(p, types, more)
   local list = {
      { "in_type", types[p.in_type] },
      { "out_type", types[p.out_type] },
      { "block_m", p.block_m },
      { "b_layout", layout[p.b_layout] },
      { "c_layout", layout[p.c_layout] },
      { "act", act[p.activation] },
   }
   for _, param in ipairs(more) do
      table.insert(list, param)
   end
   return list
end

-- e4m3: has scale_a one number (0) or one for each block (1)?
local function scale_per_block(p)
   return { "scale_per_block", p.scale == "block" and 1 or 0 }
end

local function ceil_div(a, b)
   return (a + b - 1) // b
end

local function is_half(p)
   return p.in_type == "f16" or p.in_type == "bf16"
end

-- TMA reads rows that are multiples of 16 bytes.
local function tma_reads_b(p)
   return p.ldb * p.in_size % 16 == 0
end

-- How TMA reads row-major B: slabs of 64 columns by `rows`, by one copy for all of a tile (rank 3) or one each.
local function map_of_slabs(rank, rows, tile_n)
   if rank == 3 then
      return { rank = 3, box = { 64, rows, tile_n // 64 }, inner_split = 64, swizzle = 128, l2_promotion = 256 }
   end
   return { rank = 2, box = { 64, rows }, swizzle = 128, l2_promotion = 256 }
end

-- By one copy where B has only whole slabs.
local function slab_rank(p)
   return p.b_layout == "row" and p.n % 64 == 0 and 3 or 2
end

-- ---- wgmma: TMA + wgmma, warp-specialised ----------------------------------------------------------

local SM_SMEM = 233472       -- bytes of an SM, 1024 of them kept by the driver for each CTA
local SM_REGISTERS = 65536

local function wgmma_types(p)
   return is_half(p) and (p.out_type == "f16" or p.out_type == "bf16") or
          p.in_type == "e4m3" and p.out_type == "bf16"
end

local function wgmma_covers(p)
   return wgmma_types(p) and (p.block_m == 64 or p.block_m == 128) and p.block_k * p.in_size % 64 == 0 and
          tma_reads_b(p) and p.ldc % 8 == 0 and (is_half(p) or p.b_layout == "col")
end

-- k of the blocks of the longest block row, of which the key keeps mean and imbalance
local function wgmma_longest_row(p)
   return p.imbalance * p.nnzb / p.block_rows * p.block_k
end

local function wgmma_consumers(p, c)
   return c.share * p.block_m // 64 * c.wg_n -- warpgroups
end

local function wgmma_stage(p, c) -- bytes
   return (c.share * p.block_m + c.tile_n) * c.step_k * p.in_size
end

-- bytes: the stage ring, a store buffer of 64 x 64 for each slab, barriers, masks and two tile slots
local function wgmma_smem(p, c, stages)
   return stages * wgmma_stage(p, c) + wgmma_consumers(p, c) * c.c_slabs * 8192 + stages * 20 + 80
end

local function wgmma_fits(p, c, stages)
   return (wgmma_smem(p, c, stages) + 1024) * c.ctas_per_sm <= SM_SMEM
end

local function wgmma_tiles(p, c) -- one a cluster
   return ceil_div(p.block_rows, c.share) * ceil_div(p.n, c.tile_n * c.cluster_n)
end

-- Registers of a thread at launch, which is what ptxas compiles for.
local function wgmma_launch_registers(p, c)
   return SM_REGISTERS // c.ctas_per_sm // (128 * (wgmma_consumers(p, c) + 1)) // 8 * 8
end

-- ... and of a consumer's thread after the producer has handed its own over.
local function wgmma_consumer_registers(p, c)
   local consumers = wgmma_consumers(p, c)
   local producer = consumers == 2 and 24 or 40
   return math.min(240, (wgmma_launch_registers(p, c) * (consumers + 1) - producer) // consumers // 8 * 8)
end

local function wgmma_map_b(p, c)
   if p.b_layout == "col" then
      return { rank = 2, box = { c.step_k, math.min(c.tile_n, 256) }, swizzle = c.step_k * p.in_size,
               l2_promotion = 256 }
   end
   return map_of_slabs(slab_rank(p), c.step_k, c.tile_n)
end

local wgmma = triage.kernel {
   name = "wgmma",
   template = "templates/bsr_gemm/wgmma.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_n", { 128, 192, 256, 512 } },      -- columns of C per CTA
      { "wg_n", { 1, 2, 4 } },                   -- consumer warpgroups side by side in a tile
      { "step_k", { 32, 64, 128 } },             -- k per pipeline stage
      { "stages", { 2, 3, 4, 5, 6, 7, 8 } },     -- pipeline depth
      { "c_slabs", { 0, 1, 2, 3, 4 } },          -- store buffers of 64 x 64 per warpgroup; 0: from registers
      { "cluster_n", { 1, 2 } },                 -- CTAs that bring A's blocks to each other
      { "ctas_per_sm", { 1, 2 } },
      { "raster", { 1, 2 } },                    -- width of a band of columns, in clusters
      { "share", { 1, 2 } },                     -- block rows that share what they read of B
      { "order", { 0, 1 } },                     -- 1: the tiles are dealt to the CTAs by what they cost
      { "promote", { 0, 64, 128 } },             -- k after which sums are added in float32; 0: wgmma adds all
   },
   constraints = {
      -- e4m3: its adder keeps too few bits for f16 (measured: 1.48 and 1.69 of 1.4 allowed)
      { "f16 or bf16 inputs and results, or e4m3 and bf16", wgmma_types },
      { "column-major B: there is no product of row-major e4m3", function(p)
         return is_half(p) or p.b_layout == "col"
      end },
      { "blocks of 64 or 128 rows", function(p) return p.block_m == 64 or p.block_m == 128 end },
      { "whole stages in a block", function(p, c) return p.block_k % c.step_k == 0 end },
      { "a stage's rows of A are 64 or 128 bytes", function(p, c)
         local bytes = c.step_k * p.in_size
         return bytes == 64 or bytes == 128
      end },
      { "only two rows of 64 share B", function(p, c)
         return c.share == 1 or (p.block_m == 64 and is_half(p) and p.block_rows > 1)
      end },
      { "parts are summed apart only for e4m3, and there where each block has a scale", function(p, c)
         return is_half(p) and c.promote == 0 or p.in_type == "e4m3" and (c.promote > 0 or p.scale ~= "block")
      end },
      { "long rows of e4m3 have parts", function(p, c)
         return is_half(p) or c.promote > 0 or wgmma_longest_row(p) <= 4096
      end },
      { "parts are as long as the stage", function(p, c)
         return c.promote == 0 or c.promote == math.min(128, c.step_k)
      end },
      { "parts are whole in a stage", function(p, c) return c.promote == 0 or c.step_k % c.promote == 0 end },
      { "rows of B and C are multiples of 16 bytes", function(p) return tma_reads_b(p) and p.ldc % 8 == 0 end },
      { "a warpgroup has 64 to 256 columns, in slabs of 64", function(p, c)
         local columns = c.tile_n // c.wg_n
         return columns % 64 == 0 and columns <= 256
      end },
      { "columns of B come in boxes of one size", function(p, c)
         return p.b_layout == "row" or c.tile_n <= 256 or c.tile_n % 256 == 0
      end },
      { "1 to 4 consumer warpgroups", function(p, c) return wgmma_consumers(p, c) <= 4 end },
      { "a warpgroup's store buffers divide its slabs", function(p, c)
         return c.c_slabs == 0 or c.tile_n // c.wg_n // 64 % c.c_slabs == 0
      end },
      { "the sums leave a thread enough registers", function(p, c)
         local sums = c.tile_n // c.wg_n // 2
         local live = c.promote > 0 and 2 * sums + 40 or sums + 72
         return sums + 26 <= wgmma_launch_registers(p, c) and live <= wgmma_consumer_registers(p, c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return wgmma_fits(p, c, c.stages) and wgmma_smem(p, c, c.stages) <= d.smem_bytes_max
      end },
      -- from here on: what is legal but not worth a try
      { "no deeper pipeline would fit", function(p, c)
         return c.stages == 8 or not wgmma_fits(p, c, c.stages + 1)
      end },
      { "at least 64 KiB are on their way", function(p, c)
         return c.ctas_per_sm * c.stages * wgmma_stage(p, c) >= 65536
      end },
      -- (what was tried on 68 problems and never won by more than 1 %: 384 columns, four store buffers of a tile of
      -- 256, bands of clusters, short stages where long ones leave four)
      { "192 columns only where 128 and 256 leave more of the last tile empty", function(p, c)
         return c.tile_n ~= 192 or c.promote > 0 or
                ceil_div(p.n, 192) * 192 < math.min(ceil_div(p.n, 256) * 256, ceil_div(p.n, 128) * 128)
      end },
      { "a short stage only where a long one leaves fewer than four", function(p, c)
         local long = 128 // p.in_size -- k
         return c.step_k == long or p.block_k % long ~= 0 or c.stages < 6
      end },
      { "two store buffers, or one where the tile asks for it", function(p, c)
         local slabs = c.tile_n // c.wg_n // 64
         if c.promote > 0 then -- a whole tile is stored at once
            return c.c_slabs == slabs
         end
         if c.c_slabs == 0 then
            return c.cluster_n == 1 and c.raster == 1
         end
         return c.c_slabs == (slabs % 2 == 1 and 1 or 2)
      end },
      { "a band of two columns only where no cluster is as wide", function(p, c)
         return c.raster == 1 or c.cluster_n == 1
      end },
      { "C goes straight from registers only where a CTA has one tile", function(p, c, d)
         return c.c_slabs > 0 or wgmma_tiles(p, c) <= d.sm_count * c.ctas_per_sm
      end },
      { "rows that share B have wide tiles of their own", function(p, c)
         return c.share == 1 or (c.wg_n == 1 and c.tile_n >= 192 and c.raster == 1)
      end },
      -- b = 64 is bound by what it reads of B: dealt out, it took 228 us instead of 220
      { "tiles are dealt out only of 128 rows, of which a CTA has some, not very many, that end under others", function(p, c, d)
         local each = wgmma_tiles(p, c) / math.max(1, d.sm_count * c.ctas_per_sm // c.cluster_n)
         return c.order == 0 or (p.block_m == 128 and each <= 64 and c.raster == 1 and c.ctas_per_sm == 1 and c.c_slabs > 0 and c.promote == 0 and
                (each > 1 or (p.m * p.n <= 1048576 and p.n % 64 ~= 0))) -- small ragged ones are what tests run
      end },
      { "two CTAs per SM only for small tiles", function(p, c)
         return c.ctas_per_sm == 1 or (c.cluster_n == 1 and c.tile_n <= 256)
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return (c.tile_n == 128 and c.cluster_n == 1) or c.tile_n * c.cluster_n < 2 * p.n
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "block_k", p.block_k },
         { "tile_n", c.tile_n },
         { "wg_n", c.wg_n },
         { "step_k", c.step_k },
         { "stages", c.stages },
         { "c_slabs", c.c_slabs },
         { "cluster_n", c.cluster_n },
         { "ctas_per_sm", c.ctas_per_sm },
         { "raster", c.raster },
         { "share", c.share },
         { "order", c.order },
         { "promote", c.promote },
         scale_per_block(p),
         { "b_rank", slab_rank(p) },
      })
   end,
   launch = function(p, c, d)
      local clusters = math.max(1, d.sm_count * c.ctas_per_sm // c.cluster_n)
      return {
         grid = { math.min(wgmma_tiles(p, c), clusters) * c.cluster_n },
         block = { 128 * (wgmma_consumers(p, c) + 1) },
         cluster = { c.cluster_n },
         smem_bytes = wgmma_smem(p, c, c.stages),
         map_a = { rank = 2, box = { c.step_k, p.block_m // c.cluster_n }, swizzle = c.step_k * p.in_size,
                   l2_promotion = 256 },
         map_b = wgmma_map_b(p, c),
         map_c = { rank = 2, box = { 64, 64 }, swizzle = 128 },
         panel_rows = (c.share > 1 or c.order == 1) and c.share or 0,
         panel_columns = c.order == 1 and ceil_div(p.n, c.tile_n * c.cluster_n) or 0,
         reorder = true,
      }
   end,
   -- bytes, stores and loads: with column-major B and C 8 to 24 each way, where a thread holds a finished tile
   -- beside the sums (lab notes: 631 TFLOP/s there, 626 row-major, which does not spill)
   spill_limit = 64,
   default = {
      -- measured best at 8192^3, one block in ten: blocks of 128, where a CTA has several tiles or one; of 64
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 4, c_slabs = 2, cluster_n = 2, ctas_per_sm = 1, raster = 1, share = 1, order = 1, promote = 0 },
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 4, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 4, c_slabs = 2, cluster_n = 2, ctas_per_sm = 1, raster = 1, share = 2,
        order = 0, promote = 0 },
      { tile_n = 512, wg_n = 2, step_k = 32, stages = 5, c_slabs = 2, cluster_n = 2, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      -- e4m3 of long rows: in parts
      { tile_n = 192, wg_n = 1, step_k = 128, stages = 4, c_slabs = 3, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1,
        order = 0, promote = 128 },
      { tile_n = 128, wg_n = 1, step_k = 64, stages = 8, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1,
        order = 0, promote = 64 },
      -- few columns
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 5, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      { tile_n = 128, wg_n = 1, step_k = 64, stages = 8, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      { tile_n = 128, wg_n = 1, step_k = 64, stages = 6, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      { tile_n = 128, wg_n = 1, step_k = 32, stages = 8, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
   },
}

-- ---- panel: several small block rows share what they read of B -------------------------------------

-- Of a warp, the whole tile wide. (64, and two warps side by side, are in the template; of 68 problems they won none.)
local PANEL_WARP_ROWS = 32

local function panel_rows(p, c)
   return c.warps * PANEL_WARP_ROWS // p.block_m -- block rows
end

-- bytes: the ring of B with its barriers, and each warp's ring of A blocks
local function panel_smem(p, c, stages)
   local stage = c.group * p.block_m * c.tile_n * 2 + 16
   local ring_a = PANEL_WARP_ROWS // p.block_m * c.ahead * p.block_m * p.block_m * 2
   return (stages or c.stages) * stage + c.warps * ring_a
end

-- A gathered column of B comes by one copy where all of a tile's columns exist.
local function panel_b_rank(p, c)
   return c.gather == 1 and c.tile_n > 64 and p.n % 64 == 0 and 3 or 2
end

local function panel_map_b(p, c)
   if c.gather == 0 then
      local rows = p.b_layout == "row" and c.group * p.block_m or c.tile_n
      return { rank = 2, box = { 64, rows // c.cluster }, swizzle = 128, l2_promotion = 256 }
   end
   return map_of_slabs(panel_b_rank(p, c), p.block_m, c.tile_n)
end

-- Registers of a consumer's thread after the producer's warpgroup has handed its own over.
local function panel_registers(c)
   local warpgroups = c.warps // 4
   local launched = 512 // (warpgroups + 1) // 8 * 8
   return math.min(240, (launched * (warpgroups + 1) - 24) // warpgroups // 8 * 8)
end

-- For the deal: how many warps with blocks left keep an SM busy. Fewer go at the pace of one, which is about 0.13 us a
-- block of 16, 0.4 of 32 (docs/notebook.md#rows-of-one-warp).
local function panel_busy_warps(p, c)
   return c.tile_n > 64 and 5 or p.block_m == 16 and 8 or 7
end

-- A tile without blocks takes about 2 us, in which an SM does so many.
local function panel_least_blocks(p, c)
   return 125 * 64 * 16 * 16 // (c.tile_n * p.block_m * p.block_k)
end

local function panel_covers(p)
   return is_half(p) and p.block_m == p.block_k and (p.block_m == 16 or p.block_m == 32) and tma_reads_b(p)
end

local panel = triage.kernel {
   name = "panel",
   template = "templates/bsr_gemm/panel.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "warps", { 8, 16 } },                 -- consumer warps, along the panel
      { "tile_n", { 64, 128 } },              -- columns of C per CTA
      { "group", { 4, 8, 16 } },              -- block columns per stage
      { "stages", { 3, 4, 5, 6 } },           -- pipeline depth
      { "ahead", { 2, 4, 8 } },               -- blocks of A under way for each block row
      { "cluster", { 1, 2 } },                -- CTAs that bring B to each other
      { "gather", { 0, 1 } },                 -- 1: a stage is any block columns, not neighbours
      { "order", { 0, 1 } },                  -- 1: the tiles are dealt to the CTAs by what they cost
   },
   constraints = {
      { "f16 or bf16 inputs", function(p) return is_half(p) end },
      { "square blocks of 16 or 32", function(p)
         return p.block_m == p.block_k and (p.block_m == 16 or p.block_m == 32)
      end },
      { "rows of B are multiples of 16 bytes", function(p) return tma_reads_b(p) end },
      { "at most 32 block rows in a panel", function(p, c) return panel_rows(p, c) <= 32 end },
      { "a stage is one TMA box high", function(p, c) return c.gather == 1 or c.group * p.block_m <= 256 end },
      { "only row-major B is gathered", function(p, c) return c.gather == 0 or p.b_layout == "row" end },
      { "a stage of column-major B is 64 k wide", function(p, c)
         return p.b_layout == "row" or c.group * p.block_m % 64 == 0
      end },
      { "the sums leave a thread 40 registers", function(p, c)
         return PANEL_WARP_ROWS * c.tile_n // 32 + 40 <= panel_registers(c)
      end },
      { "shared memory fits the SM", function(p, c, d) return panel_smem(p, c) <= d.smem_bytes_max end },
      -- from here on: what is legal but not worth a try
      { "sixteen warps have 64 columns", function(p, c) return c.tile_n == 64 or c.warps == 8 end },
      { "a stage is 128 or 256 k", function(p, c) return c.group * p.block_m >= 128 end },
      { "nearly all of shared memory is used", function(p, c, d)
         return 4 * panel_smem(p, c) >= 3 * d.smem_bytes_max
      end },
      { "clusters share tiles of 512 rows x 64 columns or 256 x 128", function(p, c)
         return c.cluster == 1 or c.warps * c.tile_n == 1024
      end },
      { "columns are gathered for such tiles, as deep as memory allows", function(p, c, d)
         return c.gather == 0 or ((c.warps * c.tile_n == 1024 or (c.warps * c.tile_n == 512 and c.order == 1)) and
                c.ahead * p.block_m == 64 and
                (c.stages == 6 or panel_smem(p, c, c.stages + 1) > d.smem_bytes_max))
      end },
      { "tiles are dealt out only where rows are uneven, or tiles so few that each must be as long", function(p, c, d)
         local tiles = ceil_div(p.block_rows, panel_rows(p, c)) * ceil_div(p.n, c.tile_n)
         return c.order == 0 or (c.ahead * p.block_m == 64 and (p.imbalance >= 1.4 or (p.n > 64 and tiles <= 2 * d.sm_count)))
      end },
      { "4 block rows of A ahead hide their loads", function(p, c)
         return c.ahead * p.block_m >= 64 and c.ahead * p.block_m <= 128
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "warp_rows", PANEL_WARP_ROWS },
         { "warps_m", c.warps },
         { "warps_n", 1 },
         { "tile_n", c.tile_n },
         { "group", c.group },
         { "stages", c.stages },
         { "ahead", c.ahead },
         { "cluster", c.cluster },
         { "gather", c.gather },
         { "order", c.order },
         { "b_rank", panel_b_rank(p, c) },
      })
   end,
   launch = function(p, c, d)
      -- dealt panels may be cut, down to one row each
      local panels = c.order == 1 and p.block_rows or ceil_div(p.block_rows, panel_rows(p, c))
      local clusters = ceil_div(panels, c.cluster) * ceil_div(p.n, c.tile_n)
      return {
         grid = { math.min(clusters, math.max(1, d.sm_count // c.cluster)) * c.cluster },
         cluster = { c.cluster },
         block = { (c.warps + 4) * 32 },
         smem_bytes = panel_smem(p, c),
         map_b = panel_map_b(p, c),
         panel_rows = panel_rows(p, c),
         panel_group = c.group,
         panel_cluster = c.cluster,
         panel_columns = c.order == 1 and ceil_div(p.n, c.tile_n) or 0,
         panel_warps = c.order == 1 and c.warps or 0,
         panel_busy_warps = c.order == 1 and panel_busy_warps(p, c) or 0,
         panel_least_blocks = c.order == 1 and panel_least_blocks(p, c) or 0,
         gather = c.gather == 1,
         reorder = true,
      }
   end,
   default = {
      { warps = 16, tile_n = 64, group = 16, stages = 5, ahead = 4, cluster = 1, gather = 0, order = 0 },
      { warps = 16, tile_n = 64, group = 8, stages = 5, ahead = 2, cluster = 2, gather = 1, order = 0 },
      { warps = 16, tile_n = 64, group = 8, stages = 5, ahead = 2, cluster = 2, gather = 0, order = 0 },
   },
}

-- ---- row and strip: one block row a CTA, for rows with few blocks and for few columns ---------------------

-- The widest grid in its second dimension.
local function tiles_fit_grid(p, c)
   return ceil_div(p.n, c.tile_n) <= 65535
end

local function row_step_k(p)
   return math.min(p.block_k, 64) -- of a piece of a block
end

local function more_columns_than_a_few(p)
   return p.n > 64
end

local function suits_single_rows(p)
   return p.n <= 1024 or 16 * p.nnzb <= p.block_rows * p.block_cols
end

-- ---- row: by TMA -------------------------------------------------------------------------------------------

-- bytes: a ring of pieces of A and B, and its barriers
local function row_smem(p, c, stages)
   return stages * (c.group * (p.block_m + c.tile_n) * row_step_k(p) * 2 + 16)
end

local function row_fits(p, c, stages)
   return (row_smem(p, c, stages) + 1024) * c.ctas_per_sm <= SM_SMEM
end

local function row_sums(p, c) -- of a thread
   return p.block_m * c.tile_n // (c.warps_n * 32)
end

-- Registers of a thread: a quarter of the file serves a quarter of the warps.
local function row_registers(c)
   return math.min(255, 512 // ceil_div(c.ctas_per_sm * (c.warps_n + 1), 4) // 8 * 8)
end

local function row_map_b(p, c)
   local step_k = row_step_k(p)
   if p.b_layout == "col" then
      return { rank = 2, box = { step_k, math.min(c.tile_n, 256) }, swizzle = step_k * 2, l2_promotion = 256 }
   end
   return map_of_slabs(slab_rank(p), step_k, c.tile_n)
end

local row = triage.kernel {
   name = "row",
   template = "templates/bsr_gemm/row.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_n", { 256, 512 } },             -- columns of C per CTA
      { "warps_n", { 4, 8 } },                -- consumer warps along tile_n
      { "group", { 1, 2, 4 } },               -- pieces of blocks per stage
      { "stages", { 2, 3, 4, 5, 6, 8, 12 } }, -- pipeline depth
      { "ctas_per_sm", { 1, 2, 4 } },
   },
   constraints = {
      { "f16 or bf16 inputs", is_half },
      { "blocks of 16 or 32 rows and 16, 32 or a multiple of 64 columns", function(p)
         return (p.block_m == 16 or p.block_m == 32) and (p.block_k == 16 or p.block_k == 32 or p.block_k % 64 == 0)
      end },
      { "rows of B are multiples of 16 bytes", tma_reads_b },
      { "a grid has at most 65535 column tiles", tiles_fit_grid },
      { "a thread has 32 registers beside its sums", function(p, c)
         return row_sums(p, c) + 32 <= row_registers(c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return row_fits(p, c, c.stages) and row_smem(p, c, c.stages) <= d.smem_bytes_max
      end },
      -- from here on: what is legal but not worth a try
      { "more columns than a few", more_columns_than_a_few },
      { "where many columns meet rows that are not nearly empty, other kernels read less of B", suits_single_rows },
      { "a warp has 64 columns, of the widest tile also 128", function(p, c)
         local columns = c.tile_n // c.warps_n
         return columns == 64 or (columns == 128 and c.tile_n == 512)
      end },
      { "the CTAs of an SM have at most 1024 columns", function(p, c) return c.tile_n * c.ctas_per_sm <= 1024 end },
      { "a stage is 32 to 64 k", function(p, c)
         local k = c.group * row_step_k(p)
         return k == 32 or k == 64
      end },
      { "no deeper pipeline would fit", function(p, c)
         local deeper = { [2] = 3, [3] = 4, [4] = 5, [5] = 6, [6] = 8, [8] = 12 }
         return c.stages == 12 or not row_fits(p, c, deeper[c.stages])
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return c.tile_n < 2 * p.n
      end },
      { "few tiles need no company", function(p, c, d)
         return c.ctas_per_sm == 1 or p.block_rows * ceil_div(p.n, c.tile_n) > (c.ctas_per_sm // 2) * d.sm_count
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "block_k", p.block_k },
         { "tile_n", c.tile_n },
         { "warps_n", c.warps_n },
         { "group", c.group },
         { "stages", c.stages },
         { "ctas_per_sm", c.ctas_per_sm },
         { "b_rank", slab_rank(p) },
      })
   end,
   launch = function(p, c)
      return {
         grid = { p.block_rows, ceil_div(p.n, c.tile_n) },
         block = { (c.warps_n + 1) * 32 },
         smem_bytes = row_smem(p, c, c.stages),
         map_a = { rank = 2, box = { row_step_k(p), p.block_m }, swizzle = row_step_k(p) * 2, l2_promotion = 256 },
         map_b = row_map_b(p, c),
      }
   end,
   -- bytes: an address or two of a thread whose registers the sums fill, read once a stage; such candidates are
   -- among the fastest of short rows
   spill_limit = 32,
   default = {
      { tile_n = 512, warps_n = 8, group = 1, stages = 6, ctas_per_sm = 1 },
      { tile_n = 512, warps_n = 8, group = 2, stages = 6, ctas_per_sm = 1 },
   },
}

-- ---- strip: by cp.async ------------------------------------------------------------------------------------

local function strip_threads(c)
   return c.warps_m * c.warps_n * 32
end

-- bytes: a ring of pieces of A and B, through which C leaves
local function strip_smem(p, c, stages)
   return stages * c.group * (c.tile_m + c.tile_n) * row_step_k(p) * 2
end

local function strip_fits(p, c, stages)
   return (strip_smem(p, c, stages) + 1024) * c.ctas_per_sm <= SM_SMEM
end

local function strip_registers(c)
   return math.min(255, SM_REGISTERS // (c.ctas_per_sm * strip_threads(c)) // 8 * 8)
end

local function has_short_rows(p)
   return p.nnzb <= 4 * p.block_rows
end

-- ... and of some more, where a tile still ends soon
local function strip_suits(p)
   return suits_single_rows(p) or
          (p.block_m >= 64 and p.m * p.n <= 4194304 and 4 * p.nnzb <= p.block_rows * p.block_cols)
end

-- Rows of 16-byte chunks that the threads copy at once.
local function strip_turn(c, columns)
   return strip_threads(c) * 8 // columns
end

local function strip_deals_evenly(p, c)
   local step_k = row_step_k(p)
   local of_a = strip_turn(c, step_k)
   local of_b = p.b_layout == "row" and strip_turn(c, c.tile_n) or of_a
   local of_c = strip_turn(c, p.c_layout == "row" and c.tile_n or c.tile_m)
   return (of_a >= c.group * c.tile_m or of_a % 8 == 0) and of_b >= 1 and of_c >= 1 and
          (p.b_layout == "row" and of_b <= step_k or p.b_layout == "col" and of_b % 8 == 0 and c.tile_n % of_b == 0)
end

local strip = triage.kernel {
   name = "strip",
   template = "templates/bsr_gemm/strip.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 16, 32, 64, 128 } },      -- rows of C per CTA
      { "tile_n", { 64, 128, 256, 512 } },    -- columns of C per CTA
      { "warps_m", { 1, 2, 4, 8 } },          -- warps along tile_m
      { "warps_n", { 1, 2, 4, 8 } },          -- warps along tile_n
      { "wgmma", { 0, 1 } },                  -- 1: by wgmma
      { "group", { 1, 2 } },                  -- pieces of blocks per stage
      { "stages", { 1, 2, 3, 4, 5, 6, 8 } },  -- pipeline depth
      { "ctas_per_sm", { 1, 2, 4, 8, 16 } },
      { "order", { 0, 1 } },                  -- of the CTAs: rows first, columns first
   },
   constraints = {
      { "f16 or bf16 inputs", is_half },
      { "a grid has at most 65535 tiles in its second dimension", function(p, c)
         return (c.order == 0 and ceil_div(p.n, c.tile_n) or p.m // c.tile_m) <= 65535
      end },
      { "blocks of 16, 32, 64 or 128 rows and 16, 32 or a multiple of 64 columns", function(p)
         local m, k = p.block_m, p.block_k
         return (m == 16 or m == 32 or m == 64 or m == 128) and (k == 16 or k == 32 or k % 64 == 0)
      end },
      { "rows of B are multiples of 16 bytes", tma_reads_b },
      { "the tile is a block row, or half of one of 128", function(p, c)
         return c.tile_m == p.block_m or (p.block_m == 128 and c.tile_m == 64 and c.group == 1)
      end },
      { "several pieces are whole blocks", function(p, c) return c.group == 1 or p.block_k <= 64 end },
      { "a warpgroup has 64 rows and 64 to 256 columns", function(p, c)
         local columns = c.tile_n // c.warps_n
         return c.wgmma == 0 or (c.warps_m * 16 == c.tile_m and c.warps_m >= 4 and columns >= 64 and columns <= 256 and
                c.group == 1 and row_step_k(p) >= 32)
      end },
      { "a warp without wgmma has 16 or 32 rows and 64 or 128 columns", function(p, c)
         local columns = c.tile_n // c.warps_n
         return c.wgmma == 1 or ((columns == 64 or columns == 128) and
                c.tile_m % c.warps_m == 0 and c.tile_m // c.warps_m == math.min(32, c.tile_m))
      end },
      { "a thread has 40 registers beside its sums, of a warpgroup 32", function(p, c)
         return c.tile_m * c.tile_n // strip_threads(c) + (c.wgmma == 1 and 32 or 40) <= strip_registers(c)
      end },
      { "at most 16 warps, which share the copies evenly", function(p, c)
         return strip_threads(c) <= 512 and strip_deals_evenly(p, c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return strip_fits(p, c, c.stages) and strip_smem(p, c, c.stages) <= d.smem_bytes_max
      end },
      -- from here on: what is legal but not worth a try
      { "more columns than a few", more_columns_than_a_few },
      { "where many columns meet rows that are not nearly empty, other kernels read less of B", strip_suits },
      { "high tiles by wgmma; others 128 or 256 columns wide", function(p, c)
         return c.wgmma == 1 or ((c.tile_m < 64 or row_step_k(p) < 32) and (c.tile_n == 128 or c.tile_n == 256))
      end },
      { "the CTAs of an SM have 256 to 1024 columns, with short rows 2048", function(p, c)
         local columns = c.tile_n * c.ctas_per_sm
         return (columns >= 256 or p.block_m == 128) and columns <= (has_short_rows(p) and 2048 or 1024)
      end },
      { "a stage is 32 k or a longer block, with short rows a block", function(p, c)
         local k = c.group * row_step_k(p)
         return k == 32 or (c.group == 1 and (k == 64 or has_short_rows(p)))
      end },
      { "no deeper pipeline would fit, but for rows of few blocks", function(p, c)
         local deeper = { 2, 3, 4, 5, 6, 8 } -- of each depth up to 6
         return c.stages == 8 or not strip_fits(p, c, deeper[c.stages]) or (c.stages == 3 and has_short_rows(p))
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return c.tile_n == 128 or c.tile_n < 2 * p.n
      end },
      { "few tiles need no company", function(p, c, d)
         return c.ctas_per_sm == 1 or
                p.m // c.tile_m * ceil_div(p.n, c.tile_n) > (c.ctas_per_sm // 2) * d.sm_count
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "block_k", p.block_k },
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "warps_m", c.warps_m },
         { "warps_n", c.warps_n },
         { "wgmma", c.wgmma },
         { "group", c.group },
         { "stages", c.stages },
         { "ctas_per_sm", c.ctas_per_sm },
         { "order", c.order },
         { "whole_n", p.n % 8 == 0 and 1 or 0 },
      })
   end,
   launch = function(p, c)
      local rows, columns = p.m // c.tile_m, ceil_div(p.n, c.tile_n)
      return {
         grid = c.order == 0 and { rows, columns } or { columns, rows },
         block = { strip_threads(c) },
         smem_bytes = strip_smem(p, c, c.stages),
      }
   end,
   default = {
      { tile_m = 128, tile_n = 128, warps_m = 8, warps_n = 1, wgmma = 1, group = 1, stages = 6, ctas_per_sm = 1, order = 0 },
      { tile_m = 64, tile_n = 128, warps_m = 4, warps_n = 1, wgmma = 1, group = 1, stages = 4, ctas_per_sm = 2, order = 1 },
      { tile_m = 32, tile_n = 128, warps_m = 1, warps_n = 2, wgmma = 0, group = 1, stages = 5, ctas_per_sm = 4, order = 0 },
      { tile_m = 16, tile_n = 128, warps_m = 1, warps_n = 2, wgmma = 0, group = 2, stages = 6, ctas_per_sm = 4, order = 0 },
   },
}

-- ---- wmma: mma.sync + cp.async ---------------------------------------------------------------------

-- k is counted in elements of 16 bits: one f16 or bf16, or a pair of e4m3.
local function wmma_pack(p)
   return p.in_type == "e4m3" and 2 or 1
end

local function wmma_block_k(p)
   return p.block_k // wmma_pack(p)
end

-- bytes: kStages stages of A [tile_m][tile_k + 8] and B, row-major [tile_k][tile_n + 8],
-- column-major [tile_n][tile_k + 8]
local function wmma_smem(p, c)
   local a = c.tile_m * (c.tile_k + 8)
   local b = p.b_layout == "row" and c.tile_k * (c.tile_n + 8) or c.tile_n * (c.tile_k + 8)
   return c.stages * (a + b) * 2
end

-- B moves in 16-byte pieces when its rows allow it, else element by element.
local function wmma_copy_bytes(p)
   return p.ldb * p.in_size % 16 == 0 and 16 or 2
end

-- Sums of a thread; where blocks have scales, a slice's apart.
local function wmma_sums(p, c)
   return c.tile_m * c.tile_n // (c.warps_m * c.warps_n * 32) * (p.scale == "block" and 2 or 1)
end

-- CTAs per SM for which registers are kept: those that shared memory holds, if 72 registers a thread beside
-- the sums are left; 136 for e4m3, whose fragments sm_90 unpacks to f16.
local function wmma_min_blocks(p, c, d)
   local threads = c.warps_m * c.warps_n * 32
   local by_smem = (d.smem_bytes_max + 1024) // (wmma_smem(p, c) + 1024)
   local by_registers = SM_REGISTERS // (threads * (wmma_sums(p, c) + (is_half(p) and 72 or 136)))
   return math.max(1, math.min(4, by_smem, by_registers))
end

local wmma = triage.kernel {
   name = "wmma",
   template = "templates/bsr_gemm/wmma.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 16, 32, 64, 128 } }, -- rows of C per CTA
      { "tile_n", { 64, 128, 256 } },    -- columns of C per CTA
      { "tile_k", { 16, 32, 64 } },      -- k per pipeline stage
      { "stages", { 2, 3, 4 } },         -- pipeline depth
      { "warps_m", { 1, 2, 4 } },        -- warps along tile_m
      { "warps_n", { 1, 2, 4, 8 } },     -- warps along tile_n
   },
   constraints = {
      { "f16 or bf16 inputs, or column-major e4m3 with even rows where the chip has it", function(p, c, d)
         return is_half(p) or (p.in_type == "e4m3" and p.b_layout == "col" and p.ldb % 2 == 0 and d.cc >= 89)
      end },
      { "blocks are multiples of 16", function(p) return p.block_m % 16 == 0 and p.block_k % 16 == 0 end },
      { "blocks of e4m3 are multiples of 16 x 32", function(p) return p.block_k % (16 * wmma_pack(p)) == 0 end },
      { "column tiles fit a CUDA grid", function(p, c) return ceil_div(p.n, c.tile_n) <= 65535 end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the tile is a quarter of a block row, or as tall as divides it", function(p, c)
         return c.tile_m * 4 >= p.block_m or p.block_m % (c.tile_m * 2) ~= 0
      end },
      { "a stage is a part of a block or whole blocks", function(p, c)
         return c.tile_k % wmma_block_k(p) == 0 or wmma_block_k(p) % c.tile_k == 0
      end },
      { "a stage of 16 only where no longer one divides the block", function(p, c)
         return c.tile_k > 16 or (wmma_block_k(p) > 16 and wmma_block_k(p) % 32 ~= 0)
      end },
      { "warps split the tile into 16 x 16", function(p, c)
         return c.tile_m % (16 * c.warps_m) == 0 and c.tile_n % (16 * c.warps_n) == 0
      end },
      { "4 or 8 warps", function(p, c)
         local warps = c.warps_m * c.warps_n
         return warps == 4 or warps == 8
      end },
      { "e4m3 leaves registers for 64 sums, 32 in long stages", function(p, c)
         return is_half(p) or wmma_sums(p, c) * math.max(32, c.tile_k) <= 2048
      end },
      { "a warp's tile is as tall as 64 rows and the block allow", function(p, c)
         return c.tile_m // c.warps_m == math.min(c.tile_m, c.warps_n >= 4 and 64 or 32)
      end },
      { "a warp has 16 to 64 columns", function(p, c)
         local columns = c.tile_n // c.warps_n
         return columns >= 16 and columns <= 64
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return c.tile_n == 64 or c.tile_n < 2 * p.n
      end },
      { "shared memory fits the SM", function(p, c, d) return wmma_smem(p, c) <= d.smem_bytes_max end },
      -- (deep pipelines, wide tiles and one or two warps were tried for small problems: never the winner)
      { "where TMA kernels run, one depth and width is enough to compare", function(p, c, d)
         return d.target ~= "sm_90a" or not (wgmma_covers(p) or panel_covers(p)) or
                (c.stages == 3 and c.tile_n == (p.n > 64 and 128 or 64) and
                 (c.tile_k == 32 or wmma_block_k(p) % 32 ~= 0))
      end },
   },
   params = function(p, c, d)
      return shared(p, wmma_type, {
         { "block_k", wmma_block_k(p) },
         { "pack", wmma_pack(p) },
         scale_per_block(p),
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "tile_k", c.tile_k },
         { "stages", c.stages },
         { "warps_m", c.warps_m },
         { "warps_n", c.warps_n },
         { "min_blocks", wmma_min_blocks(p, c, d) },
         { "copy_bytes", wmma_copy_bytes(p) },
      })
   end,
   launch = function(p, c)
      return {
         grid = { p.m // c.tile_m, ceil_div(p.n, c.tile_n) },
         block = { c.warps_m * c.warps_n * 32 },
         smem_bytes = wmma_smem(p, c),
      }
   end,
   default = {
      { tile_m = 64, tile_n = 128, tile_k = 32, stages = 3, warps_m = 1, warps_n = 4 },
      { tile_m = 32, tile_n = 128, tile_k = 32, stages = 4, warps_m = 1, warps_n = 4 },
      { tile_m = 16, tile_n = 128, tile_k = 64, stages = 3, warps_m = 1, warps_n = 4 },
   },
}

-- ---- skinny: few columns, A streamed once through registers ------------------------------------------

-- The narrowest tile that holds the columns.
local function skinny_tile_n(p)
   return p.n <= 8 and 8 or p.n <= 16 and 16 or p.n <= 32 and 32 or 64
end

-- B moves in pieces of up to 16 bytes where its rows and the columns of a lane allow it.
local function skinny_copy_bytes(p)
   local whole = p.b_layout == "col" or p.n % (skinny_tile_n(p) // 8) == 0
   return p.ldb % 8 == 0 and whole and 16 or 2
end

local function skinny_warps(c)
   return c.warps_m * c.warps_k
end

local function skinny_warp_rows(c)
   return c.tile_m // c.warps_m
end

-- bytes: a padded partial tile for each of the warps that share a block row
local function skinny_smem(p, c)
   local tile_n = skinny_tile_n(p)
   local lines, length = c.tile_m, tile_n
   if p.c_layout == "col" then
      lines, length = length, lines
   end
   return c.warps_k * lines * (length + 4) * 4
end

-- Registers of a thread: the sums, the steps of A and of B under way, and what the addresses need.
local function skinny_registers(p, c)
   local row_tiles, columns = skinny_warp_rows(c) // 8, skinny_tile_n(p) // 8
   local other = skinny_copy_bytes(p) == 16 and 34 or 66
   return row_tiles * ceil_div(columns, 2) * 4 + c.stages * row_tiles * 4 + c.stages_b * columns * 4 + other
end

-- Registers that are left to a thread with `ctas` on an SM: each quarter of the SM has 16384.
local function skinny_register_limit(c, ctas)
   return math.min(255, 512 // ceil_div(ctas * skinny_warps(c), 4) // 8 * 8)
end

-- CTAs per SM: as many as the registers allow, up to 16 warps and a little over.
local function skinny_min_blocks(p, c)
   local ctas = 1
   while ctas * skinny_warps(c) < 24 and skinny_registers(p, c) <= skinny_register_limit(c, ctas + 1) do
      ctas = ctas + 1
   end
   return ctas
end

local function skinny_tiles(p, c)
   return p.m // c.tile_m * ceil_div(p.n, skinny_tile_n(p))
end

-- Steps of 32 k that a block row has for each of the warps that share it, on average.
local function skinny_steps(p, c)
   return p.nnzb * p.block_k / (32 * p.block_rows * c.cluster_k * c.warps_k)
end

-- Steps in turn that a warp takes: those of a block, or one, as where a step straddles two blocks.
local function skinny_run(p, c)
   return c.run == 0 and p.block_k % 32 == 0 and p.block_k // 32 or 1
end

local skinny = triage.kernel {
   name = "skinny",
   template = "templates/bsr_gemm/skinny.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 8, 16, 32, 64, 128 } }, -- rows of C per CTA
      { "warps_m", { 1, 2, 4 } },           -- warps along tile_m
      { "warps_k", { 2, 4, 8, 12, 16 } },   -- warps that share the blocks of a row
      { "cluster_k", { 1, 2, 4 } },         -- CTAs that share the blocks of a row
      { "run", { 0, 1 } },                  -- steps of 32 k dealt to a warp at once; 0: a block's
      { "stages", { 2, 3, 4 } },            -- steps of A under way per warp
      { "stages_b", { 1, 2, 3, 4 } },       -- ... and of B
   },
   constraints = {
      { "f16 or bf16 inputs", function(p) return is_half(p) end },
      { "blocks are multiples of 16", function(p) return p.block_m % 16 == 0 and p.block_k % 16 == 0 end },
      { "at most 64 columns", function(p) return p.n <= 64 end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "a warp has whole rows of 8", function(p, c) return c.tile_m % (8 * c.warps_m) == 0 end },
      { "the stages of B divide those of A", function(p, c) return c.stages % c.stages_b == 0 end },
      { "CTAs share a row only where the chip has clusters", function(p, c, d)
         return c.cluster_k == 1 or d.target == "sm_90a" or d.target == "sm_100a"
      end },
      { "at most 16 warps", function(p, c) return skinny_warps(c) <= 16 end },
      { "the steps under way fit the registers", function(p, c)
         return skinny_registers(p, c) <= skinny_register_limit(c, 1)
      end },
      { "shared memory fits the SM", function(p, c, d) return skinny_smem(p, c) <= d.smem_bytes_max end },
      -- from here on: what is legal but not worth a try
      { "steps are dealt one by one where a block has several, rows are short and tiles few", function(p, c, d)
         return c.run == 0 or (p.block_k >= 64 and p.block_k % 32 == 0 and skinny_steps(p, c) <= 12 and
                c.cluster_k == 1 and c.warps_m == 1 and (c.tile_m == 16 or c.tile_m == 32) and
                skinny_tiles(p, c) <= 4 * d.sm_count)
      end },
      { "as many steps under way as a warp has where they are dealt one by one, else 2 or 4", function(p, c)
         local steps = skinny_steps(p, c)
         return c.run == 0 and c.stages ~= 3 or c.run == 1 and
                (c.stages == math.min(4, math.max(2, math.ceil(steps))) or
                 c.stages == math.min(4, math.max(2, math.floor(steps))))
      end },
      { "8 or 16 warps, or 4 where blocks are small or few, or 12 where steps are dealt one by one", function(p, c, d)
         local warps = skinny_warps(c)
         return warps == 8 or warps == 16 or (warps == 12 and c.run == 1) or (warps == 4 and (p.block_m <= 32 or p.block_rows <= d.sm_count))
      end },
      { "a warp has 32 or 64 rows where the block has them", function(p, c)
         local rows = skinny_warp_rows(c)
         return rows <= 64 and (rows >= math.min(32, p.block_m) or (rows == 16 and (p.block_m == 32 or c.run == 1)) or
                p.block_m % 16 ~= 0)
      end },
      { "the tile is the block or half of it, 32 rows at least, or a quarter or less where there are few", function(p, c, d)
         return c.tile_m == p.block_m or c.tile_m * 2 == p.block_m and c.tile_m >= 32 or p.block_m % 16 ~= 0 or
                (c.tile_m * 4 == p.block_m and c.tile_m >= 32 and p.block_rows <= d.sm_count) or c.run == 1
      end },
      { "B is as deep as registers are cheap", function(p, c)
         if p.n > 32 then
            return c.stages_b <= 2
         end
         return c.stages_b == (c.run == 0 and 2 or c.stages)
      end },
      { "each warp has a step to do", function(p, c)
         local dealt = math.max(32, c.run == 1 and 32 or p.block_k) -- k at once
         return c.cluster_k * c.warps_k * dealt * p.block_rows <= math.max(1, p.nnzb) * p.block_k or
                (c.cluster_k == 1 and c.warps_k <= 4)
      end },
      { "CTAs share a row only where tiles leave half of the chip idle", function(p, c, d)
         return c.cluster_k == 1 or 2 * skinny_tiles(p, c) <= d.sm_count
      end },
      { "32 KiB or more are under way on an SM", function(p, c)
         return skinny_min_blocks(p, c) * skinny_warps(c) * c.stages * skinny_warp_rows(c) * 64 >= 32768
      end },
      { "partial sums leave L1 room for B", function(p, c)
         return skinny_min_blocks(p, c) * skinny_smem(p, c) <= 131072
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "block_k", p.block_k },
         { "tile_m", c.tile_m },
         { "tile_n", skinny_tile_n(p) },
         { "warps_m", c.warps_m },
         { "warps_k", c.warps_k },
         { "cluster_k", c.cluster_k },
         { "run", skinny_run(p, c) },
         { "stages", c.stages },
         { "stages_b", c.stages_b },
         { "min_blocks", skinny_min_blocks(p, c) },
         { "copy_bytes", skinny_copy_bytes(p) },
      })
   end,
   launch = function(p, c)
      return {
         grid = { p.m // c.tile_m * c.cluster_k, ceil_div(p.n, skinny_tile_n(p)) },
         cluster = { c.cluster_k },
         block = { skinny_warps(c) * 32 },
         smem_bytes = skinny_smem(p, c),
      }
   end,
   default = {
      { tile_m = 64, warps_m = 2, warps_k = 4, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 32, warps_m = 1, warps_k = 8, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 16, warps_m = 1, warps_k = 8, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 32, warps_m = 1, warps_k = 4, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 16, warps_m = 1, warps_k = 4, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
   },
}

-- ---- host: OpenMP + vectors ------------------------------------------------------------------------

-- target -> floats of a vector register, registers
local vectors = {
   ["x86_64-avx512"] = { lanes = 16, registers = 32 },
   ["x86_64-avx2"] = { lanes = 8, registers = 16 },
   ["aarch64"] = { lanes = 4, registers = 32 },
}

local function vector_of(d)
   return vectors[d.target] or { lanes = 4, registers = 16 }
end

-- The accumulators, one row of B, and one element of A stay in registers.
local function host_fits(tile_m, tile_n, d)
   local v = vector_of(d)
   return (tile_m + 1) * ceil_div(tile_n, v.lanes) + 1 <= v.registers
end

local host = triage.kernel {
   name = "host",
   template = "templates/bsr_gemm/host.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "tile_n", { 8, 16, 32, 48, 64 } },               -- columns of a register tile
      { "tile_m", { 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16 } }, -- rows of a register tile
      { "unroll", { 1, 4 } },                            -- steps of k per loop turn
      { "schedule", { "static", "dynamic" } },           -- of the tasks over the threads
      { "row_tasks", { 1, 4, 16 } },                     -- tasks that share a panel of columns
      { "pack", { 1, 0 } },                              -- 1 copies each panel of B, 0 reads it in place
   },
   constraints = {
      { "f32, f16 or bf16", function(p) return host_type[p.in_type] ~= nil and host_type[p.out_type] ~= nil end },
      { "a row of the tile fills a vector", function(p, c, d) return c.tile_n >= vector_of(d).lanes end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the tile stays in registers", function(p, c, d) return host_fits(c.tile_m, c.tile_n, d) end },
      { "no taller tile would stay in registers", function(p, c, d)
         for tile_m = c.tile_m + 1, 16 do
            if p.block_m % tile_m == 0 and host_fits(tile_m, c.tile_n, d) and tile_m ~= 9 and tile_m ~= 11 and
               tile_m ~= 13 and tile_m ~= 15 then
               return false
            end
         end
         return true
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return c.tile_n <= 16 or c.tile_n < 2 * p.n
      end },
      { "only row-major f32 can be read in place", function(p, c)
         return c.pack == 1 or (p.in_type == "f32" and p.b_layout == "row")
      end },
      { "with a dynamic schedule many tasks would pack a panel many times", function(p, c)
         return c.schedule == "static" or c.row_tasks < 16
      end },
   },
   params = function(p, c)
      return shared(p, host_type, {
         { "block_k", p.block_k },
         { "tile_n", c.tile_n },
         { "tile_m", c.tile_m },
         { "unroll", c.unroll },
         { "row_tasks", c.row_tasks },
         { "pack", c.pack },
         { "schedule", c.schedule },
      })
   end,
   launch = function() return {} end,
   default = {
      { tile_n = 32, tile_m = 8, unroll = 4, schedule = "dynamic", row_tasks = 1, pack = 1 },
      { tile_n = 16, tile_m = 4, unroll = 4, schedule = "dynamic", row_tasks = 1, pack = 1 },
   },
}

local host_fp8 = triage.kernel {
   name = "host_fp8",
   template = "templates/bsr_gemm/host_fp8.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "tile_n", { 16, 32 } },            -- columns of a panel
      { "tile_m", { 1, 2, 3, 4, 6, 8, 12 } }, -- rows of a register tile
   },
   constraints = {
      { "e4m3", function(p) return p.in_type == "e4m3" end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the tile stays in registers", function(p, c, d) return host_fits(c.tile_m, c.tile_n, d) end },
   },
   params = function(p, c)
      return shared(p, host_fp8_type, {
         { "block_k", p.block_k },
         scale_per_block(p),
         { "tile_n", c.tile_n },
         { "tile_m", c.tile_m },
      })
   end,
   launch = function() return {} end,
   default = {
      { tile_n = 32, tile_m = 8 },
      { tile_n = 16, tile_m = 4 },
      { tile_n = 16, tile_m = 2 },
      { tile_n = 16, tile_m = 1 },
   },
}

-- ---- the plain kernels of verification -------------------------------------------------------------

local reference = {
   cuda = {
      template = "templates/bsr_gemm/reference.cu",
      params = function(p) return shared(p, cuda_type, { { "block_k", p.block_k }, scale_per_block(p) }) end,
      launch = function(p)
         local rows, cols = 8, 32 -- threads: 32 along the contiguous direction of C
         if p.c_layout == "col" then
            rows, cols = cols, rows
         end
         return { grid = { ceil_div(p.m, rows), ceil_div(p.n, cols) }, block = { 256 } }
      end,
   },
   host = {
      template = "templates/bsr_gemm/reference.c",
      params = function(p) return shared(p, host_fp8_type, { { "block_k", p.block_k }, scale_per_block(p) }) end,
      launch = function() return {} end,
   },
}

return triage.space {
   op = "bsr_gemm",
   reference = reference,
   kernels = { panel, wgmma, row, strip, wmma, skinny, host, host_fp8 },
}
