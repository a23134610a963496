-- mma: mma.sync + cp.async, sm_80 and later.

local common = require "bsr_sddmm.common"
local cuda_type, shared, tiles_at_most = common.cuda_type, common.shared, common.tiles_at_most
local SM_SMEM, SM_REGISTERS = common.SM_SMEM, common.SM_REGISTERS

local PARTS_BYTES = 256 << 20 -- of device memory, for the sums of CTAs that share a tile, at most

local function is_width(block)
   return block == 16 or block == 32 or block == 64 or block == 128
end

-- A block is cut into pieces of at most 64 rows and c.width columns, of which a warp takes some.
local function sub_m(p) return math.min(64, p.block_m) end
local function sub_n(p, c) return math.min(c.width, p.block_k) end

local function pieces_of_block(p, c)
   return (p.block_m // sub_m(p)) * (p.block_k // sub_n(p, c))
end

local function tile(p, c)
   local blocks = c.warps * c.slots // pieces_of_block(p, c)
   return { rows = c.tile_rows, cols = c.tile_rows == 1 and blocks or c.tile_cols, blocks = blocks }
end

local function sums(p, c) -- of a thread
   return c.slots * sub_m(p) * sub_n(p, c) // 32
end

local function stage_bytes(p, c)
   local t = tile(p, c)
   return (t.rows * p.block_m + t.cols * p.block_k) * c.step * 2
end

local function parts_bytes(p, c)
   return c.splits == 1 and 0 or tiles_at_most(p, tile(p, c)) * c.splits * c.warps * 32 * sums(p, c) * 4
end

-- Counters, to a multiple of 256 bytes.
local function counter_bytes(p, c)
   return c.splits == 1 and 0 or common.ceil_div(tiles_at_most(p, tile(p, c)) * 4, 256) * 256
end

-- CTAs per SM for which registers are kept.
local function min_blocks(p, c, d)
   local by_smem = (d.smem_bytes_max + 1024) // (c.stages * stage_bytes(p, c) + 1024)
   local by_registers = SM_REGISTERS // (c.warps * 32 * (sums(p, c) + c.slots + 56))
   return math.max(1, math.min(4, by_smem, by_registers))
end

local mma = triage.kernel {
   name = "mma",
   template = "templates/bsr_sddmm/mma.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   axes = {
      { "tile_rows", { 1, 4, 8, 16, 24, 32 } },      -- block rows of a tile
      { "tile_cols", { 0, 12, 16, 24, 32, 48 } },     -- block columns; 0: as many as it has blocks, of one row
      { "warps", { 4, 8, 16 } },
      { "slots", { 1, 2, 3, 4, 6, 8, 12 } },          -- pieces of a warp
      { "width", { 32, 64 } },                        -- columns of a piece, at most
      { "step", { 16, 32, 64 } },                     -- n of a pipeline stage
      { "stages", { 2, 3, 4 } },
      { "splits", { 1, 2, 4 } },                      -- CTAs that share a tile
   },
   constraints = {
      { "f16 or bf16", function(p) return common.is_half(p) end },
      { "blocks of 16, 32, 64 or 128 rows and columns", function(p)
         return is_width(p.block_m) and is_width(p.block_k)
      end },
      { "narrow pieces only of wide blocks", function(p, c) return c.width == 64 or p.block_k >= 64 end },
      { "whole blocks in a tile", function(p, c) return c.warps * c.slots % pieces_of_block(p, c) == 0 end },
      { "a tile of one row has no more columns than blocks, one of several has some", function(p, c)
         return (c.tile_rows == 1) == (c.tile_cols == 0)
      end },
      { "each row and column of a tile has room for a block", function(p, c)
         local t = tile(p, c)
         return t.blocks >= t.rows and t.blocks >= t.cols and t.blocks >= 1
      end },
      { "the sums leave a thread registers", function(p, c)
         local room = math.min(255, SM_REGISTERS // (c.warps * 32))
         return sums(p, c) + c.slots + (p.block_m == 16 and 54 or 44) <= room
      end },
      { "shared memory fits the SM", function(p, c, d) return c.stages * stage_bytes(p, c) <= d.smem_bytes_max end },
      { "the parts of a tile fit their memory", function(p, c) return parts_bytes(p, c) <= PARTS_BYTES end },
      { "a grid has so many tiles", function(p, c) return tiles_at_most(p, tile(p, c)) < 1 << 31 end },
      -- from here on: what is legal but not worth a try
      { "a tile is not taller or wider than the matrix", function(p, c)
         return (c.tile_rows == 1 or c.tile_rows < 2 * p.block_rows) and (c.tile_cols <= 12 or c.tile_cols < 2 * p.block_cols)
      end },
      { "several rows only of blocks up to 32, and in large tiles", function(p, c)
         return c.tile_rows == 1 or (p.block_m <= 32 and p.block_k <= 32 and c.warps >= 8)
      end },
      { "a tile of several rows is about as wide as tall, or its blocks are few", function(p, c)
         return c.tile_rows == 1 or (c.tile_cols >= c.tile_rows and (c.tile_cols <= 1.5 * c.tile_rows or c.tile_rows <= 8))
      end },
      { "a tile of several rows has about as many blocks as the density gives it", function(p, c)
         local t = tile(p, c)
         if c.tile_rows == 1 then
            return true
         end
         local rows, full = math.min(t.rows, p.block_rows), 1 - (1 - p.density) ^ t.rows -- share of the columns that are there
         local expected = t.cols / math.max(full, 0.01) * rows * p.density
         return t.blocks >= 0.9 * expected and (t.blocks <= 1.6 * expected + 8 or (c.slots == 1 and c.warps == 4))
      end },
      { "at least 32 sums a thread", function(p, c) return sums(p, c) >= 32 end },
      { "shared parts only where there are few tiles", function(p, c, d)
         return c.splits == 1 or (p.n >= 64 * c.splits and tiles_at_most(p, tile(p, c)) <= 8 * d.sm_count)
      end },
      { "no deeper pipeline would fit", function(p, c, d)
         return c.stages == 4 or (c.stages + 1) * stage_bytes(p, c) > d.smem_bytes_max
      end },
      { "a stage of 16 only where one of 32 leaves two, of 64 only where it leaves four", function(p, c, d)
         return c.step == 32 or (c.step == 16 and 6 * stage_bytes(p, c) > d.smem_bytes_max) or
                (c.step == 64 and c.stages == 4)
      end },
      { "a tile of one row is not mostly wider than a block row", function(p, c)
         return c.tile_rows > 1 or (c.warps == 4 and sums(p, c) < 64) or tile(p, c).blocks <= 2 * p.nnzb // p.block_rows + 2
      end },
   },
   params = function(p, c, d)
      local t = tile(p, c)
      return shared(p, cuda_type, {
         { "tile_rows", t.rows },
         { "tile_cols", t.cols },
         { "tile_blocks", t.blocks },
         { "sub_m", sub_m(p) },
         { "sub_n", sub_n(p, c) },
         { "warps", c.warps },
         { "step", c.step },
         { "stages", c.stages },
         { "splits", c.splits },
         { "min_blocks", min_blocks(p, c, d) },
         { "copy_bytes", common.rows_are_aligned(p) and 16 or 2 },
      })
   end,
   launch = function(p, c)
      local t = tile(p, c)
      return {
         grid = { tiles_at_most(p, t), c.splits },
         block = { c.warps * 32 },
         smem_bytes = c.stages * stage_bytes(p, c),
         workspace_bytes = counter_bytes(p, c) + parts_bytes(p, c),
         workspace_zero_bytes = counter_bytes(p, c),
         tile_rows = t.rows,
         tile_cols = t.cols,
         tile_blocks = t.blocks,
      }
   end,
   -- bytes, stores and loads: of what is not in the loop, where two CTAs share an SM
   spill_limit = 32,
   default = {
      -- measured best at 8192^3, one block in ten, on an H200: blocks of 16, 32, 64 and more
      { tile_rows = 32, tile_cols = 32, warps = 16, slots = 8, width = 64, step = 32, stages = 3, splits = 1 },
      { tile_rows = 24, tile_cols = 24, warps = 16, slots = 4, width = 64, step = 32, stages = 4, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 16, slots = 2, width = 64, step = 32, stages = 3, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 8, slots = 1, width = 32, step = 32, stages = 4, splits = 1 },
      -- sparser rows, less shared memory
      { tile_rows = 16, tile_cols = 24, warps = 16, slots = 4, width = 64, step = 32, stages = 4, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 8, slots = 4, width = 64, step = 32, stages = 4, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 4, slots = 1, width = 64, step = 32, stages = 4, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 4, slots = 1, width = 32, step = 32, stages = 4, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 4, slots = 2, width = 64, step = 32, stages = 4, splits = 1 },
      { tile_rows = 1, tile_cols = 0, warps = 4, slots = 4, width = 64, step = 32, stages = 4, splits = 1 },
   },
}

return mma
