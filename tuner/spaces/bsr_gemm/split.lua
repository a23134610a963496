-- split: the blocks of a row dealt to the CTAs of a cluster (TMA, wgmma): for few columns and large blocks.

local common = require "bsr_gemm.common"
local cuda_type, shared, ceil_div, is_half = common.cuda_type, common.shared, common.ceil_div, common.is_half
local tma_reads_b, map_of_slabs, slab_rank = common.tma_reads_b, common.map_of_slabs, common.slab_rank
local SM_SMEM = common.SM_SMEM

local MOST_STAGES = 8

-- bytes: the ring, where the sums lie afterwards, and its barriers
local function split_smem(p, c, stages)
   local ring = stages * (c.tile_m + c.tile_n) * 128
   local lines, length = c.tile_m, c.tile_n
   if p.c_layout == "col" then
      lines, length = length, lines
   end
   return math.max(ring, lines * (length + 4) * 4) + stages * 16
end

-- As many as fit, with as many CTAs on an SM as are asked for; 0: none do.
local function split_stages(p, c, d)
   for stages = MOST_STAGES, 2, -1 do
      local bytes = split_smem(p, c, stages)
      if bytes <= d.smem_bytes_max and (bytes + 1024) * c.ctas_per_sm <= SM_SMEM then
         return stages
      end
   end
   return 0
end

local function split_threads(c)
   return c.tile_m * 2 + 32
end

local function split_ctas(p, c)
   return p.m // c.tile_m * ceil_div(p.n, c.tile_n) * c.cluster_k
end

-- Pieces of 64 k that a CTA has, on average.
local function split_pieces(p, c)
   return p.nnzb * p.block_k / 64 / p.block_rows / c.cluster_k
end

return triage.kernel {
   name = "split",
   template = "templates/bsr_gemm/split.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 64, 128 } },            -- rows of C per cluster
      { "tile_n", { 64, 128, 192 } },       -- columns of C per cluster
      { "cluster_k", { 1, 2, 4 } },         -- CTAs that share the blocks of a row
      { "ctas_per_sm", { 1, 2, 3 } },
   },
   constraints = {
      common.as_stored,
      { "f16 or bf16 inputs", is_half },
      { "blocks are multiples of 64", function(p) return p.block_m % 64 == 0 and p.block_k % 64 == 0 end },
      { "rows of B are multiples of 16 bytes", tma_reads_b },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "a grid has at most 2147483647 CTAs", function(p, c) return split_ctas(p, c) <= 2147483647 end },
      { "the sums leave a thread 40 registers", function(p, c)
         return c.tile_n // 2 + 40 <= math.min(255, 65536 // (c.ctas_per_sm * split_threads(c)) // 8 * 8)
      end },
      { "shared memory fits the SM", function(p, c, d) return split_stages(p, c, d) >= 2 end },
      -- from here on: what is legal but not worth a try
      { "at most 2048 columns", function(p) return p.n <= 2048 end },
      { "48 KiB or more are on their way to an SM", function(p, c, d)
         return c.ctas_per_sm * split_stages(p, c, d) * (c.tile_m + c.tile_n) * 128 >= 49152
      end },
      { "the tile is not mostly past the last column", function(p, c) return c.tile_n == 64 or c.tile_n < 2 * p.n end },
      -- (clusters of eight were tried on ten problems and won none; nor did tiles of 256 columns)
      { "a row is cut for at most 256 columns", function(p, c) return c.cluster_k == 1 or p.n <= 256 end },
      { "each CTA has a piece", function(p, c) return c.cluster_k == 1 or split_pieces(p, c) >= 1 end },
      { "a row is cut only while the CTAs are few", function(p, c, d)
         return split_ctas(p, c) <= 4 * d.sm_count or c.cluster_k == 1
      end },
      { "few CTAs need no company", function(p, c, d)
         return c.ctas_per_sm == 1 or split_ctas(p, c) > (c.ctas_per_sm - 1) * d.sm_count
      end },
   },
   params = function(p, c, d)
      return shared(p, cuda_type, {
         { "block_k", p.block_k },
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "cluster_k", c.cluster_k },
         { "stages", split_stages(p, c, d) },
         { "ctas_per_sm", c.ctas_per_sm },
         { "b_rank", slab_rank(p) },
      })
   end,
   launch = function(p, c, d)
      local map_b = p.b_layout == "row" and map_of_slabs(slab_rank(p), 64, c.tile_n) or
                    { rank = 2, box = { 64, c.tile_n }, swizzle = 128, l2_promotion = 256 }
      return {
         grid = { split_ctas(p, c) },
         cluster = { c.cluster_k },
         block = { split_threads(c) },
         smem_bytes = split_smem(p, c, split_stages(p, c, d)),
         map_a = { rank = 2, box = { 64, c.tile_m }, swizzle = 128, l2_promotion = 256 },
         map_b = map_b,
      }
   end,
   default = {
      { tile_m = 64, tile_n = 64, cluster_k = 4, ctas_per_sm = 1 },
   },
}
