-- decode_tma: decoding, few queries against a KV cache, on Hopper (TMA, mma.sync, a producer warp).

local common = require "attention.common"
local cuda_type, shared, flag, ceil_div = common.cuda_type, common.shared, common.flag, common.ceil_div
local units = common.units

local SHORT_CACHE = 2048 -- keys: up to here one cluster reads a KV head's keys about as fast as the whole chip combines its sums

local function tile_keys(c)
   return c.warps * c.keys
end

local PIECE = 40 -- bytes of a struct piece

-- bytes: the ring; for each warp its O, maxima and sums of weights; barriers, the pieces in flight and a flag
local function smem(p, c)
   local ring = c.stages * tile_keys(c) * (p.d + p.dv) * p.in_size
   return ring + c.warps * c.rows * (p.dv + 6) * 4 + 24 * c.stages + PIECE * (c.stages + 1) + 8
end

-- Can a dummy step and epilogue run while the first keys load, to bring their code into the instruction cache? They read the
-- memory of the sums instead of K and V, so that must be as large as the columns of a warp's rows of K or V span.
local function has_room_to_warm(p, c)
   local slabs = math.max(p.d, p.dv) * p.in_size // 128
   return (slabs - 1) * tile_keys(c) * 128 + c.keys * 128 <= c.warps * c.rows * (p.dv + 4) * 4
end

local function tiles_of_unit(p, c)
   return math.max(1, ceil_div(p.sk, tile_keys(c)))
end

-- CTAs: one per SM, or up to a tenth fewer where each then has whole (batch, KV head, q tile) units or an equal part of one:
-- so there are fewer partial sums to combine.
local function grid(p, c, d)
   local room, n = d.sm_count, units(p, c)
   if c.cluster > 1 then
      return n * c.cluster
   end
   for ctas = room, math.ceil(0.9 * room), -1 do
      if n % ctas == 0 or ctas % n == 0 and tiles_of_unit(p, c) % (ctas // n) == 0 then
         return ctas
      end
   end
   return math.min(room, n * tiles_of_unit(p, c))
end

local function zero_bytes(p, c)
   return c.cluster > 1 and 0 or ceil_div(units(p, c) * 4, 256) * 256
end

local function slot_bytes(p, c, d)
   return c.cluster > 1 and 0 or 2 * grid(p, c, d) * c.rows * (p.dv + 2) * 4
end

-- Keys of one contiguous load: those of a tile that lie in one page.
local function run_keys(p, c)
   return p.page_size > 0 and math.min(p.page_size, tile_keys(c)) or tile_keys(c)
end

local function map(p, c)
   return { rank = 4, box = { 128 // p.in_size, run_keys(p, c), 1, 1 }, swizzle = 128, l2_promotion = 128 }
end

-- The constraints of the problem alone come first.
local function with_problem(constraints)
   local all = {}
   for _, list in ipairs { common.keys_by_tma, constraints } do
      for _, constraint in ipairs(list) do
         table.insert(all, constraint)
      end
   end
   return all
end

return triage.kernel {
   name = "decode_tma",
   template = "templates/attention/decode_tma.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   spill_limit = 64, -- bytes, of values that the inner loop does not touch
   axes = {
      { "rows", { 8, 16 } },            -- rows of a CTA's tile: queries times the heads that share its KV head
      { "keys", { 16, 32 } },           -- keys of a warp per step
      { "warps", { 4, 8 } },            -- consumer warps; each takes keys of its own
      { "stages", { 2, 3, 4, 6, 12 } }, -- pipeline stages
      -- CTAs that split a KV head's keys: 8: a cluster, which combines in shared memory; 1: any number, by the workspace
      { "cluster", { 1, 8 } },
   },
   constraints = with_problem {
      { "Q fits the registers", function(p, c) return p.d // 16 * (c.rows // 8) <= 16 end },
      { "the keys of a tile and of a page are multiples of one another and of 8", function(p, c)
         local run = run_keys(p, c)
         return run % 8 == 0 and run <= 256 and tile_keys(c) % run == 0 and tile_keys(c) // run <= 32 and
                p.page_size % run == 0
      end },
      { "shared memory fits the SM", function(p, c, d)
         return smem(p, c) <= d.smem_bytes_max
      end },
      { "a cluster's partial sums fit where the keys were in shared memory", function(p, c)
         return c.cluster == 1 or c.rows * (p.dv + 2) * 4 <= c.stages * tile_keys(c) * (p.d + p.dv) * p.in_size
      end },
      { "the workspace is under 2 GiB", function(p, c, d) return slot_bytes(p, c, d) < 1 << 31 end },
      -- from here on: legal, but not worth trying (measured: docs/notebook.md)
      { "a tile is at least half filled by the queries times heads of a KV head, or has the fewest rows", function(p, c)
         return c.rows == 8 or p.sq * p.group > c.rows // 2
      end },
      { "a cluster per KV head only for short caches and few KV heads", function(p, c, d)
         return c.cluster == 1 or (units(p, c) * c.cluster <= d.sm_count and p.sk <= SHORT_CACHE)
      end },
      { "the ring is at least 128 KiB; for short caches at most 3 stages", function(p, c)
         local ring = c.stages * tile_keys(c) * (p.d + p.dv) * p.in_size
         return p.sk <= SHORT_CACHE and c.stages <= 3 or p.sk > SHORT_CACHE and ring >= 131072
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "group", p.group },
         { "rows", c.rows },
         { "keys", c.keys },
         { "warps", c.warps },
         { "stages", c.stages },
         { "cluster", c.cluster },
         { "warm", flag(has_room_to_warm(p, c)) },
         { "page_size", p.page_size },
         { "lengths", flag(p.lengths == "cache") },
      })
   end,
   launch = function(p, c, d)
      return {
         grid = { grid(p, c, d) },
         cluster = { c.cluster },
         block = { c.warps * 32 + 32 },
         smem_bytes = smem(p, c),
         workspace_zero_bytes = zero_bytes(p, c),
         workspace_bytes = zero_bytes(p, c) + slot_bytes(p, c, d),
         map_k = map(p, c),
         map_v = map(p, c),
      }
   end,
   default = {
      { rows = 8, keys = 16, warps = 4, stages = 2, cluster = 8 },
      { rows = 16, keys = 16, warps = 8, stages = 3, cluster = 1 },
      { rows = 8, keys = 16, warps = 8, stages = 3, cluster = 1 },
      { rows = 8, keys = 16, warps = 8, stages = 6, cluster = 1 },
      { rows = 8, keys = 16, warps = 8, stages = 2, cluster = 1 },
      { rows = 8, keys = 16, warps = 4, stages = 3, cluster = 1 },
   },
}
