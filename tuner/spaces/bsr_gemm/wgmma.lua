-- wgmma: blocks of 64 and 128 on Hopper (TMA, wgmma, warp-specialised, persistent).

local common = require "bsr_gemm.common"
local cuda_type, shared, scale_per_block = common.cuda_type, common.shared, common.scale_per_block
local ceil_div, is_half, tma_reads_b = common.ceil_div, common.is_half, common.tma_reads_b
local map_of_slabs, slab_rank, SM_SMEM = common.map_of_slabs, common.slab_rank, common.SM_SMEM
local SM_REGISTERS, wgmma_types = common.SM_REGISTERS, common.wgmma_types

-- k of the longest block row: mean length times imbalance (longest / mean)
local function wgmma_longest_row(p)
   return p.imbalance * p.nnzb / p.block_rows * p.block_k
end

local function wgmma_consumers(p, c)
   return c.share * p.block_m // 64 * c.wg_n -- warpgroups
end

local function wgmma_stage(p, c) -- bytes
   return (c.share * p.block_m + c.tile_n) * c.step_k * p.in_size
end

-- bytes: the stage ring, the 64 x 64 store buffers, barriers, masks and two tile descriptors
local function wgmma_smem(p, c, stages)
   return stages * (wgmma_stage(p, c) + 20) + wgmma_consumers(p, c) * c.c_slabs * 8192 + 80
end

-- The deepest pipeline that fits the SM: wgmma_smem solved for the stages, in few reads, since it is evaluated most often.
local function wgmma_deepest(p, c, d)
   local rows, tile_n = c.share * p.block_m, c.tile_n
   local room = math.min(SM_SMEM // c.ctas_per_sm - 1024, d.smem_bytes_max)
   return (room - rows // 64 * c.wg_n * c.c_slabs * 8192 - 80) // ((rows + tile_n) * c.step_k * p.in_size + 20)
end

local function wgmma_tiles(p, c) -- of a cluster
   return ceil_div(p.block_rows, c.share) * ceil_div(p.n, c.tile_n * c.cluster_n)
end

-- Registers of a thread at launch, which ptxas compiles for.
local function wgmma_launch_registers(p, c)
   return SM_REGISTERS // c.ctas_per_sm // (128 * (wgmma_consumers(p, c) + 1)) // 8 * 8
end

-- Registers of a consumer thread after setmaxnreg moved the producer's to the consumers.
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

-- Is the activation applied while the next tile's products run? The finished tile then waits in float32, for which only tiles
-- of up to 128 columns per warpgroup leave registers.
local function wgmma_is_late(p, c)
   return common.is_quick(p) and is_half(p) and c.c_slabs > 0 and c.tile_n // c.wg_n <= 128
end

-- Tensor map of A: a stage's part of a stored block; each CTA of a cluster loads its share.
local function wgmma_map_a(p, c)
   if p.transposed then
      return { rank = 2, box = { 64, c.step_k // c.cluster_n }, swizzle = 128, l2_promotion = 256 }
   end
   return { rank = 2, box = { c.step_k, p.block_m // c.cluster_n }, swizzle = c.step_k * p.in_size, l2_promotion = 256 }
end

local wgmma = triage.kernel {
   name = "wgmma",
   template = "templates/bsr_gemm/wgmma.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_n", { 128, 192, 256, 512 } },      -- columns of C per CTA
      { "wg_n", { 1, 2, 4 } },                   -- consumer warpgroups along tile_n
      { "step_k", { 32, 64, 128 } },             -- k per pipeline stage
      { "stages", { 2, 3, 4, 5, 6, 7, 8 } },     -- pipeline depth
      { "c_slabs", { 0, 1, 2, 3, 4 } },          -- 64 x 64 store buffers per warpgroup; 0: C is stored from registers
      { "cluster_n", { 1, 2 } },                 -- CTAs that share A by multicast
      { "ctas_per_sm", { 1, 2 } },
      { "raster", { 1, 2 } },                    -- width of a raster band, in column tiles of a cluster
      { "share", { 1, 2 } },                     -- block rows that share their loads of B
      { "order", { 0, 1 } },                     -- 1: the host assigns tiles to CTAs by their cost (docs/schedule.md)
      { "promote", { 0, 64, 128 } },             -- k after which accumulators are promoted to float32 sums; 0: never
   },
   constraints = {
      -- wgmma accumulates e4m3 with too few bits for f16 results (measured errors: 1.48 and 1.69 where 1.4 are allowed)
      { "f16 or bf16 inputs and results, or e4m3 inputs and bf16 results", wgmma_types },
      { "e4m3 needs a column-major B", function(p)
         return is_half(p) or p.b_layout == "col"
      end },
      { "blocks of 64 or 128 rows", function(p) return p.block_m == 64 or p.block_m == 128 end },
      { "the block's k is a multiple of a stage", function(p, c) return p.block_k % c.step_k == 0 end },
      { "a stage's rows of A are 64 or 128 bytes (the TMA swizzle)", function(p, c)
         local bytes = c.step_k * p.in_size
         return bytes == 64 or bytes == 128
      end },
      { "the stages fit shared memory", function(p, c) -- a cheap lower bound of the last constraint
         return c.stages * (p.block_m + c.tile_n) * c.step_k * p.in_size <= SM_SMEM
      end },
      { "two block rows share B only with blocks of 64 rows, 16-bit inputs, A not transposed", function(p, c)
         return c.share == 1 or (p.block_m == 64 and is_half(p) and p.block_rows > 1 and not p.transposed)
      end },
      { "float32 promotion only for e4m3, and always where each block has a scale", function(p, c)
         return is_half(p) and c.promote == 0 or p.in_type == "e4m3" and (c.promote > 0 or p.scale ~= "block")
      end },
      { "e4m3 block rows of more than 4096 k are promoted to float32", function(p, c)
         return is_half(p) or c.promote > 0 or wgmma_longest_row(p) <= 4096
      end },
      { "the promotion interval is a stage, at most 128 k", function(p, c)
         return c.promote == 0 or c.promote == math.min(128, c.step_k)
      end },
      { "the promotion interval divides a stage", function(p, c) return c.promote == 0 or c.step_k % c.promote == 0 end },
      { "rows of B and C are multiples of 16 bytes", function(p) return tma_reads_b(p) and p.ldc % 8 == 0 end },
      { "64, 128, 192 or 256 columns per warpgroup", function(p, c)
         local columns = c.tile_n // c.wg_n
         return columns % 64 == 0 and columns <= 256
      end },
      { "column-major B is loaded in TMA boxes of one size: tiles of at most 256 columns, or multiples of 256",
        function(p, c)
         return p.b_layout == "row" or c.tile_n <= 256 or c.tile_n % 256 == 0
      end },
      { "1 to 4 consumer warpgroups", function(p, c) return wgmma_consumers(p, c) <= 4 end },
      { "a warpgroup's 64-column slabs are a multiple of its store buffers", function(p, c)
         return c.c_slabs == 0 or c.tile_n // c.wg_n // 64 % c.c_slabs == 0
      end },
      { "the accumulators fit a thread's registers", function(p, c)
         local sums = c.tile_n // c.wg_n // 2
         local live = c.promote > 0 and 2 * sums + 40 or sums + 72
         return sums + 26 <= wgmma_launch_registers(p, c) and live <= wgmma_consumer_registers(p, c)
      end },
      -- from here on: legal, but not worth trying
      { "the loads in flight on an SM are at least 64 KiB", function(p, c)
         return c.ctas_per_sm * c.stages * wgmma_stage(p, c) >= 65536
      end },
      -- (never won by more than 1 % on 68 problems: 384 columns, four store buffers for tiles of 256, raster bands of clusters,
      -- short stages where long ones leave four)
      { "tiles of 192 columns only with promotion, or where they pad the last tile less than 128 or 256 do",
        function(p, c)
         return c.tile_n ~= 192 or c.promote > 0 or
                ceil_div(p.n, 192) * 192 < math.min(ceil_div(p.n, 256) * 256, ceil_div(p.n, 128) * 128)
      end },
      { "stages of half the depth only in pipelines of fewer than 6, or where longer ones do not divide the block",
        function(p, c)
         local long = 128 // p.in_size -- k
         return c.step_k == long or p.block_k % long ~= 0 or c.stages < 6
      end },
      { "two store buffers per warpgroup, one for an odd number of slabs, with promotion one per slab", function(p, c)
         local slabs = c.tile_n // c.wg_n // 64
         if c.promote > 0 then -- promotion: the whole tile is stored at once
            return c.c_slabs == slabs
         end
         if c.c_slabs == 0 then
            return c.cluster_n == 1 and c.raster == 1
         end
         return c.c_slabs == (slabs % 2 == 1 and 1 or 2)
      end },
      { "a raster band of two column tiles only without clusters", function(p, c)
         return c.raster == 1 or c.cluster_n == 1
      end },
      { "C is stored from registers only where each CTA has one tile", function(p, c, d)
         return c.c_slabs > 0 or wgmma_tiles(p, c) <= d.sm_count * c.ctas_per_sm
      end },
      { "share needs wg_n 1, tiles of at least 192 columns and raster 1", function(p, c)
         return c.share == 1 or (c.wg_n == 1 and c.tile_n >= 192 and c.raster == 1)
      end },
      -- blocks of 64 are bound by the loads of B: with even rows the scheduled order took 228 us instead of 220
      { "a scheduled order only for blocks of 128 rows or uneven rows, with more than 1 and at most 64 tiles per CTA, raster 1, one CTA per SM, store buffers, no promotion",
        function(p, c, d)
         local each = wgmma_tiles(p, c) / math.max(1, d.sm_count * c.ctas_per_sm // c.cluster_n)
         return c.order == 0 or ((p.block_m == 128 or p.imbalance >= 1.4) and each <= 64 and c.raster == 1 and c.ctas_per_sm == 1 and c.c_slabs > 0 and c.promote == 0 and
                (each > 1 or (p.m * p.n <= 1048576 and p.n % 64 ~= 0))) -- small ragged ones are what tests run
      end },
      { "two CTAs per SM only without clusters, for tiles of at most 256 columns", function(p, c)
         return c.ctas_per_sm == 1 or (c.cluster_n == 1 and c.tile_n <= 256)
      end },
      { "the tile is less than twice as wide as C", function(p, c)
         return (c.tile_n == 128 and c.cluster_n == 1) or c.tile_n * c.cluster_n < 2 * p.n
      end },
      -- last, since it reads most axes
      { "the pipeline is the deepest that fits shared memory", function(p, c, d)
         local deepest = wgmma_deepest(p, c, d)
         return c.stages == deepest or c.stages == 8 and deepest > 8
      end },
   },
   params = function(p, c)
      local list = {
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
      }
      if wgmma_is_late(p, c) then
         table.insert(list, { "late", 1 })
      end
      if p.bias and p.activation ~= "none" then -- a bias without an activation keeps the kernel text that was measured
         table.insert(list, { "bias", 1 })
      end
      return shared(p, cuda_type, list)
   end,
   launch = function(p, c, d)
      local clusters = math.max(1, d.sm_count * c.ctas_per_sm // c.cluster_n)
      return {
         grid = { math.min(wgmma_tiles(p, c), clusters) * c.cluster_n },
         block = { 128 * (wgmma_consumers(p, c) + 1) },
         cluster = { c.cluster_n },
         smem_bytes = wgmma_smem(p, c, c.stages),
         map_a = wgmma_map_a(p, c),
         map_b = wgmma_map_b(p, c),
         map_c = { rank = 2, box = { 64, 64 }, swizzle = 128 },
         panel_rows = (c.share > 1 or c.order == 1) and c.share or 0,
         panel_columns = c.order == 1 and ceil_div(p.n, c.tile_n * c.cluster_n) or 0,
         reorder = true,
      }
   end,
   -- bytes: with column-major B and C 8 to 24 are stored and loaded where a thread holds a finished tile beside the accumulators
   -- (docs/notebook.md: 631 TFLOP/s there, 626 row-major, which does not spill)
   spill_limit = 64,
   default = {
      -- measured best at 8192^3, sparsity 0.9: blocks of 128, with several tiles per CTA or one; blocks of 64
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 4, c_slabs = 2, cluster_n = 2, ctas_per_sm = 1, raster = 1, share = 1, order = 1, promote = 0 },
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 4, c_slabs = 2, cluster_n = 1, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      { tile_n = 256, wg_n = 1, step_k = 64, stages = 4, c_slabs = 2, cluster_n = 2, ctas_per_sm = 1, raster = 1, share = 2,
        order = 0, promote = 0 },
      { tile_n = 512, wg_n = 2, step_k = 32, stages = 5, c_slabs = 2, cluster_n = 2, ctas_per_sm = 1, raster = 1, share = 1, order = 0, promote = 0 },
      -- e4m3 with long rows: promotion
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

return wgmma
