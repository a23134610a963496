-- strip: one block row per CTA, for rows of few blocks, where the start of a kernel counts (cp.async; mma.sync or wgmma).

local common = require "bsr_gemm.common"
local cuda_type, shared, ceil_div, is_half = common.cuda_type, common.shared, common.ceil_div, common.is_half
local tma_reads_b, SM_SMEM, SM_REGISTERS = common.tma_reads_b, common.SM_SMEM, common.SM_REGISTERS
local single = require "bsr_gemm.single_rows"
local row_step_k, more_columns_than_a_few = single.row_step_k, single.more_columns_than_a_few
local suits_single_rows = single.suits_single_rows

local function strip_threads(c)
   return c.warps_m * c.warps_n * 32
end

-- bytes: the stage ring of A and B, reused to store C
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

-- Also large blocks with a small C: its tiles are short, too.
local function strip_suits(p)
   return suits_single_rows(p) or
          (p.block_m >= 64 and p.m * p.n <= 4194304 and 4 * p.nnzb <= p.block_rows * p.block_cols)
end

-- Rows that all threads copy in one pass, 16 bytes each.
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
      { "wgmma", { 0, 1 } },                  -- 1: wgmma; 0: mma.sync
      { "group", { 1, 2 } },                  -- pieces of blocks (at most 64 k each) per stage
      { "stages", { 1, 2, 3, 4, 5, 6, 8 } },  -- pipeline depth
      { "ctas_per_sm", { 1, 2, 4, 8, 16 } },
      { "order", { 0, 1 } },                  -- order of the CTAs: 0: rows first, 1: columns first
   },
   constraints = {
      common.as_stored,
      { "f16 or bf16 inputs", is_half },
      { "at most 65535 tiles in the grid's second dimension", function(p, c)
         return (c.order == 0 and ceil_div(p.n, c.tile_n) or p.m // c.tile_m) <= 65535
      end },
      { "blocks of 16, 32, 64 or 128 rows and 16, 32 or a multiple of 64 columns", function(p)
         local m, k = p.block_m, p.block_k
         return (m == 16 or m == 32 or m == 64 or m == 128) and (k == 16 or k == 32 or k % 64 == 0)
      end },
      { "rows of B are multiples of 16 bytes", tma_reads_b },
      { "tile_m is the block's height, or 64 for blocks of 128", function(p, c)
         return c.tile_m == p.block_m or (p.block_m == 128 and c.tile_m == 64 and c.group == 1)
      end },
      { "stages of several blocks only for blocks of at most 64 k",
        function(p, c) return c.group == 1 or p.block_k <= 64 end },
      { "with wgmma a warpgroup has 64 rows and 64 to 256 columns, and a stage is one piece of at least 32 k",
        function(p, c)
         local columns = c.tile_n // c.warps_n
         return c.wgmma == 0 or (c.warps_m * 16 == c.tile_m and c.warps_m >= 4 and columns >= 64 and columns <= 256 and
                c.group == 1 and row_step_k(p) >= 32)
      end },
      { "without wgmma a warp has 16 or 32 rows and 64 or 128 columns", function(p, c)
         local columns = c.tile_n // c.warps_n
         return c.wgmma == 1 or ((columns == 64 or columns == 128) and
                c.tile_m % c.warps_m == 0 and c.tile_m // c.warps_m == math.min(32, c.tile_m))
      end },
      { "the accumulators leave a thread 40 registers, with wgmma 32", function(p, c)
         return c.tile_m * c.tile_n // strip_threads(c) + (c.wgmma == 1 and 32 or 40) <= strip_registers(c)
      end },
      { "at most 16 warps, which divide the 16-byte copies evenly", function(p, c)
         return strip_threads(c) <= 512 and strip_deals_evenly(p, c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return strip_fits(p, c, c.stages) and strip_smem(p, c, c.stages) <= d.smem_bytes_max
      end },
      -- from here on: legal, but not worth trying
      { "more than 64 columns", more_columns_than_a_few },
      { "at most 1024 columns, or at most one block in 16 stored, or a small C of large blocks", strip_suits },
      { "tiles of 64 or more rows use wgmma; others are 128 or 256 columns wide", function(p, c)
         return c.wgmma == 1 or ((c.tile_m < 64 or row_step_k(p) < 32) and (c.tile_n == 128 or c.tile_n == 256))
      end },
      { "the CTAs of an SM have 256 to 1024 columns together, for short rows up to 2048", function(p, c)
         local columns = c.tile_n * c.ctas_per_sm
         return (columns >= 256 or p.block_m == 128) and columns <= (has_short_rows(p) and 2048 or 1024)
      end },
      { "a stage is 32 k, or one piece of 64 k; for short rows one piece of any size", function(p, c)
         local k = c.group * row_step_k(p)
         return k == 32 or (c.group == 1 and (k == 64 or has_short_rows(p)))
      end },
      { "the pipeline is the deepest that fits (for short rows also three stages)", function(p, c)
         local deeper = { 2, 3, 4, 5, 6, 8 } -- of each depth up to 6
         return c.stages == 8 or not strip_fits(p, c, deeper[c.stages]) or (c.stages == 3 and has_short_rows(p))
      end },
      { "the tile is less than twice as wide as C", function(p, c)
         return c.tile_n == 128 or c.tile_n < 2 * p.n
      end },
      { "several CTAs per SM only where there are enough tiles", function(p, c, d)
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

return strip
