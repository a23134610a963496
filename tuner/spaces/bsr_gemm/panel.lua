-- panel: a CTA computes several small block rows, which share the loads of B (TMA, mma.sync, warp-specialised, persistent).

local common = require "bsr_gemm.common"
local cuda_type, shared, ceil_div, is_half = common.cuda_type, common.shared, common.ceil_div, common.is_half
local tma_reads_b, map_of_slabs = common.tma_reads_b, common.map_of_slabs

-- Rows of a warp, which takes all columns of the tile. (64 rows, and two warps along n, won none of 68 problems.)
local PANEL_WARP_ROWS = 32

local function panel_rows(p, c)
   return c.warps * PANEL_WARP_ROWS // p.block_m -- block rows
end

-- bytes: the stage ring of B with its barriers, and each warp's own ring of A blocks
local function panel_smem(p, c, stages)
   local stage = c.group * p.block_m * c.tile_n * 2 + 16
   local ring_a = PANEL_WARP_ROWS // p.block_m * c.ahead * p.block_m * p.block_m * 2
   return (stages or c.stages) * stage + c.warps * ring_a
end

-- A gathered block column of B is one copy where n is a multiple of the slab.
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

-- Registers of a consumer thread after setmaxnreg moved the producer warpgroup's to the consumers.
local function panel_registers(c)
   local warpgroups = c.warps // 4
   local launched = 512 // (warpgroups + 1) // 8 * 8
   return math.min(240, (launched * (warpgroups + 1) - 24) // warpgroups // 8 * 8)
end

-- For the schedule's cost model: how many warps with blocks left saturate an SM; fewer run at the speed of a single one
-- (docs/notebook.md#rows-in-pieces).
local function panel_busy_warps(p, c)
   return c.tile_n == 64 and 8 or p.block_m == 16 and 6 or 5
end

-- For the cost model: a tile without blocks takes about 2 us, the time of so many blocks.
local function panel_least_blocks(p, c)
   return 125 * 64 * 16 * 16 // (c.tile_n * p.block_m * p.block_k)
end

local panel = triage.kernel {
   name = "panel",
   template = "templates/bsr_gemm/panel.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "warps", { 8, 16 } },                 -- consumer warps, along the panel
      { "tile_n", { 64, 128 } },              -- columns of C per CTA
      { "group", { 4, 8, 16 } },              -- block columns of B per stage
      { "stages", { 3, 4, 5, 6 } },           -- pipeline depth
      { "ahead", { 2, 4, 8 } },               -- blocks of A prefetched per block row
      { "cluster", { 1, 2 } },                -- CTAs that share B by multicast
      { "gather", { 0, 1 } },                 -- 1: a stage gathers any needed block columns; 0: a run of neighbours
      { "order", { 0, 1 } },                  -- 1: the host assigns tiles to CTAs by their cost (docs/schedule.md)
   },
   constraints = {
      { "f16 or bf16 inputs", function(p) return is_half(p) end },
      { "square blocks of 16 or 32", function(p)
         return p.block_m == p.block_k and (p.block_m == 16 or p.block_m == 32)
      end },
      { "rows of B are multiples of 16 bytes", function(p) return tma_reads_b(p) end },
      { "at most 32 block rows in a panel", function(p, c) return panel_rows(p, c) <= 32 end },
      { "a stage is at most one TMA box (256 rows)",
        function(p, c) return c.gather == 1 or c.group * p.block_m <= 256 end },
      { "gather needs a row-major B", function(p, c) return c.gather == 0 or p.b_layout == "row" end },
      { "a stage of column-major B is a multiple of 64 k", function(p, c)
         return p.b_layout == "row" or c.group * p.block_m % 64 == 0
      end },
      { "the accumulators leave a thread 40 registers", function(p, c)
         return PANEL_WARP_ROWS * c.tile_n // 32 + 40 <= panel_registers(c)
      end },
      { "shared memory fits the SM", function(p, c, d) return panel_smem(p, c) <= d.smem_bytes_max end },
      -- from here on: legal, but not worth trying
      { "16 warps only with tiles of 64 columns", function(p, c) return c.tile_n == 64 or c.warps == 8 end },
      { "a stage is at least 128 k deep", function(p, c) return c.group * p.block_m >= 128 end },
      { "at least three quarters of shared memory are used", function(p, c, d)
         return 4 * panel_smem(p, c) >= 3 * d.smem_bytes_max
      end },
      { "clusters only for tiles of 512 rows x 64 columns or 256 x 128", function(p, c)
         return c.cluster == 1 or c.warps * c.tile_n == 1024
      end },
      { "gather only with tiles of 512 rows x 64 columns or 256 x 128 (with order also half of that), A prefetched 64 k ahead, the deepest pipeline that fits",
        function(p, c, d)
         return c.gather == 0 or ((c.warps * c.tile_n == 1024 or (c.warps * c.tile_n == 512 and c.order == 1)) and
                c.ahead * p.block_m == 64 and
                (c.stages == 6 or panel_smem(p, c, c.stages + 1) > d.smem_bytes_max))
      end },
      { "a scheduled order only for uneven rows or at most 2 tiles per SM, with A prefetched 64 k ahead",
        function(p, c, d)
         local tiles = ceil_div(p.block_rows, panel_rows(p, c)) * ceil_div(p.n, c.tile_n)
         return c.order == 0 or (c.ahead * p.block_m == 64 and (p.imbalance >= 1.4 or (p.n > 64 and tiles <= 2 * d.sm_count)))
      end },
      { "A is prefetched 64 to 128 k ahead", function(p, c)
         return c.ahead * p.block_m >= 64 and c.ahead * p.block_m <= 128
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "warps", c.warps },
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
      -- the schedule may cut panels, down to one row each
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

return panel
