-- wmma: mma.sync and cp.async, sm_80 and later: all that the TMA kernels do not take.

local common = require "bsr_gemm.common"
local wmma_type, shared, scale_per_block = common.wmma_type, common.shared, common.scale_per_block
local ceil_div, is_half, SM_REGISTERS = common.ceil_div, common.is_half, common.SM_REGISTERS
local wgmma_covers, panel_covers = common.wgmma_covers, common.panel_covers

-- k is counted in 16-bit elements: one f16 or bf16, or a pair of e4m3.
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

-- B is copied in 16-byte pieces where its rows allow it, else element by element.
local function wmma_copy_bytes(p)
   return p.ldb * p.in_size % 16 == 0 and 16 or 2
end

-- Accumulators of a thread; twice as many where each block has a scale.
local function wmma_sums(p, c)
   return c.tile_m * c.tile_n // (c.warps_m * c.warps_n * 32) * (p.scale == "block" and 2 or 1)
end

-- Minimum CTAs per SM (__launch_bounds__): as many as fit shared memory with 72 registers a thread beside the accumulators;
-- 136 for e4m3, whose fragments sm_90 unpacks to f16.
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
      common.as_stored,
      { "f16 or bf16 inputs, or column-major e4m3 with an even leading dimension (sm_89 and later)", function(p, c, d)
         return is_half(p) or (p.in_type == "e4m3" and p.b_layout == "col" and p.ldb % 2 == 0 and d.cc >= 89)
      end },
      { "blocks are multiples of 16", function(p) return p.block_m % 16 == 0 and p.block_k % 16 == 0 end },
      { "blocks of e4m3 are multiples of 16 x 32", function(p) return p.block_k % (16 * wmma_pack(p)) == 0 end },
      { "at most 65535 column tiles (grid.y)", function(p, c) return ceil_div(p.n, c.tile_n) <= 65535 end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "tile_m is at least a quarter of the block's height, where a taller tile divides the block", function(p, c)
         return c.tile_m * 4 >= p.block_m or p.block_m % (c.tile_m * 2) ~= 0
      end },
      { "a stage divides a block in k, or is a multiple of it", function(p, c)
         return c.tile_k % wmma_block_k(p) == 0 or wmma_block_k(p) % c.tile_k == 0
      end },
      { "stages of 16 k only where 32 does not divide the block", function(p, c)
         return c.tile_k > 16 or (wmma_block_k(p) > 16 and wmma_block_k(p) % 32 ~= 0)
      end },
      { "warps split the tile into 16 x 16", function(p, c)
         return c.tile_m % (16 * c.warps_m) == 0 and c.tile_n % (16 * c.warps_n) == 0
      end },
      { "4 or 8 warps", function(p, c)
         local warps = c.warps_m * c.warps_n
         return warps == 4 or warps == 8
      end },
      { "with e4m3 at most 64 accumulators per thread, 32 where stages are 64 deep", function(p, c)
         return is_half(p) or wmma_sums(p, c) * math.max(32, c.tile_k) <= 2048
      end },
      { "a warp's tile is as tall as the CTA's, up to 32 rows (64 with four or more warps side by side)", function(p, c)
         return c.tile_m // c.warps_m == math.min(c.tile_m, c.warps_n >= 4 and 64 or 32)
      end },
      { "16 to 64 columns per warp", function(p, c)
         local columns = c.tile_n // c.warps_n
         return columns >= 16 and columns <= 64
      end },
      { "the tile is less than twice as wide as C", function(p, c)
         return c.tile_n == 64 or c.tile_n < 2 * p.n
      end },
      { "shared memory fits the SM", function(p, c, d) return wmma_smem(p, c) <= d.smem_bytes_max end },
      -- (deep pipelines, wide tiles and one or two warps never won on small problems)
      { "where a TMA kernel applies, only one tile width and pipeline depth of this kernel", function(p, c, d)
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

return wmma
