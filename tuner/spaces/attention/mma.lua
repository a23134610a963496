-- mma: prefill with mma.sync and cp.async, sm_80 and later: all that the TMA kernels do not take.

local common = require "attention.common"
local cuda_type, shared, with_mask = common.cuda_type, common.shared, common.with_mask
local ceil_div, is_half = common.ceil_div, common.is_half

local function padded(bytes)
   return (bytes // 16 | 1) * 16
end

local function up_to_16(columns)
   return ceil_div(columns, 16) * 16
end

-- The common alignment of all rows, at most 16 bytes; below 4 bytes they are copied element by element.
local function copy_bytes(p)
   local bytes = 16
   while p.alignment % bytes ~= 0 or p.d * p.in_size % bytes ~= 0 or p.dv * p.in_size % bytes ~= 0 do
      bytes = bytes // 2
   end
   return bytes >= 4 and bytes or p.in_size
end

-- The four tables of where a tile's rows lie, as templates/attention/mma.cu lays them out (block masks and pages).
local function table_bytes(p, c)
   if p.mask_m == 0 and p.page_size == 0 then
      return 0
   end
   local groups = p.mask_m > 0 and math.max(1, c.tile_n // p.mask_n) or 1
   return 4 * (8 * c.tile_n + 8 * groups)
end

-- e4m3 fragments are read 32 columns at a time: with heads of 80 the last read of the last row goes 16 bytes past it.
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

-- Registers of a thread for O and the scores, for Q where it is held, and for the conversion of e4m3.
local function accumulators(p, c)
   local tiles = warp_rows(c) // 16
   local q = c.hold_q == 1 and up_to_16(p.d) // 4 or 0
   local scores = c.slab > 0 and c.slab * 3 // 2 or c.tile_n // 2 -- the scores of two slabs, and the weights of two
   return tiles * (up_to_16(p.dv) // 2 + scores + q) + (is_half(p) and 0 or 40)
end

-- The most accumulators a thread that ptxas 13.0 does not spill (tests/compile_space.sh --all compiles every candidate).
local function most_accumulators(p, c, d)
   local hopper = d.target == "sm_90a"
   if c.late == 1 then -- on an H200 causal 361 TFLOP/s with 192 accumulators and 136 bytes spilled, 345 without `late`
      return hopper and c.ahead == 3 and c.hold_q == 0 and 192 or 160
   end
   if hopper then
      return c.stages == 2 and c.ahead == 1 and 216 or 224
   end
   if math.max(p.d, p.dv) % 64 ~= 0 or p.d > 128 then
      return 176
   end
   return c.stages == 2 and c.ahead == 3 and 224 or 192
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
   spill_limit = 160, -- bytes, of values that the inner loop does not touch
   axes = {
      { "tile_m", { 16, 32, 64, 128 } },     -- queries of a CTA
      { "tile_n", { 32, 48, 64, 96, 128 } }, -- keys of a tile
      { "warps", { 1, 2, 4, 8 } },           -- warps of a CTA, 16 or 32 queries each
      { "stages", { 1, 2 } },                -- 1: K and V load alternately, each while the other is used; 2: the next tile is prefetched
      { "hold_q", { 0, 1 } },                -- 1: Q fragments stay in registers; 0: they are loaded for each tile
      { "ahead", { 1, 3 } },                 -- fragments are loaded so many mma ahead
      -- 1: in tiles that no mask cuts, maxima are searched only after the sums of weights have grown
      { "late", { 0, 1 } },
      -- keys of a slab: Q K, softmax and P V of neighbouring slabs overlap; 0: no slabs
      { "slab", { 0, 16, 32 } },
   },
   constraints = {
      { "f16, bf16 or e4m3 inputs", function(p) return p.in_type ~= "f32" end },
      { "no KV split is asked for", function(p) return p.splits <= 1 end },
      { "at most 65535 heads and sequences (grid.y, grid.z)",
        function(p) return p.heads_q <= 65535 and p.batch <= 65535 end },
      { "16 or 32 queries per warp", function(p, c) return warp_rows(c) == 16 or warp_rows(c) == 32 end },
      { "a tile divides a block of the mask, or is made of whole blocks of one block row", blocks_fit },
      { "with slabs a tile is two of them, and maxima are not late",
        function(_, c) return c.slab == 0 or (c.tile_n == 2 * c.slab and c.late == 0) end },
      { "slabs need 16-bit inputs, no block mask, no pages and no soft cap", function(p, c)
         return c.slab == 0 or (is_half(p) and p.mask_m == 0 and p.page_size == 0 and not p.softcap)
      end },
      { "slabs and late maxima need two stages", function(_, c)
         return (c.slab == 0 and c.late == 0) or c.stages == 2
      end },
      { "the accumulators fit the registers", function(p, c, d) return accumulators(p, c) <= most_accumulators(p, c, d) end },
      { "e4m3 before sm_89, which has no instruction for it: tiles of at most 64 keys", function(p, c, d)
         return p.in_size > 1 or d.cc >= 89 or c.tile_n <= 64
      end },
      -- ptxas 13.0 spills 136 to 1040 bytes of 192 with a block mask, where a thread finds the rows of 32 or 64 copies of a tile
      { "with a block mask the accumulators and the row pointers of the copies fit the registers", function(p, c)
         return p.mask_m == 0 or accumulators(p, c) < 192 or math.max(p.d, p.dv) <= 64 or c.warps >= 4 or
                (c.warps == 2 and c.stages == 2)
      end },
      { "shared memory fits the SM", function(p, c, d) return smem(p, c) <= d.smem_bytes_max end },
      -- from here on: legal, but not worth trying
      { "16 queries or fewer are left to the decode kernels, or take a tile of 16", function(p, c)
         return p.sq > common.MOST_QUERIES or p.mask_m > 0 or c.tile_m == 16
      end },
      { "the tile is as tall as the queries and the mask's blocks allow, or half of it", function(p, c)
         local most = p.mask_m > 0 and p.mask_m or 128
         return c.tile_m == most or c.tile_m * 2 == most or (c.tile_m == 16 and p.sq <= 16) or
                (c.tile_m == 32 and p.sq <= 32 and most >= 32)
      end },
      { "heads over 128 take tiles of at most 64 keys, others of at least 64", function(p, c)
         local wide = math.max(p.d, p.dv) > 128
         return wide and c.tile_n <= 64 or not wide and (c.tile_n >= 64 or p.mask_m > 0)
      end },
      { "Q is held in registers with slabs, and optionally for 16-bit heads of up to 64", function(p, c)
         return (c.hold_q == 1) == (c.slab > 0) or (c.hold_q == 1 and is_half(p) and p.d <= 64)
      end },
      { "32 queries per warp, where the head size leaves enough registers", function(p, c)
         return warp_rows(c) == 32 or c.tile_m < 64 or math.max(p.d, p.dv) > (is_half(p) and 128 or 64)
      end },
      { "slabs of 32 keys for heads of up to 64, of 16 for heads over 128", function(p, c) -- measured; neither helps at 128
         local most = math.max(p.d, p.dv)
         return c.slab == 0 or (c.slab == 32 and most <= 64) or (c.slab == 16 and most > 128)
      end },
      { "late maxima only for heads of up to 128", function(p, c)
         return c.late == 0 or math.max(p.d, p.dv) <= 128
      end },
      { "tiles of 96 keys only for heads of 96 without a block mask, none of 48", function(p, c)
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
