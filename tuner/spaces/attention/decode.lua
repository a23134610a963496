-- decode: decoding, few queries against a KV cache (mma.sync, cp.async; sm_80 and later).

local common = require "attention.common"
local cuda_type, shared, ceil_div = common.cuda_type, common.shared, common.ceil_div
local units = common.units

local SHORT_CACHE = 2048 -- keys: up to here one cluster reads a KV head's keys about as fast as the whole chip combines its sums

-- Rows in shared memory are padded to an odd number of 16-byte pieces, against bank conflicts.
local function padded(bytes)
   return (bytes // 16 | 1) * 16
end

local function up_to_16(columns)
   return ceil_div(columns, 16) * 16
end

-- The common alignment of all rows of K and V, at most 16 bytes; cp.async copies 16, 8 or 4.
local function copy_bytes(p)
   local bytes = 16
   while p.alignment % bytes ~= 0 or p.d * p.in_size % bytes ~= 0 or p.dv * p.in_size % bytes ~= 0 do
      bytes = bytes // 2
   end
   return bytes
end

local PIECE = 40 -- bytes of a struct piece

-- bytes: for each warp kStages steps of K and V; Q; for each warp its O, maxima and sums of weights; a flag; for each
-- warp the pieces in flight
local function smem(p, c)
   local step = c.keys * (padded(up_to_16(p.d) * p.in_size) + padded(up_to_16(p.dv) * p.in_size))
   local q = c.rows * padded(ceil_div(p.d, 32) * 64)
   return c.warps * c.stages * step + q + (c.warps * c.rows * (up_to_16(p.dv) + 6) + 4) * 4 +
          c.warps * (c.stages + 1) * PIECE
end

-- CTAs per SM that shared memory allows, at most 4.
local function ctas(p, c, d)
   return math.max(1, math.min(4, (d.smem_bytes_max + 1024) // (smem(p, c) + 1024)))
end

-- Accumulators of a thread: O, the scores and Q where it stays in registers.
local function accumulators(p, c)
   local tiles = c.rows // 8
   local q = up_to_16(p.d) // 16 * tiles
   return up_to_16(p.dv) // 16 * tiles * 4 + c.keys // 16 * tiles * 4 + (q <= 16 and 2 * q or 0)
end

local function tiles_of_unit(p, c)
   return math.max(1, ceil_div(p.sk, c.warps * c.keys))
end

-- CTAs: `waves` times what the chip holds at once, but no more than there are tiles (or splits, where their number is fixed).
local function grid(p, c, d)
   if c.cluster > 1 then
      return units(p, c) * c.cluster
   end
   local work = units(p, c) * (p.splits > 0 and p.splits or tiles_of_unit(p, c))
   return math.max(1, math.min(d.sm_count * ctas(p, c, d) * c.waves, work))
end

-- Warps of the one configuration that fixed splits allow: the keys are then split and summed in the same way for each head
-- size on a chip, whatever the batch, so a row's result is bitwise the same.
local function fixed_warps(p, d)
   for _, warps in ipairs { 8, 4, 3 } do
      if smem(p, { rows = 8, keys = 16, warps = warps, stages = 2 }) <= d.smem_bytes_max then
         return warps
      end
   end
   return 2
end

local function zero_bytes(p, c)
   return ceil_div(units(p, c) * 4, 256) * 256
end

local function workspace_bytes(p, c, d)
   local slots = p.splits > 0 and units(p, c) * p.splits or 2 * grid(p, c, d)
   return c.cluster > 1 and 0 or zero_bytes(p, c) + slots * c.rows * (up_to_16(p.dv) + 2) * 4
end

local decode = triage.kernel {
   name = "decode",
   template = "templates/attention/decode.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   spill_limit = 256, -- bytes, of 32 rows, of values that the inner loop does not touch
   axes = {
      { "rows", { 8, 16, 32 } },        -- rows of a CTA's tile: queries times the heads that share its KV head
      { "keys", { 16, 32 } },           -- keys of a warp per step
      { "warps", { 2, 3, 4, 6, 8 } },   -- warps; each takes keys of its own
      { "stages", { 2, 3, 4 } },        -- pipeline stages per warp
      -- CTAs that split a KV head's keys: 8: a cluster, which combines in shared memory; 1: any number, by the workspace
      { "cluster", { 1, 8 } },
      { "waves", { 1, 2, 4 } },         -- waves of CTAs: more of them balance SMs of unequal speed
   },
   constraints = {
      { "f16, bf16 or e4m3 inputs", function(p) return p.in_type ~= "f32" end },
      { "at most 16 queries a sequence", function(p) return p.sq <= common.MOST_QUERIES end },
      { "no block mask", function(p) return p.mask_m == 0 end },
      { "rows of K and V are aligned to 4 bytes", function(p) return copy_bytes(p) >= 4 end },
      { "shared memory fits the SM", function(p, c, d) return smem(p, c) <= d.smem_bytes_max end },
      { "the accumulators fit the registers", function(p, c) return accumulators(p, c) <= 176 end },
      { "clusters only where the architecture has them", function(p, c, d)
         return c.cluster == 1 or d.target == "sm_90a" or d.target == "sm_100a"
      end },
      { "a cluster's partial sums fit where the keys were in shared memory", function(p, c)
         return c.cluster == 1 or c.rows * (up_to_16(p.dv) + 2) * 4 <=
                c.warps * c.stages * c.keys * (padded(up_to_16(p.d) * p.in_size) + padded(up_to_16(p.dv) * p.in_size))
      end },
      { "fixed KV splits need cluster 1, waves 1, 16 keys and one number of warps, so that results are bitwise equal",
        function(p, c, d)
         return p.splits == 0 or (c.cluster == 1 and c.waves == 1 and c.keys == 16 and c.warps == fixed_warps(p, d))
      end },
      { "the workspace is under 4 GiB", function(p, c, d) return workspace_bytes(p, c, d) < 1 << 32 end },
      -- from here on: legal, but not worth trying
      { "a tile is at least half filled by the queries times heads of a KV head, or has the fewest rows", function(p, c)
         local rows = math.max(1, p.sq * p.group)
         return c.rows == 8 or rows > c.rows // 2
      end },
      { "a cluster per KV head only for short caches and few KV heads", function(p, c, d)
         return c.cluster == 1 or (units(p, c) * c.cluster <= d.sm_count and p.sk <= SHORT_CACHE and c.waves == 1)
      end },
      { "several waves only where each CTA has at least 4 tiles", function(p, c, d)
         return c.waves == 1 or units(p, c) * tiles_of_unit(p, c) >= 4 * d.sm_count * ctas(p, c, d) * c.waves
      end },
      { "the loads in flight on an SM are at least 32 KiB or 128 keys, or fill its shared memory", function(p, c, d)
         local keys = ctas(p, c, d) * c.warps * (c.stages - 1) * c.keys
         return keys * (p.d + p.dv) * p.in_size >= 32768 or keys >= 128 or c.cluster > 1 or d.smem_bytes_max < 131072
      end },
      { "where decode_tma applies, only the likeliest configurations of this kernel", function(p, c, d)
         return d.target ~= "sm_90a" or not common.tma_brings_keys(p) or
                (c.keys == 16 and c.warps >= 4 and c.stages == 2 and c.waves == 1)
      end },
      { "6 to 16 warps on an SM, or as many as its shared memory allows", function(p, c, d)
         local warps = ctas(p, c, d) * c.warps
         return warps <= 16 and (warps >= 6 or c.warps >= 4 or d.smem_bytes_max < 131072 or p.d + p.dv > 256)
      end },
   },
   params = function(p, c, d)
      return shared(p, cuda_type, {
         { "group", p.group },
         { "rows", c.rows },
         { "keys", c.keys },
         { "warps", c.warps },
         { "stages", c.stages },
         { "min_blocks", ctas(p, c, d) },
         { "cluster", c.cluster },
         { "copy_bytes", copy_bytes(p) },
         { "page_size", p.page_size },
         { "offsets", common.flag(p.lengths == "varlen") },
         { "lengths", common.flag(p.lengths == "cache") },
      })
   end,
   launch = function(p, c, d)
      return {
         grid = { grid(p, c, d) },
         cluster = { c.cluster },
         block = { c.warps * 32 },
         smem_bytes = smem(p, c),
         workspace_zero_bytes = c.cluster == 1 and zero_bytes(p, c) or 0,
         workspace_bytes = workspace_bytes(p, c, d),
      }
   end,
   default = {
      { rows = 8, keys = 16, warps = 8, stages = 2, cluster = 8, waves = 1 },
      { rows = 32, keys = 16, warps = 4, stages = 2, cluster = 1, waves = 1 },
      { rows = 16, keys = 16, warps = 8, stages = 2, cluster = 1, waves = 1 },
      { rows = 16, keys = 16, warps = 4, stages = 2, cluster = 1, waves = 1 },
      { rows = 8, keys = 16, warps = 8, stages = 2, cluster = 1, waves = 1 },
      { rows = 8, keys = 16, warps = 4, stages = 2, cluster = 1, waves = 1 },
      { rows = 8, keys = 16, warps = 3, stages = 2, cluster = 1, waves = 1 },
      { rows = 8, keys = 16, warps = 2, stages = 2, cluster = 1, waves = 1 },
   },
}

return decode
