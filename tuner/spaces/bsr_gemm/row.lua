-- row: one block row per CTA, for small blocks and few columns or short rows (TMA, mma.sync, a producer warp).

local common = require "bsr_gemm.common"
local cuda_type, shared, ceil_div, is_half = common.cuda_type, common.shared, common.ceil_div, common.is_half
local tma_reads_b, map_of_slabs, slab_rank = common.tma_reads_b, common.map_of_slabs, common.slab_rank
local SM_SMEM = common.SM_SMEM
local single = require "bsr_gemm.single_rows"
local tiles_fit_grid, row_step_k = single.tiles_fit_grid, single.row_step_k
local more_columns_than_a_few, suits_single_rows = single.more_columns_than_a_few, single.suits_single_rows

-- bytes: the stage ring of A and B, and its barriers
local function row_smem(p, c, stages)
   return stages * (c.group * (p.block_m + c.tile_n) * row_step_k(p) * 2 + 16)
end

local function row_fits(p, c, stages)
   return (row_smem(p, c, stages) + 1024) * c.ctas_per_sm <= SM_SMEM
end

local function row_sums(p, c) -- accumulators of a thread
   return p.block_m * c.tile_n // (c.warps_n * 32)
end

-- Registers of a thread: each SM partition has a quarter of the file and of the warps.
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
      { "group", { 1, 2, 4 } },               -- pieces of blocks (at most 64 k each) per stage
      { "stages", { 2, 3, 4, 5, 6, 8, 12 } }, -- pipeline depth
      { "ctas_per_sm", { 1, 2, 4 } },
   },
   constraints = {
      common.as_stored,
      { "f16 or bf16 inputs", is_half },
      { "blocks of 16 or 32 rows and 16, 32 or a multiple of 64 columns", function(p)
         return (p.block_m == 16 or p.block_m == 32) and (p.block_k == 16 or p.block_k == 32 or p.block_k % 64 == 0)
      end },
      { "rows of B are multiples of 16 bytes", tma_reads_b },
      { "at most 65535 column tiles (grid.y)", tiles_fit_grid },
      { "the accumulators leave a thread 32 registers", function(p, c)
         return row_sums(p, c) + 32 <= row_registers(c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return row_fits(p, c, c.stages) and row_smem(p, c, c.stages) <= d.smem_bytes_max
      end },
      -- from here on: legal, but not worth trying
      { "more than 64 columns", more_columns_than_a_few },
      { "at most 1024 columns, or at most one block in 16 stored", suits_single_rows },
      { "64 columns per warp; 128 only with tiles of 512", function(p, c)
         local columns = c.tile_n // c.warps_n
         return columns == 64 or (columns == 128 and c.tile_n == 512)
      end },
      { "the CTAs of an SM have at most 1024 columns together",
        function(p, c) return c.tile_n * c.ctas_per_sm <= 1024 end },
      { "a stage is 32 or 64 k deep", function(p, c)
         local k = c.group * row_step_k(p)
         return k == 32 or k == 64
      end },
      { "the pipeline is the deepest that fits", function(p, c)
         local deeper = { [2] = 3, [3] = 4, [4] = 5, [5] = 6, [6] = 8, [8] = 12 }
         return c.stages == 12 or not row_fits(p, c, deeper[c.stages])
      end },
      { "the tile is less than twice as wide as C", function(p, c)
         return c.tile_n < 2 * p.n
      end },
      { "several CTAs per SM only where there are enough tiles", function(p, c, d)
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

return row
