-- mma: mma.sync + cp.async, sm_80 and later: whatever the kernels of TMA leave.

local common = require "attention.common"
local cuda_type, shared, with_mask = common.cuda_type, common.shared, common.with_mask
local ceil_div, is_half = common.ceil_div, common.is_half

local function padded(bytes)
   return (bytes // 16 | 1) * 16
end

local function up_to_16(columns)
   return ceil_div(columns, 16) * 16
end

-- What all rows are aligned to, 16 bytes at most; under 4 bytes they move element by element.
local function copy_bytes(p)
   local bytes = 16
   while p.alignment % bytes ~= 0 or p.d * p.in_size % bytes ~= 0 or p.dv * p.in_size % bytes ~= 0 do
      bytes = bytes // 2
   end
   return bytes >= 4 and bytes or p.in_size
end

-- Tables of where a tile's rows lie: four, as templates/attention/mma.cu lays them out.
local function table_bytes(p, c)
   if p.mask_m == 0 and p.page_size == 0 then
      return 0
   end
   local groups = p.mask_m > 0 and math.max(1, c.tile_n // p.mask_n) or 1
   return 4 * (8 * c.tile_n + 8 * groups)
end

-- e4m3 comes from shared memory 32 columns at a time: of 80 the last row's last are behind its end.
local function behind_the_end(p)
   return p.in_size == 1 and 16 or 0
end

local function smem(p, c)
   local k, v = padded(up_to_16(p.d) * p.in_size), padded(up_to_16(p.dv) * p.in_size)
   local q = padded(math.max(up_to_16(p.d) * p.in_size, up_to_16(p.dv) * p.out_size))
   return c.tile_m * q + c.stages * c.tile_n * (k + v) + table_bytes(p, c) + behind_the_end(p)
end

local function warp_rows(c)
   return c.tile_m // c.warps
end

-- Registers of a thread for O and the scores, for Q where it stays there, and for what e4m3 becomes.
local function accumulators(p, c)
   local tiles = warp_rows(c) // 16
   local q = c.hold_q == 1 and up_to_16(p.d) // 4 or 0
   local scores = c.slab > 0 and c.slab * 3 // 2 or c.tile_n // 2 -- of two slabs, and weights of two
   return tiles * (up_to_16(p.dv) // 2 + scores + q) + (is_half(p) and 0 or 40)
end

local function blocks_fit(p, c)
   return p.mask_m == 0 or (p.mask_m % c.tile_m == 0 and
             (c.tile_n % p.mask_n == 0 or (p.mask_n % c.tile_n == 0 and c.tile_n % 32 == 0)))
end

local mma = triage.kernel {
   name = "mma",
   template = "templates/attention/mma.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   spill_limit = 128, -- bytes, of values that the inner loop does not touch
   axes = {
      { "tile_m", { 16, 32, 64, 128 } },     -- queries of a CTA
      { "tile_n", { 32, 48, 64, 96, 128 } }, -- keys of a tile
      { "warps", { 1, 2, 4, 8 } },           -- 16 or 32 queries each
      { "stages", { 1, 2 } },                -- 1: K and V by turns, 2: the next tile's under way during this one
      { "hold_q", { 0, 1 } },                -- Q in registers, or read again for each tile
      { "ahead", { 1, 3 } },                 -- products that operands are read ahead
      { "late", { 0, 1 } },                  -- 1: no maxima where no mask cuts, until sums of weights ask for them
      { "slab", { 0, 16, 32 } },             -- scores, weights and products of neighbouring slabs of keys side by side; 0: no slabs
   },
   constraints = {
      { "f16, bf16 or e4m3 inputs", function(p) return p.in_type ~= "f32" end },
      { "keys in one piece", function(p) return p.splits <= 1 end },
      { "heads and batch fit a CUDA grid", function(p) return p.heads_q <= 65535 and p.batch <= 65535 end },
      { "a warp has 16 or 32 queries", function(p, c) return warp_rows(c) == 16 or warp_rows(c) == 32 end },
      { "a tile is a part of a block of the mask or whole blocks, of one row of blocks", blocks_fit },
      { "a tile has two slabs", function(_, c) return c.slab == 0 or (c.tile_n == 2 * c.slab and c.late == 0) end },
      { "slabs of 16-bit keys in order, scores as they are", function(p, c)
         return c.slab == 0 or (is_half(p) and p.mask_m == 0 and p.page_size == 0 and not p.softcap)
      end },
      { "the next tile is under way where nobody looks for maxima", function(_, c)
         return (c.slab == 0 and c.late == 0) or c.stages == 2
      end },
      -- ptxas 13.0 spills 104 to 172 bytes of 224 accumulators with two stages and operands one product ahead
      { "the accumulators fit the registers", function(p, c)
         return accumulators(p, c) <= (c.stages == 2 and c.ahead == 1 and 216 or 224)
      end },
      -- ... and 136 to 1040 of 192 with a block mask, where a thread finds the rows of 32 or 64 copies of a tile
      { "accumulators and copies of listed blocks fit the registers", function(p, c)
         return p.mask_m == 0 or accumulators(p, c) < 192 or math.max(p.d, p.dv) <= 64 or c.warps >= 4 or
                (c.warps == 2 and c.stages == 2)
      end },
      { "shared memory fits the SM", function(p, c, d) return smem(p, c) <= d.smem_bytes_max end },
      -- from here on: what is legal but not worth a try
      { "few queries are for decode, or one short tile", function(p, c)
         return p.sq > common.MOST_QUERIES or p.mask_m > 0 or c.tile_m == 16
      end },
      { "the tile is as tall as the queries and blocks allow", function(p, c)
         local most = p.mask_m > 0 and p.mask_m or 128
         return c.tile_m == most or c.tile_m * 2 == most or (c.tile_m == 16 and p.sq <= 16) or
                (c.tile_m == 32 and p.sq <= 32 and most >= 32)
      end },
      { "wide heads have narrow tiles, others wide ones", function(p, c)
         local wide = math.max(p.d, p.dv) > 128
         return wide and c.tile_n <= 64 or not wide and (c.tile_n >= 64 or p.mask_m > 0)
      end },
      { "Q stays in registers where heads are narrow, and in slabs", function(p, c)
         return (c.hold_q == 1) == (c.slab > 0) or (c.hold_q == 1 and is_half(p) and p.d <= 64)
      end },
      { "a warp has 32 queries where heads of up to 128 leave it the registers", function(p, c)
         return warp_rows(c) == 32 or c.tile_m < 64 or math.max(p.d, p.dv) > (is_half(p) and 128 or 64)
      end },
      { "slabs of 32 keys for narrow heads, of 16 for wide ones", function(p, c) -- as measured; at 128 neither
         local most = math.max(p.d, p.dv)
         return c.slab == 0 or (c.slab == 32 and most <= 64) or (c.slab == 16 and most > 128)
      end },
      { "maxima late where they are much of the work", function(p, c)
         return c.late == 0 or math.max(p.d, p.dv) <= 128
      end },
      { "48 and 96 keys only where blocks allow no other", function(p, c)
         return (c.tile_n ~= 48 and c.tile_n ~= 96) or (p.mask_m == 0 and c.tile_n == 96 and p.d == 96)
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, with_mask(p, {
         { "group", p.group },
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "warps", c.warps },
         { "stages", c.stages },
         { "hold_q", c.hold_q },
         { "ahead", c.ahead },
         { "late", c.late },
         { "slab", c.slab },
         { "min_blocks", 1 },
         { "copy_bytes", copy_bytes(p) },
         { "page_size", p.page_size },
      }))
   end,
   launch = function(p, c)
      return {
         grid = { math.max(1, ceil_div(p.sq, c.tile_m)), p.heads_q, p.batch },
         block = { c.warps * 32 },
         smem_bytes = smem(p, c),
      }
   end,
   default = {
      { tile_m = 128, tile_n = 64, warps = 4, stages = 2, hold_q = 1, ahead = 3, late = 0, slab = 32 },
      { tile_m = 128, tile_n = 32, warps = 8, stages = 2, hold_q = 1, ahead = 3, late = 0, slab = 16 },
      { tile_m = 128, tile_n = 64, warps = 4, stages = 2, hold_q = 0, ahead = 3, late = 1, slab = 0 },
      { tile_m = 128, tile_n = 64, warps = 4, stages = 2, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 128, tile_n = 64, warps = 4, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 64, tile_n = 64, warps = 4, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 64, tile_n = 32, warps = 4, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 32, tile_n = 64, warps = 2, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 32, tile_n = 32, warps = 2, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 16, tile_n = 64, warps = 1, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
      { tile_m = 16, tile_n = 32, warps = 1, stages = 1, hold_q = 0, ahead = 3, late = 0, slab = 0 },
   },
}

return mma
