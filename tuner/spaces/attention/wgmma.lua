-- wgmma: TMA + wgmma, warp-specialised: f16 and bf16 with as many queries that a tile of 128 or 192 is worth it.

local common = require "attention.common"
local cuda_type, shared, flag, ceil_div = common.cuda_type, common.shared, common.flag, common.ceil_div
local is_half, tma_reads, map_rank, SM_SMEM = common.is_half, common.tma_reads, common.map_rank, common.SM_SMEM

local function consumers(c)
   return c.tile_m // 64 -- warpgroups
end

local function slabs(d) -- of 64 columns
   return ceil_div(d, 64)
end

-- bytes: rings of Q, K and V, four tiles and the barriers
local function smem(p, c)
   return c.q_slots * slabs(p.d) * c.tile_m * 128 + c.stages * (slabs(p.d) + slabs(p.dv)) * c.tile_n * 128 +
          16 * c.q_slots + 32 * c.stages + 4 * 40
end

-- Registers of a consumer's thread: S, P, O, and what else lives through a step.
local function registers(p, c)
   local others = c.tile_m == 192 and 32 or 44
   return c.tile_n // 2 + c.p_buffers * c.tile_n // 4 + ceil_div(p.dv, 16) * 8 + others
end

local function tiles(p, c)
   return p.batch * p.heads_q * ceil_div(p.sq, c.tile_m)
end

-- Tiles of one head have as many keys each, unless a band or lengths say otherwise.
local function even(p)
   return p.left < 0 and p.right < 0 and p.lengths == "dense"
end

local function map(p, rows)
   return { rank = map_rank(p), box = { 64, rows }, swizzle = 128, l2_promotion = 256 }
end

return triage.kernel {
   name = "wgmma",
   template = "templates/attention/wgmma.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 128, 192 } },                    -- queries of a tile: 64 a consumer warpgroup
      { "tile_n", { 64, 80, 96, 112, 128, 176 } },   -- keys of a step
      { "stages", { 2, 3 } },                        -- slots of the rings of K and V
      { "q_slots", { 1, 2 } },                       -- 2: the next tile's Q comes early
      { "ping_pong", { 0, 1 } },                     -- 1: the warpgroups take turns
      { "under", { 0, 1 } },                         -- 1: exponentials under the last P V
      { "p_buffers", { 1, 2 } },                     -- 2: P is packed there too
      { "skip", { -1, 0, 8 } },                      -- log2 of the growth that leaves a row's maximum as it is
      { "emulate", { 0, 2 } },                       -- of 8 exponentials, so many by polynomial
      { "order", { 0, 1 } },                         -- 1: the longest tiles first, section by section
      { "dynamic", { 0, 1 } },                       -- 1: a CTA takes its next tile when it is ready
   },
   constraints = {
      { "f16 or bf16", is_half },
      { "heads of up to 256, multiples of 8", function(p)
         return p.d % 8 == 0 and p.dv % 8 == 0 and p.d <= 256 and p.dv <= 256
      end },
      { "rows of Q, K, V and O are multiples of 16 bytes, no stride is 0", tma_reads },
      { "no pages", function(p) return p.page_size == 0 end },
      { "no block mask", function(p) return p.mask_m == 0 end },
      { "keys in one piece", function(p) return p.splits <= 1 end },
      { "at least one query and one key", function(p) return p.sq > 0 and p.sk > 0 end },
      { "S, P and O leave a thread enough registers", function(p, c)
         return registers(p, c) <= (c.tile_m == 192 and 160 or 240)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return smem(p, c) + 1024 <= SM_SMEM and smem(p, c) <= d.smem_bytes_max
      end },
      { "P is packed under a product only where the exponentials are", function(_, c)
         return c.p_buffers == 1 or c.under == 1
      end },
      { "tiles are taken in the order of their length where they differ", function(p, c)
         return c.order == flag(not even(p)) and c.dynamic == c.order
      end },
      -- from here on: what is legal but not worth a try
      { "as many slots of Q as fit", function(p, c)
         return c.q_slots == 2 or smem(p, { q_slots = 2, tile_m = c.tile_m, tile_n = c.tile_n, stages = c.stages }) + 1024 > SM_SMEM
      end },
      { "a third slot only for short steps", function(_, c) return c.stages == 2 or c.tile_n <= 96 end },
      { "three warpgroups only for short heads", function(p, c) return c.tile_m == 128 or p.dv <= 128 end },
      { "steps as long as registers and shared memory allow, or the next shorter ones", function(p, c)
         return c.tile_n >= (p.dv <= 128 and 96 or p.dv <= 192 and 80 or 64) or c.tile_m == 192 and p.dv > 64
      end },
      { "polynomials only where exponentials are as dear as products", function(p, c)
         return c.emulate == 0 or p.dv <= 64
      end },
      { "a tile is not mostly past the last query", function(p, c) return c.tile_m == 128 or c.tile_m < 2 * p.sq end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "stages", c.stages },
         { "q_slots", c.q_slots },
         { "ping_pong", c.ping_pong },
         { "under", c.under },
         { "p_buffers", c.p_buffers },
         { "skip", c.skip },
         { "emulate", c.emulate },
         { "order", c.order },
         { "dynamic", c.dynamic },
         { "offsets", flag(p.lengths == "varlen") },
         { "lengths", flag(p.lengths == "cache") },
      })
   end,
   launch = function(p, c, d)
      return {
         grid = { math.max(1, math.min(tiles(p, c), d.sm_count)) },
         block = { 128 * (consumers(c) + 1) },
         smem_bytes = smem(p, c),
         workspace_bytes = 8 * c.dynamic,
         workspace_zero_bytes = 8 * c.dynamic,
         map_q = map(p, 64),
         map_k = map(p, c.tile_n),
         map_v = map(p, c.tile_n),
      }
   end,
   spill_limit = 256, -- bytes: scalars of the loop's surroundings, where S, P and O fill the registers
   default = {
      -- measured best on an H200: heads of 64; of 128; wider ones
      { tile_m = 192, tile_n = 128, stages = 2, q_slots = 2, ping_pong = 1, under = 0, p_buffers = 1, skip = -1, emulate = 0,
        order = 0, dynamic = 0 },
      { tile_m = 192, tile_n = 128, stages = 2, q_slots = 2, ping_pong = 1, under = 0, p_buffers = 1, skip = -1, emulate = 0,
        order = 1, dynamic = 1 },
      { tile_m = 128, tile_n = 128, stages = 2, q_slots = 2, ping_pong = 1, under = 1, p_buffers = 2, skip = 0, emulate = 0,
        order = 0, dynamic = 0 },
      { tile_m = 128, tile_n = 128, stages = 2, q_slots = 2, ping_pong = 1, under = 1, p_buffers = 2, skip = 0, emulate = 0,
        order = 1, dynamic = 1 },
      { tile_m = 128, tile_n = 128, stages = 2, q_slots = 1, ping_pong = 1, under = 1, p_buffers = 1, skip = 0, emulate = 0,
        order = 0, dynamic = 0 },
      { tile_m = 128, tile_n = 128, stages = 2, q_slots = 1, ping_pong = 1, under = 1, p_buffers = 1, skip = 0, emulate = 0,
        order = 1, dynamic = 1 },
      { tile_m = 128, tile_n = 112, stages = 2, q_slots = 1, ping_pong = 1, under = 1, p_buffers = 1, skip = 0, emulate = 0,
        order = 0, dynamic = 0 },
      { tile_m = 128, tile_n = 112, stages = 2, q_slots = 1, ping_pong = 1, under = 1, p_buffers = 1, skip = 0, emulate = 0,
        order = 1, dynamic = 1 },
      { tile_m = 128, tile_n = 80, stages = 2, q_slots = 1, ping_pong = 1, under = 1, p_buffers = 1, skip = 0, emulate = 0,
        order = 0, dynamic = 0 },
      { tile_m = 128, tile_n = 80, stages = 2, q_slots = 1, ping_pong = 1, under = 1, p_buffers = 1, skip = 0, emulate = 0,
        order = 1, dynamic = 1 },
   },
}
