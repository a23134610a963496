-- wgmma: prefill in f16 and bf16 on Hopper (TMA, wgmma, warp-specialised, persistent), with tiles of 64 to 192 queries.

local common = require "attention.common"
local cuda_type, shared, with_mask, flag = common.cuda_type, common.shared, common.with_mask, common.flag
local ceil_div, is_half, tma_reads = common.ceil_div, common.is_half, common.tma_reads
local map_rank, SM_SMEM = common.map_rank, common.SM_SMEM
local tiles, even = common.tiles, common.even

local function consumers(c)
   return c.tile_m // 64 -- warpgroups
end

-- A tile of 64 queries leaves room for a second CTA on the SM.
local function ctas_per_sm(c)
   return c.tile_m == 64 and 2 or 1
end

local function slabs(d) -- of 64 columns
   return ceil_div(d, 64)
end

-- Keys of one contiguous load: all of a step, or those of it that lie in one block of the mask.
local function unit(p, c)
   return p.mask_m > 0 and math.min(p.mask_n, c.tile_n) or c.tile_n
end

-- bytes: the Q, K and V rings; barriers, four tile descriptors, and what each stage has gathered of the block lists
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

-- Registers that a consumer thread needs: S, P, O, and what else lives through a step. Then those that setmaxnreg gives it.
local function registers(p, c)
   return c.tile_n // 2 + c.p_buffers * c.tile_n // 4 + ceil_div(p.dv, 16) * 8 + (c.tile_m == 192 and 32 or 44)
end

local function registers_given(c)
   return c.tile_m == 64 and 224 or c.tile_m == 128 and 240 or 160
end

-- The fewest keys of a step worth trying: nearly as many as fit registers and shared memory.
local function short_step(p)
   return p.dv <= 128 and p.d <= 128 and 128 or p.dv <= 192 and 112 or 64
end

-- Heads of 256 with many keys: sections of more heads, that is, of more K and V in L2 at a time. Faster from 8192 keys on, a
-- fifth slower at 512 and 2048 (measured: docs/notebook.md).
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
      { "stages", { 2, 3 } },                      -- pipeline stages of K and V
      { "q_slots", { 1, 2 } },                     -- buffers of Q; 2: the next tile's Q is prefetched
      { "ping_pong", { 0, 1, 2 } },                -- warpgroups take turns: 1: issuing products, 2: at the softmax
      { "under", { 4, 2, 0 } },                    -- quarters of the exponentials that overlap the previous step's P V
      { "p_buffers", { 1, 2 } },                   -- 2: P is converted to 16 bits during that product, too
      -- 1: a tile's first Q K is issued after, not with, the last P V of the previous tile
      { "apart", { 0, 1 } },
      -- lazy rescaling: a row's maximum is replaced, and O rescaled, only when it grows by more than `skip` (log2);
      -- -1: O is rescaled in every step; 13: maxima are not even searched until a row's sum of weights has grown as much
      { "skip", { 13, 8, 0, -1 } },
      { "store_tma", { 0, 1 } },                   -- 1: O is staged in the tile's Q buffer and stored by TMA
      -- 1: longest tiles first, one L2-sized section of heads after the other
      { "order", { 0, 1 } },
      { "dynamic", { 0, 1 } },                     -- 1: CTAs take tiles from a global counter; 0: static assignment
   },
   constraints = {
      { "f16 or bf16", is_half },
      { "heads of up to 256, multiples of 8", function(p)
         return p.d % 8 == 0 and p.dv % 8 == 0 and p.d <= 256 and p.dv <= 256
      end },
      { "rows of Q, K, V and O are multiples of 16 bytes, no stride is 0", tma_reads },
      { "no pages", function(p) return p.page_size == 0 end },
      { "no KV split is asked for", function(p) return p.splits <= 1 end },
      { "1 to 2^29 queries and keys", function(p)
         return p.sq > 0 and p.sk > 0 and p.sq <= 1 << 29 and p.sk <= 1 << 29
      end },
      { "block masks have block rows of 64 or 128, and all sequences have one length", function(p)
         return p.mask_m == 0 or (p.mask_m == 64 or p.mask_m == 128) and p.lengths == "dense"
      end },
      { "a tile is one block row of the mask", function(p, c)
         return p.mask_m == 0 and c.tile_m ~= 64 or p.mask_m == c.tile_m
      end },
      { "the keys of a step and of a block of the mask are multiples of one another", function(p, c)
         local u = unit(p, c)
         return u % 16 == 0 and c.tile_n % u == 0 and (p.mask_m == 0 or p.mask_n % u == 0)
      end },
      { "S, P and O fit a thread's registers", function(p, c)
         return registers(p, c) <= registers_given(c)
      end },
      { "shared memory fits the SM", function(p, c, d)
         return fits(p, c, c.q_slots) and smem(p, c) <= d.smem_bytes_max
      end },
      { "ping-pong if and only if a tile has several warpgroups",
        function(_, c) return (c.ping_pong == 0) == (c.tile_m == 64) end },
      { "two buffers of P only where all exponentials overlap P V (under = 4)", function(_, c)
         return c.p_buffers == 1 or c.under == 4
      end },
      { "a tile's first product is issued separately only with one slot of Q", function(_, c)
         return c.apart == 0 or c.q_slots == 1
      end },
      { "O is stored by TMA through Q's slot only with two slots of Q, dense sequences, and value heads no wider than Q's",
        function(p, c)
         return c.store_tma == 0 or c.q_slots == 2 and slabs(p.dv) <= slabs(p.d) and p.lengths == "dense"
      end },
      { "longest tiles first (order) if and only if a band or the lengths make them uneven; dynamic also for block masks",
         function(p, c)
            return c.order == flag(not even(p)) and c.dynamic == flag(not even(p) or p.mask_m > 0)
         end },
      -- from here on: legal, but not worth trying (measured: docs/notebook.md)
      { "16 queries or fewer are left to the decode kernels",
        function(p) return p.sq > common.MOST_QUERIES or p.mask_m > 0 end },
      { "two slots of Q where shared memory has room", function(p, c) return c.q_slots == 2 or not fits(p, c, 2) end },
      { "three slots of K and V only for tiles of 64 queries",
        function(_, c) return c.stages == 2 or c.tile_m == 64 end },
      { "tiles of 192 queries only for heads of up to 64",
        function(p, c) return c.tile_m < 192 or p.d <= 64 and p.dv <= 64 end },
      { "a step has nearly as many keys as fit", function(p, c)
         return c.tile_n >= short_step(p) or c.tile_m == 64
      end },
      { "O is rescaled in every step if and only if no exponentials overlap the P V product",
         function(_, c) return (c.under == 0) == (c.skip == -1) end },
      { "late maxima (skip = 13) need all exponentials overlapped with P V, one buffer of P, at most 128 keys",
         function(_, c) return c.skip < 13 or c.under == 4 and c.p_buffers == 1 and c.tile_n <= 128 end },
      { "late maxima with three warpgroups only with a band and without a soft cap", function(p, c)
         return c.skip < 13 or c.tile_m < 192 or (p.left >= 0 or p.right >= 0) and not p.softcap
      end },
      { "half of the exponentials overlap P V only with skip = 8", function(_, c)
         return c.under ~= 2 or c.skip == 8
      end },
      { "a tile has fewer than twice as many rows as there are queries",
        function(p, c) return c.tile_m <= 128 or c.tile_m < 2 * p.sq end },
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
   spill_limit = 64, -- bytes: scalars from outside the inner loop; S, P and O take its registers
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
