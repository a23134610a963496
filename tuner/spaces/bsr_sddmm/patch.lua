-- patch: a CTA computes all stored blocks of 256 or 512 neighbouring rows and columns, for blocks of 16 and 32 (TMA, mma.sync,
-- warp-specialised).

local common = require "bsr_sddmm.common"
local cuda_type, shared, ceil_div = common.cuda_type, common.shared, common.ceil_div

local function is_width(block)
   return block == 16 or block == 32
end

local function sub_n(p, c) return math.min(c.width, p.block_k) end

-- The most blocks of a patch. With a margin patches end after so many blocks, so all have about an even share. Without, they end
-- after so many columns, and the limit (2.5 standard deviations above the mean) fits nearly all random patterns.
local function blocks(p, c)
   local rows, cols = c.tile_m // p.block_m, c.tile_k // p.block_k
   local mean = rows * cols * p.density
   local most = c.margin > 0 and 1.06 * mean + 1 or mean + 2.5 * math.sqrt(mean)
   return math.max(rows, cols, math.ceil(most))
end

local function slots(p, c) -- sub-blocks per warp
   return ceil_div(blocks(p, c) * (p.block_k // sub_n(p, c)), c.warps)
end

local function tile(p, c)
   return {
      rows = c.tile_m // p.block_m,
      cols = (c.tile_k + c.margin) // p.block_k,
      blocks = slots(p, c) * c.warps * sub_n(p, c) // p.block_k,
      limit = blocks(p, c),
   }
end

-- An upper bound of what src/op/bsr_sddmm/tiles.c makes: in a band of block rows every tile but the last is full of columns or
-- of blocks. Each band's last cluster is padded with empty tiles.
local function tiles_at_most(p, c)
   local t = tile(p, c)
   local bands = ceil_div(p.block_rows, t.rows)
   local full = p.nnzb // (t.limit - t.rows + 1)
   return ceil_div(bands * (ceil_div(p.block_cols, t.cols) + c.cluster - 1) + full, c.cluster) * c.cluster
end

local function sums(p, c) -- accumulators of a thread
   return slots(p, c) * p.block_m * sub_n(p, c) // 32
end

-- bytes: the stage ring, and two barriers a stage
local function smem(p, c, stages)
   return stages * ((c.tile_m + c.tile_k + c.margin) * c.step * 2 + 16)
end

-- Registers of a consumer thread (kConsumerRegisters): accumulators, fragments, the places of its sub-blocks, and 20 more.
local function registers(c)
   local groups = c.warps // 4
   return math.min(240, (512 // (groups + 1) // 8 * 8 * (groups + 1) - 24) // groups // 8 * 8)
end
local function fragments(p, c) return (math.min(c.step, 32) // 16) * (p.block_m // 16 * 4 + 4) end

local function sums_fit(p, c)
   return sums(p, c) + fragments(p, c) + slots(p, c) + 20 <= registers(c)
end

local function larger_serves(p, c, d, tile_m, tile_k)
   local larger = { tile_m = tile_m, tile_k = tile_k, margin = c.margin, warps = c.warps, width = c.width, step = c.step }
   return tile_m <= 512 and tile_k <= 512 and ceil_div(p.m, tile_m) * ceil_div(p.k, tile_k) >= d.sm_count and
          slots(p, larger) <= 32 and sums_fit(p, larger)
end

local function map_of(layout, c)
   local row = layout == "row"
   return { rank = 2, box = row and { c.step, 64 } or { 64, c.step }, swizzle = row and c.step * 2 or 128, l2_promotion = 256 }
end

local patch = triage.kernel {
   name = "patch",
   template = "templates/bsr_sddmm/patch.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 256, 512 } },          -- rows of a patch
      { "tile_k", { 256, 512 } },          -- columns of a patch
      { "margin", { 0, 128 } },            -- extra columns that a patch with few blocks may have
      { "warps", { 8, 16 } },              -- consumer warps of a CTA
      { "width", { 16, 32 } },             -- columns of a sub-block, at most
      { "step", { 16, 32, 64 } },          -- n per pipeline stage
      { "stages", { 2, 3, 4, 5, 6, 8 } },  -- pipeline depth
      { "cluster", { 1, 2 } },             -- CTAs that share Y by multicast
   },
   constraints = {
      { "f16 or bf16", function(p) return common.is_half(p) end },
      { "blocks of 16 or 32 rows and columns", function(p) return is_width(p.block_m) and is_width(p.block_k) end },
      { "rows of Y and X are multiples of 16 bytes", function(p) return common.rows_are_aligned(p) end },
      { "sub-blocks are no wider than a block", function(p, c) return c.width <= p.block_k end },
      { "stages of 16 only where Y and X are column-major", function(p, c)
         return c.step > 16 or (p.y_layout == "col" and p.x_layout == "col")
      end },
      { "the accumulators fit a thread's registers", sums_fit },
      { "at most 32 sub-blocks per warp (one bit each)", function(p, c) return slots(p, c) <= 32 end },
      { "shared memory fits the SM", function(p, c, d) return smem(p, c, c.stages) <= d.smem_bytes_max end },
      { "fewer than 2^31 tiles", function(p, c) return tiles_at_most(p, c) < 1 << 31 end },
      -- from here on: legal, but not worth trying
      { "the pipeline is the deepest that fits", function(p, c, d)
         for _, deeper in ipairs { 3, 4, 5, 6, 8 } do
            if deeper > c.stages and smem(p, c, deeper) <= d.smem_bytes_max then
               return false
            end
         end
         return true
      end },
      { "a patch is less than twice as tall and as wide as the matrix", function(p, c)
         return (c.tile_m == 256 or c.tile_m < 2 * p.m) and (c.tile_k == 256 or c.tile_k < 2 * p.k)
      end },
      { "a smaller patch only where the accumulators of a larger one do not fit, or it would leave SMs idle",
        function(p, c, d)
         return not (larger_serves(p, c, d, 2 * c.tile_m, c.tile_k) or larger_serves(p, c, d, c.tile_m, 2 * c.tile_k))
      end },
      { "a patch has at least one block per warp", function(p, c)
         return blocks(p, c) >= c.warps or (c.warps == 8 and c.tile_m == 512 and c.tile_k == 512)
      end },
   },
   params = function(p, c)
      local t = tile(p, c)
      return shared(p, cuda_type, {
         { "tile_rows", t.rows },
         { "tile_cols", t.cols },
         { "tile_blocks", t.limit },
         { "sub_n", sub_n(p, c) },
         { "warps", c.warps },
         { "step", c.step },
         { "stages", c.stages },
         { "cluster", c.cluster },
      })
   end,
   launch = function(p, c)
      local t = tile(p, c)
      return {
         grid = { tiles_at_most(p, c) },
         cluster = { c.cluster },
         block = { (c.warps + 4) * 32 },
         smem_bytes = smem(p, c, c.stages),
         map_y = map_of(p.y_layout, c),
         map_x = map_of(p.x_layout, c),
         tile_rows = t.rows,
         tile_cols = t.cols,
         tile_blocks = t.limit,
         tile_solid = c.cluster,
      }
   end,
   default = {
      -- measured best at 8192^3, one block in ten, on an H200
      { tile_m = 512, tile_k = 512, margin = 128, warps = 16, width = 16, step = 32, stages = 3, cluster = 2 },
      { tile_m = 512, tile_k = 512, margin = 0, warps = 16, width = 16, step = 32, stages = 3, cluster = 2 },
   },
}

return patch
