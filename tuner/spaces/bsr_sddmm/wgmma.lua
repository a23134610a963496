-- wgmma: blocks of 64 and 128 on Hopper (TMA, wgmma, a producer warp).

local common = require "bsr_sddmm.common"
local cuda_type, shared, tiles_at_most = common.cuda_type, common.shared, common.tiles_at_most

local function is_width(block)
   return block == 64 or block == 128
end

local function tile(c)
   return { rows = 1, cols = c.blocks, blocks = c.blocks }
end

local function columns(p, c) -- of a consumer warpgroup
   return c.blocks * p.block_k // c.wg_n
end

local function threads(p, c)
   return 128 * (p.block_m // 64) * c.wg_n + 32
end

local function registers(p, c) -- of a thread
   return common.SM_REGISTERS // c.ctas_per_sm // threads(p, c) // 8 * 8
end

-- bytes: the stage ring, and two barriers a stage
local function smem(p, c, stages)
   return stages * ((p.block_m + c.blocks * p.block_k) * 128 + 16)
end

local function fits(p, c, d, stages)
   return (smem(p, c, stages) + 1024) * c.ctas_per_sm <= common.SM_SMEM and smem(p, c, stages) <= d.smem_bytes_max
end

local function counter_bytes(p, c)
   return c.splits == 1 and 0 or common.ceil_div(tiles_at_most(p, tile(c)) * 4, 256) * 256
end

local function parts_bytes(p, c)
   return c.splits == 1 and 0 or tiles_at_most(p, tile(c)) * c.splits * p.block_m * c.blocks * p.block_k * 4
end

local function map_of(layout, lines)
   return { rank = 2, box = { 64, layout == "row" and lines or 64 }, swizzle = 128, l2_promotion = 256 }
end

local wgmma = triage.kernel {
   name = "wgmma",
   template = "templates/bsr_sddmm/wgmma.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "blocks", { 1, 2, 3, 4, 6, 8 } },        -- stored blocks of one block row per tile
      { "wg_n", { 1, 2, 3, 4 } },                -- consumer warpgroups along the tile's columns
      { "stages", { 2, 3, 4, 5, 6, 7, 8, 10 } }, -- pipeline depth
      { "ctas_per_sm", { 1, 2, 3 } },
      { "splits", { 1, 2, 4 } },                 -- CTAs that split the reduction over n of a tile
   },
   constraints = {
      { "f16 or bf16", function(p) return common.is_half(p) end },
      { "blocks of 64 or 128 rows and columns", function(p) return is_width(p.block_m) and is_width(p.block_k) end },
      { "rows of Y and X are multiples of 16 bytes", function(p) return common.rows_are_aligned(p) end },
      { "64, 128, 192 or 256 columns per warpgroup", function(p, c)
         return c.blocks * p.block_k % (64 * c.wg_n) == 0 and columns(p, c) <= 256
      end },
      { "at most 1024 threads", function(p, c) return threads(p, c) <= 1024 end },
      { "the accumulators fit a thread's registers", function(p, c)
         return columns(p, c) // 2 + 34 <= math.min(255, registers(p, c))
      end },
      { "shared memory fits the SM", function(p, c, d) return fits(p, c, d, c.stages) end },
      { "the partial sums take at most 256 MiB of workspace", function(p, c) return parts_bytes(p, c) <= 256 << 20 end },
      -- from here on: legal, but not worth trying
      { "the pipeline is the deepest that fits", function(p, c, d)
         for _, deeper in ipairs { 3, 4, 5, 6, 7, 8, 10 } do
            if deeper > c.stages and fits(p, c, d, deeper) then
               return false
            end
         end
         return true
      end },
      { "one warpgroup, or several with at least 128 columns each", function(p, c)
         return c.wg_n == 1 or c.blocks * p.block_k // c.wg_n >= 128
      end },
      { "a tile is less than twice as wide as a block row",
        function(p, c) return c.blocks == 1 or c.blocks < 2 * p.block_cols end },
      { "a split reduction only for at most 8 tiles per SM, with at least 64 of n per split", function(p, c, d)
         return c.splits == 1 or (p.n >= 64 * c.splits and tiles_at_most(p, tile(c)) <= 8 * d.sm_count)
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "tile_blocks", c.blocks },
         { "wg_n", c.wg_n },
         { "stages", c.stages },
         { "splits", c.splits },
         { "ctas_per_sm", c.ctas_per_sm },
      })
   end,
   launch = function(p, c)
      return {
         grid = { tiles_at_most(p, tile(c)), c.splits },
         block = { threads(p, c) },
         smem_bytes = smem(p, c, c.stages),
         workspace_bytes = counter_bytes(p, c) + parts_bytes(p, c),
         workspace_zero_bytes = counter_bytes(p, c),
         map_y = map_of(p.y_layout, p.block_m),
         map_x = map_of(p.x_layout, p.block_k),
         tile_rows = 1,
         tile_cols = c.blocks,
         tile_blocks = c.blocks,
      }
   end,
   default = {
      { blocks = 2, wg_n = 1, stages = 4, ctas_per_sm = 1, splits = 1 },
      { blocks = 8, wg_n = 2, stages = 3, ctas_per_sm = 1, splits = 1 },
      { blocks = 4, wg_n = 1, stages = 5, ctas_per_sm = 1, splits = 1 },
      { blocks = 4, wg_n = 2, stages = 4, ctas_per_sm = 1, splits = 1 },
      { blocks = 2, wg_n = 1, stages = 8, ctas_per_sm = 1, splits = 1 },
      { blocks = 1, wg_n = 1, stages = 8, ctas_per_sm = 1, splits = 1 },
      { blocks = 1, wg_n = 1, stages = 6, ctas_per_sm = 1, splits = 1 },
      { blocks = 1, wg_n = 1, stages = 10, ctas_per_sm = 1, splits = 1 },
   },
}

return wgmma
