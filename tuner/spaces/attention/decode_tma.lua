-- decode_tma: few queries against a cache of keys and values, by TMA and mma.sync; sm_90.

local common = require "attention.common"
local cuda_type, shared, flag, ceil_div = common.cuda_type, common.shared, common.flag, common.ceil_div
local units = common.units

local SHORT_CACHE = 2048 -- keys that the CTAs of one cluster read about as fast as the whole chip meets

local function tile_keys(c)
   return c.warps * c.keys
end

local PIECE = 40 -- bytes of a struct piece

-- bytes: the ring; of each warp its sums, maxima and sums of weights; barriers, pieces under way and a flag
local function smem(p, c)
   local ring = c.stages * tile_keys(c) * (p.d + p.dv) * p.in_size
   return ring + c.warps * c.rows * (p.dv + 6) * 4 + 24 * c.stages + PIECE * (c.stages + 1) + 8
end

-- A step and an end can be run on nothing while the first keys come: they read the sums' place, as many bytes as all columns
-- of a warp's rows of K or V are apart.
local function has_room_to_warm(p, c)
   local slabs = math.max(p.d, p.dv) * p.in_size // 128
   return (slabs - 1) * tile_keys(c) * 128 + c.keys * 128 <= c.warps * c.rows * (p.dv + 4) * 4
end

local function tiles_of_unit(p, c)
   return math.max(1, ceil_div(p.sk, tile_keys(c)))
end

-- CTAs: what the chip holds, or a few less where each then has whole (batch, KV head, q tile)s or an equal part of one, so
-- that there is less to add up.
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

-- Rows that lie one after another: of a page, or of a tile.
local function run_keys(p, c)
   return p.page_size > 0 and math.min(p.page_size, tile_keys(c)) or tile_keys(c)
end

local function map(p, c)
   return { rank = 4, box = { 128 // p.in_size, run_keys(p, c), 1, 1 }, swizzle = 128, l2_promotion = 128 }
end

-- Behind those of the problem alone.
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
      { "rows", { 8, 16 } },            -- queries and heads of a CTA, which read the same KV head
      { "keys", { 16, 32 } },           -- keys of a warp's step
      { "warps", { 4, 8 } },            -- consumer warps, each with keys of its own
      { "stages", { 2, 3, 4, 6, 12 } }, -- tiles under way or in use
      { "cluster", { 1, 8 } },          -- CTAs that share a KV head through their shared memory; 1: runs of equal length
   },
   constraints = with_problem {
      { "Q stays in registers", function(p, c) return p.d // 16 * (c.rows // 8) <= 16 end },
      { "tiles and pages are multiples of each other, of whole 8 keys", function(p, c)
         local run = run_keys(p, c)
         return run % 8 == 0 and run <= 256 and tile_keys(c) % run == 0 and tile_keys(c) // run <= 32 and
                p.page_size % run == 0
      end },
      { "shared memory fits the SM", function(p, c, d)
         return smem(p, c) <= d.smem_bytes_max
      end },
      { "a cluster's sums lie where keys were", function(p, c)
         return c.cluster == 1 or c.rows * (p.dv + 2) * 4 <= c.stages * tile_keys(c) * (p.d + p.dv) * p.in_size
      end },
      { "the workspace is under 2 GiB", function(p, c, d) return slot_bytes(p, c, d) < 1 << 31 end },
      -- from here on: what is legal but not worth a try (measured: docs/notebook.md)
      { "as many rows as there are queries and heads, or half of that", function(p, c)
         return c.rows == 8 or p.sq * p.group > c.rows // 2
      end },
      { "CTAs share a KV head only where caches are short and KV heads few", function(p, c, d)
         return c.cluster == 1 or (units(p, c) * c.cluster <= d.sm_count and p.sk <= SHORT_CACHE)
      end },
      { "of an SM's shared memory 128 KiB and more are asked for at once; a short cache needs no long ring", function(p, c)
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
