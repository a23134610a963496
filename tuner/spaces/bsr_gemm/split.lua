-- split: split-K: the CTAs of a cluster share the blocks of a row, for few columns and large blocks (TMA, wgmma).

local common = require "bsr_gemm.common"
local cuda_type, shared, ceil_div, is_half = common.cuda_type, common.shared, common.ceil_div, common.is_half
local tma_reads_b, map_of_slabs, slab_rank = common.tma_reads_b, common.map_of_slabs, common.slab_rank
local SM_SMEM = common.SM_SMEM

local MOST_STAGES = 8

-- bytes: the stage ring, reused for the partial sums at the end, and its barriers
local function split_smem(p, c, stages)
   local ring = stages * (c.tile_m + c.tile_n) * 128
   local lines, length = c.tile_m, c.tile_n
   if p.c_layout == "col" then
      lines, length = length, lines
   end
   return math.max(ring, lines * (length + 4) * 4) + stages * 16
end

-- The most stages that fit with c.ctas_per_sm CTAs on an SM; 0: none do.
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

-- Mean number of pieces of 64 k per CTA.
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
      { "cluster_k", { 1, 2, 4 } },         -- CTAs of a cluster that split the blocks of a row (split-K)
      { "ctas_per_sm", { 1, 2, 3 } },
   },
   constraints = {
      common.as_stored,
      { "f16 or bf16 inputs", is_half },
      { "blocks are multiples of 64", function(p) return p.block_m % 64 == 0 and p.block_k % 64 == 0 end },
      { "rows of B are multiples of 16 bytes", tma_reads_b },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the grid has at most 2147483647 CTAs", function(p, c) return split_ctas(p, c) <= 2147483647 end },
      { "the accumulators leave a thread 40 registers", function(p, c)
         return c.tile_n // 2 + 40 <= math.min(255, 65536 // (c.ctas_per_sm * split_threads(c)) // 8 * 8)
      end },
      { "shared memory fits the SM", function(p, c, d) return split_stages(p, c, d) >= 2 end },
      -- from here on: legal, but not worth trying
      { "at most 2048 columns", function(p) return p.n <= 2048 end },
      { "the loads in flight to an SM are at least 48 KiB", function(p, c, d)
         return c.ctas_per_sm * split_stages(p, c, d) * (c.tile_m + c.tile_n) * 128 >= 49152
      end },
      { "the tile is less than twice as wide as C", function(p, c) return c.tile_n == 64 or c.tile_n < 2 * p.n end },
      -- (clusters of eight and tiles of 256 columns won none of ten problems)
      { "split-K for at most 256 columns", function(p, c) return c.cluster_k == 1 or p.n <= 256 end },
      { "split-K only where each CTA has at least 64 k on average",
        function(p, c) return c.cluster_k == 1 or split_pieces(p, c) >= 1 end },
      { "split-K only for at most 4 CTAs per SM in the grid", function(p, c, d)
         return split_ctas(p, c) <= 4 * d.sm_count or c.cluster_k == 1
      end },
      { "several CTAs per SM only where the grid has enough CTAs", function(p, c, d)
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
