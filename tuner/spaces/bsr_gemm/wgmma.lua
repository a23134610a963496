-- wgmma: TMA + wgmma, warp-specialised: for blocks of 64 and 128.

local common = require "bsr_gemm.common"
local cuda_type, shared, scale_per_block = common.cuda_type, common.shared, common.scale_per_block
local ceil_div, is_half, tma_reads_b = common.ceil_div, common.is_half, common.tma_reads_b
local map_of_slabs, slab_rank, SM_SMEM = common.map_of_slabs, common.slab_rank, common.SM_SMEM
local SM_REGISTERS, wgmma_types = common.SM_REGISTERS, common.wgmma_types

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
   return stages * (wgmma_stage(p, c) + 20) + wgmma_consumers(p, c) * c.c_slabs * 8192 + 80
end

-- The deepest pipeline that fits the SM: as wgmma_smem, in few reads, since a search asks it most.
local function wgmma_deepest(p, c, d)
   local rows, tile_n = c.share * p.block_m, c.tile_n
   local room = math.min(SM_SMEM // c.ctas_per_sm - 1024, d.smem_bytes_max)
   return (room - rows // 64 * c.wg_n * c.c_slabs * 8192 - 80) // ((rows + tile_n) * c.step_k * p.in_size + 20)
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

-- A finished tile is activated under the next one's products: it waits in float32, for which wide tiles leave no registers.
local function wgmma_is_late(p, c)
   return common.is_quick(p) and is_half(p) and c.c_slabs > 0 and c.tile_n // c.wg_n <= 128
end

-- A stage's part of a block as it is stored; each CTA of a cluster brings some of it.
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
      { "the stages fit the SM", function(p, c) -- as below, of few axes: what fails here is not asked further
         return c.stages * (p.block_m + c.tile_n) * c.step_k * p.in_size <= SM_SMEM
      end },
      { "only two rows of 64 share B", function(p, c)
         return c.share == 1 or (p.block_m == 64 and is_half(p) and p.block_rows > 1 and not p.transposed)
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
      -- from here on: what is legal but not worth a try
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
      -- b = 64 is bound by what it reads of B: of even rows, dealt out, it took 228 us instead of 220
      { "tiles are dealt out only of 128 rows, or uneven ones, of which a CTA has some, not very many, that end under others", function(p, c, d)
         local each = wgmma_tiles(p, c) / math.max(1, d.sm_count * c.ctas_per_sm // c.cluster_n)
         return c.order == 0 or ((p.block_m == 128 or p.imbalance >= 1.4) and each <= 64 and c.raster == 1 and c.ctas_per_sm == 1 and c.c_slabs > 0 and c.promote == 0 and
                (each > 1 or (p.m * p.n <= 1048576 and p.n % 64 ~= 0))) -- small ragged ones are what tests run
      end },
      { "two CTAs per SM only for small tiles", function(p, c)
         return c.ctas_per_sm == 1 or (c.cluster_n == 1 and c.tile_n <= 256)
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return (c.tile_n == 128 and c.cluster_n == 1) or c.tile_n * c.cluster_n < 2 * p.n
      end },
      -- last, since it reads most axes: it is asked of what is left
      { "shared memory fits the SM, and no deeper pipeline would", function(p, c, d)
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
      if p.bias and p.activation ~= "none" then -- a bias alone keeps the text that has been measured
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

return wgmma
