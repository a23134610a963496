-- wgmma: TMA + wgmma, warp-specialised: f16 and bf16, where there are enough queries for tiles of 64 to 192.

local common = require "attention.common"
local cuda_type, shared, with_mask, flag = common.cuda_type, common.shared, common.with_mask, common.flag
local ceil_div, is_half, tma_reads = common.ceil_div, common.is_half, common.tma_reads
local map_rank, SM_SMEM = common.map_rank, common.SM_SMEM
local tiles, even = common.tiles, common.even

local function consumers(c)
   return c.tile_m // 64 -- warpgroups
end

-- A tile of 64 queries leaves room for a second CTA.
local function ctas_per_sm(c)
   return c.tile_m == 64 and 2 or 1
end

local function slabs(d) -- of 64 columns
   return ceil_div(d, 64)
end

-- Keys that a step reads side by side: all of its own, or those of a block of the mask.
local function unit(p, c)
   return p.mask_m > 0 and math.min(p.mask_n, c.tile_n) or c.tile_n
end

-- bytes: rings of Q, K and V; barriers, four tiles, and of each step what it has gathered
local function smem_with(p, c, q_slots)
   local gathered = (p.mask_m > 0 and c.stages or 1) * 4 * (2 * (c.tile_n // unit(p, c)) + 1)
   local sync = 16 * q_slots + 32 * c.stages + 4 * 56 + gathered
   return q_slots * slabs(p.d) * c.tile_m * 128 + c.stages * (slabs(p.d) + slabs(p.dv)) * c.tile_n * 128 +
          ceil_div(sync, 8) * 8
end

local function smem(p, c)
   return smem_with(p, c, c.q_slots)
end

local function fits(p, c, q_slots)
   return (smem_with(p, c, q_slots) + 1024) * ctas_per_sm(c) <= SM_SMEM
end

-- Registers of a consumer's thread: S, P, O, and what else lives through a step; and those that it gets.
local function registers(p, c)
   return c.tile_n // 2 + c.p_buffers * c.tile_n // 4 + ceil_div(p.dv, 16) * 8 + (c.tile_m == 192 and 32 or 44)
end

local function registers_given(c)
   return c.tile_m == 64 and 224 or c.tile_m == 128 and 240 or 160
end

-- The fewest keys of a step that are worth it: as many as registers and shared memory have room for, nearly.
local function short_step(p)
   return p.dv <= 128 and p.d <= 128 and 128 or p.dv <= 192 and 112 or 64
end

-- Heads of 256 with many keys are worked on in larger sections of L2: faster from 8192 keys on, a fifth slower at 512 and
-- 2048 (measured: docs/notebook.md).
local function wide_sections(p)
   return p.dv > 192 and p.sk > 4096 and p.lengths == "dense" and p.mask_m == 0
end

local function map(p, rows)
   local rank = map_rank(p)
   return { rank = rank, box = rank == 4 and { 64, rows, 1, 1 } or { 64, rows, 1 }, swizzle = 128, l2_promotion = 256 }
end

local function default(tile_m, tile_n, stages, q_slots, ping_pong, under, p_buffers, skip, order, dynamic)
   return { tile_m = tile_m, tile_n = tile_n, stages = stages, q_slots = q_slots, ping_pong = ping_pong, under = under,
            p_buffers = p_buffers, apart = 0, skip = skip, store_tma = 0, order = order, dynamic = dynamic }
end

return triage.kernel {
   name = "wgmma",
   template = "templates/attention/wgmma.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 64, 128, 192 } },              -- queries of a tile: 64 a consumer warpgroup
      { "tile_n", { 64, 80, 112, 128, 176 } },     -- keys of a step
      { "stages", { 2, 3 } },                      -- slots of the rings of K and V
      { "q_slots", { 1, 2 } },                     -- 2: the next tile's Q comes early
      { "ping_pong", { 0, 1, 2 } },                -- the warpgroups take turns: 1 to issue products, 2 at the softmax
      { "under", { 4, 2, 0 } },                    -- quarters of the exponentials under the last P V, the others behind it
      { "p_buffers", { 1, 2 } },                   -- 2: P is packed under it too
      { "apart", { 0, 1 } },                       -- 1: a tile's first product comes behind the last one of the tile before
      { "skip", { 13, 8, 0, -1 } },                -- log2 of the growth that leaves a row's maximum; -1: O always rescaled; 13: only
                                                   -- steps whose sums have grown by as much look for maxima
      { "store_tma", { 0, 1 } },                   -- 1: O goes out through the slot of its tile's Q
      { "order", { 0, 1 } },                       -- 1: the longest tiles first, section by section
      { "dynamic", { 0, 1 } },                     -- 1: a CTA takes its next tile when it is ready
   },
   constraints = {
      { "f16 or bf16", is_half },
      { "heads of up to 256, multiples of 8", function(p)
         return p.d % 8 == 0 and p.dv % 8 == 0 and p.d <= 256 and p.dv <= 256
      end },
      { "rows of Q, K, V and O are multiples of 16 bytes, no stride is 0", tma_reads },
      { "no pages", function(p) return p.page_size == 0 end },
      { "keys in one piece", function(p) return p.splits <= 1 end },
      { "1 to 2^29 queries and keys", function(p)
         return p.sq > 0 and p.sk > 0 and p.sq <= 1 << 29 and p.sk <= 1 << 29
      end },
      { "block masks have rows of 64 or 128, of sequences of one length", function(p)
         return p.mask_m == 0 or (p.mask_m == 64 or p.mask_m == 128) and p.lengths == "dense"
      end },
      { "a tile is one row of the block mask", function(p, c)
         return p.mask_m == 0 and c.tile_m ~= 64 or p.mask_m == c.tile_m
      end },
      { "steps and blocks of the mask are multiples of each other", function(p, c)
         local u = unit(p, c)
         return u % 16 == 0 and c.tile_n % u == 0 and (p.mask_m == 0 or p.mask_n % u == 0)
      end },
      { "S, P and O leave a thread enough registers", function(p, c)
         return registers(p, c) <= registers_given(c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return fits(p, c, c.q_slots) and smem(p, c) <= d.smem_bytes_max
      end },
      { "turns need two warpgroups", function(_, c) return (c.ping_pong == 0) == (c.tile_m == 64) end },
      { "P is packed under a product only where all the exponentials are", function(_, c)
         return c.p_buffers == 1 or c.under == 4
      end },
      { "a tile begins apart from the one before only where it waits for Q", function(_, c)
         return c.apart == 0 or c.q_slots == 1
      end },
      { "O goes through Q's slot only where the next Q has another, and no rows follow the last", function(p, c)
         return c.store_tma == 0 or c.q_slots == 2 and slabs(p.dv) <= slabs(p.d) and p.lengths == "dense"
      end },
      { "tiles are dealt out longest first where a band or lengths make them differ, when ready where a mask does",
         function(p, c)
            return c.order == flag(not even(p)) and c.dynamic == flag(not even(p) or p.mask_m > 0)
         end },
      -- from here on: what is legal but not worth a try (measured: docs/notebook.md)
      { "few queries are for decode", function(p) return p.sq > common.MOST_QUERIES or p.mask_m > 0 end },
      { "as many slots of Q as fit", function(p, c) return c.q_slots == 2 or not fits(p, c, 2) end },
      { "a third slot of K and V only for tiles of 64", function(_, c) return c.stages == 2 or c.tile_m == 64 end },
      { "three warpgroups only for short heads", function(p, c) return c.tile_m < 192 or p.d <= 64 and p.dv <= 64 end },
      { "steps as long as they can be, nearly", function(p, c)
         return c.tile_n >= short_step(p) or c.tile_m == 64
      end },
      { "O is always rescaled where exponentials come behind the product, only on need where they run under it",
         function(_, c) return (c.under == 0) == (c.skip == -1) end },
      { "steps that do not look for maxima take all exponentials under the last product, and pack P behind it",
         function(_, c) return c.skip < 13 or c.under == 4 and c.p_buffers == 1 and c.tile_n <= 128 end },
      { "three warpgroups have registers for them under a band and without a cap", function(p, c)
         return c.skip < 13 or c.tile_m < 192 or (p.left >= 0 or p.right >= 0) and not p.softcap
      end },
      { "half of the exponentials under the product only where maxima rarely move", function(_, c)
         return c.under ~= 2 or c.skip == 8
      end },
      { "a tile is not mostly past the last query", function(p, c) return c.tile_m <= 128 or c.tile_m < 2 * p.sq end },
   },
   params = function(p, c)
      local list = {
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "stages", c.stages },
         { "q_slots", c.q_slots },
         { "ping_pong", c.ping_pong },
         { "under", c.under },
         { "p_buffers", c.p_buffers },
         { "apart", c.apart },
         { "skip", c.skip },
         { "store_tma", c.store_tma },
         { "order", c.order },
         { "dynamic", c.dynamic },
         { "ctas_per_sm", ctas_per_sm(c) },
         { "offsets", flag(p.lengths == "varlen") },
         { "lengths", flag(p.lengths == "cache") },
      }
      if c.order == 1 and wide_sections(p) then
         table.insert(list, { "sections", 4 })
      end
      if c.skip == 13 then
         table.insert(list, { "late", 1 })
      end
      return shared(p, cuda_type, with_mask(p, list))
   end,
   launch = function(p, c, d)
      return {
         grid = { math.max(1, math.min(tiles(p, c), d.sm_count * ctas_per_sm(c))) },
         block = { 128 * (consumers(c) + 1) },
         smem_bytes = smem(p, c),
         workspace_bytes = 8 * c.dynamic,
         workspace_zero_bytes = 8 * c.dynamic,
         map_q = map(p, 64),
         map_k = map(p, unit(p, c)),
         map_v = map(p, unit(p, c)),
         map_o = map(p, 64),
      }
   end,
   spill_limit = 64, -- bytes: scalars from around the loop, where S, P and O fill the registers
   default = {
      -- measured best on an H200 (docs/results/2026-12-01-h200-attention-tuned.json, docs/notebook.md): heads of up to 64; up to 128;
      -- of 192; wider ones
      default(192, 128, 2, 2, 1, 4, 1, 8, 0, 0),
      default(192, 128, 2, 2, 1, 4, 1, 13, 1, 1),
      default(128, 128, 2, 2, 1, 4, 1, 13, 0, 0),
      default(128, 128, 2, 2, 1, 4, 1, 13, 1, 1),
      default(128, 128, 2, 1, 1, 4, 1, 13, 0, 0),
      default(128, 128, 2, 1, 1, 4, 1, 13, 1, 1),
      default(128, 64, 2, 1, 1, 2, 1, 8, 0, 0),
      default(128, 64, 2, 1, 1, 2, 1, 8, 1, 1),
      default(128, 112, 2, 1, 1, 4, 1, 0, 0, 0),
      default(128, 112, 2, 1, 1, 4, 1, 0, 1, 1),
      default(128, 80, 2, 1, 1, 4, 1, 0, 0, 0),
      default(128, 80, 2, 1, 1, 4, 1, 0, 1, 1),
      -- block masks of 128 rows
      default(128, 128, 2, 2, 1, 4, 1, 13, 0, 1),
      default(128, 128, 2, 2, 1, 4, 1, 13, 1, 1),
      default(128, 128, 2, 1, 1, 4, 1, 13, 0, 1),
      default(128, 128, 2, 1, 1, 4, 1, 13, 1, 1),
      default(128, 64, 2, 1, 1, 2, 1, 8, 0, 1),
      default(128, 64, 2, 1, 1, 2, 1, 8, 1, 1),
      -- ... of 64
      default(64, 128, 2, 2, 0, 0, 1, -1, 0, 1),
      default(64, 128, 2, 2, 0, 0, 1, -1, 1, 1),
      default(64, 64, 3, 1, 0, 0, 1, -1, 0, 1),
      default(64, 64, 3, 1, 0, 0, 1, -1, 1, 1),
      default(64, 64, 2, 1, 0, 0, 1, -1, 0, 1),
      default(64, 64, 2, 1, 0, 0, 1, -1, 1, 1),
   },
}
