-- mma: any blocks, sm_80 and later (mma.sync, cp.async).

local common = require "bsr_sddmm.common"
local cuda_type, shared, tiles_at_most = common.cuda_type, common.shared, common.tiles_at_most
local SM_SMEM, SM_REGISTERS = common.SM_SMEM, common.SM_REGISTERS

local PARTS_BYTES = 256 << 20 -- workspace for the partial sums of a split reduction, at most

local function is_width(block)
   return block == 16 or block == 32 or block == 64 or block == 128
end

-- A block is cut into sub-blocks of at most 64 rows and c.width columns; a warp takes c.slots of them.
local function sub_m(p) return math.min(64, p.block_m) end
local function sub_n(p, c) return math.min(c.width, p.block_k) end

local function pieces_of_block(p, c)
   return (p.block_m // sub_m(p)) * (p.block_k // sub_n(p, c))
end

local function tile(p, c)
   local blocks = c.warps * c.slots // pieces_of_block(p, c)
   return { rows = c.tile_rows, cols = c.tile_rows == 1 and blocks or c.tile_cols, blocks = blocks }
end

local function sums(p, c) -- accumulators of a thread
   return c.slots * sub_m(p) * sub_n(p, c) // 32
end

local function stage_bytes(p, c)
   local t = tile(p, c)
   return (t.rows * p.block_m + t.cols * p.block_k) * c.step * 2
end

local function parts_bytes(p, c)
   return c.splits == 1 and 0 or tiles_at_most(p, tile(p, c)) * c.splits * c.warps * 32 * sums(p, c) * 4
end

-- The counters of a split reduction, rounded up to 256 bytes.
local function counter_bytes(p, c)
   return c.splits == 1 and 0 or common.ceil_div(tiles_at_most(p, tile(p, c)) * 4, 256) * 256
end

-- Minimum CTAs per SM (__launch_bounds__).
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
      -- block columns of a tile; 0: as many as it has blocks, for tiles of one block row
      { "tile_cols", { 0, 12, 16, 24, 32, 48 } },
      { "warps", { 4, 8, 16 } },
      { "slots", { 1, 2, 3, 4, 6, 8, 12 } },          -- sub-blocks per warp
      { "width", { 32, 64 } },                        -- columns of a sub-block, at most
      { "step", { 16, 32, 64 } },                     -- n per pipeline stage
      { "stages", { 2, 3, 4 } },
      { "splits", { 1, 2, 4 } },                      -- CTAs that split the reduction over n of a tile
   },
   constraints = {
      { "f16 or bf16", function(p) return common.is_half(p) end },
      { "blocks of 16, 32, 64 or 128 rows and columns", function(p)
         return is_width(p.block_m) and is_width(p.block_k)
      end },
      { "sub-blocks of 32 columns only of blocks of at least 64",
        function(p, c) return c.width == 64 or p.block_k >= 64 end },
      { "a tile holds whole blocks", function(p, c) return c.warps * c.slots % pieces_of_block(p, c) == 0 end },
      { "tile_cols is 0 if and only if the tile is one block row", function(p, c)
         return (c.tile_rows == 1) == (c.tile_cols == 0)
      end },
      { "a tile holds at least one block per block row and per block column", function(p, c)
         local t = tile(p, c)
         return t.blocks >= t.rows and t.blocks >= t.cols and t.blocks >= 1
      end },
      { "the accumulators fit a thread's registers", function(p, c)
         local room = math.min(255, SM_REGISTERS // (c.warps * 32))
         return sums(p, c) + c.slots + (p.block_m == 16 and 54 or 44) <= room
      end },
      { "shared memory fits the SM", function(p, c, d) return c.stages * stage_bytes(p, c) <= d.smem_bytes_max end },
      { "the partial sums take at most 256 MiB of workspace",
        function(p, c) return parts_bytes(p, c) <= PARTS_BYTES end },
      { "fewer than 2^31 tiles", function(p, c) return tiles_at_most(p, tile(p, c)) < 1 << 31 end },
      -- from here on: legal, but not worth trying
      { "a tile is less than twice as tall and as wide as the matrix", function(p, c)
         return (c.tile_rows == 1 or c.tile_rows < 2 * p.block_rows) and (c.tile_cols <= 12 or c.tile_cols < 2 * p.block_cols)
      end },
      { "tiles of several block rows only for blocks of up to 32, with 8 or more warps", function(p, c)
         return c.tile_rows == 1 or (p.block_m <= 32 and p.block_k <= 32 and c.warps >= 8)
      end },
      { "a tile of several block rows is about square", function(p, c)
         return c.tile_rows == 1 or (c.tile_cols >= c.tile_rows and (c.tile_cols <= 1.5 * c.tile_rows or c.tile_rows <= 8))
      end },
      { "a tile of several block rows holds about as many blocks as the density predicts", function(p, c)
         local t = tile(p, c)
         if c.tile_rows == 1 then
            return true
         end
         local rows, full = math.min(t.rows, p.block_rows), 1 - (1 - p.density) ^ t.rows -- share of the columns with a block
         local expected = t.cols / math.max(full, 0.01) * rows * p.density
         return t.blocks >= 0.9 * expected and (t.blocks <= 1.6 * expected + 8 or (c.slots == 1 and c.warps == 4))
      end },
      { "at least 32 accumulators per thread", function(p, c) return sums(p, c) >= 32 end },
      { "a split reduction only for at most 8 tiles per SM, with at least 64 of n per split", function(p, c, d)
         return c.splits == 1 or (p.n >= 64 * c.splits and tiles_at_most(p, tile(p, c)) <= 8 * d.sm_count)
      end },
      { "the pipeline is the deepest that fits", function(p, c, d)
         return c.stages == 4 or (c.stages + 1) * stage_bytes(p, c) > d.smem_bytes_max
      end },
      { "stages of 16 only where three of 32 do not fit; of 64 only with a pipeline of four", function(p, c, d)
         return c.step == 32 or (c.step == 16 and 6 * stage_bytes(p, c) > d.smem_bytes_max) or
                (c.step == 64 and c.stages == 4)
      end },
      { "a tile of one block row holds at most twice as many blocks as a mean row, plus two", function(p, c)
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
