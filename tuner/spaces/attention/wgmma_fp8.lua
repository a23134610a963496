-- wgmma_fp8: prefill in e4m3 on Hopper (TMA, wgmma, warp-specialised, persistent), with tiles of 128 or 192 queries.

local common = require "attention.common"
local cuda_type, shared, flag, ceil_div = common.cuda_type, common.shared, common.flag, common.ceil_div
local tma_reads, map_rank, SM_SMEM = common.tma_reads, common.map_rank, common.SM_SMEM
local tiles, even = common.tiles, common.even

local STAGES = 2 -- of K and of transposed V; Q and V as loaded have two buffers

local function consumers(c)
   return c.tile_m // 64 -- warpgroups
end

local function slabs(d) -- of 128 columns
   return ceil_div(d, 128)
end

-- bytes: rings of Q, K, V as loaded and V transposed; barriers, four tile descriptors, the keys of two slots
local function smem(p, c)
   local turned = ceil_div(p.dv * c.tile_n, 1024) * 1024
   local sync = 16 * 2 + 32 * STAGES + 16 * 2 + 4 * 64 + 8
   return 2 * slabs(p.d) * c.tile_m * 128 + STAGES * (slabs(p.d) * c.tile_n * 128 + turned) +
          2 * slabs(p.dv) * c.tile_n * 128 + sync
end

-- Registers that a consumer thread needs: O, and at the same time S and P, or P and a step's P V (T), or with `late` S and T, or
-- with `split` nearly all of S and T. Then those that setmaxnreg gives it.
local function registers(p, c)
   local o, s, weights = ceil_div(p.dv, 16) * 8, c.tile_n // 2, c.tile_n // 8
   local both = o + (c.split == 1 and s // 2 or 0)
   return c.late == 1 and o + math.max(s + o + 8, s + weights + 16) or o + math.max(s, both) + weights + 16
end

local function registers_given(c)
   return c.tile_m == 128 and 232 or 160
end

local function map(p, columns, rows)
   local rank = map_rank(p)
   return { rank = rank, box = rank == 4 and { columns, rows, 1, 1 } or { columns, rows, 1 }, swizzle = 128,
            l2_promotion = 256 }
end

local function fits(p, c, d)
   return registers(p, c) <= registers_given(c) and smem(p, c) + 1024 <= SM_SMEM and smem(p, c) <= d.smem_bytes_max
end

local function default(tile_m, tile_n, ping_pong, lazy, order, dynamic)
   return { tile_m = tile_m, tile_n = tile_n, ping_pong = ping_pong, late = 0, split = 0, lazy = lazy, order = order,
            dynamic = dynamic }
end

return triage.kernel {
   name = "wgmma_fp8",
   template = "templates/attention/wgmma_fp8.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 128, 192 } },                 -- queries of a tile: 64 a consumer warpgroup
      { "tile_n", { 96, 128, 192, 224 } },        -- keys of a step
      { "ping_pong", { 0, 1 } },                  -- 1: warpgroups take turns at the softmax
      { "late", { 0, 1 } },                       -- 1: a step's P V is added to O while the next step's Q K runs
      -- 1: P V of the first half of the keys overlaps the exponentials of the second half
      { "split", { 0, 1 } },
      { "lazy", { 0, 1 } },                       -- 1: maxima are searched only where weights get too large
      { "order", { 0, 1 } },                      -- 1: longest tiles first, one L2-sized section of heads after the other
      { "dynamic", { 0, 1 } },                    -- 1: CTAs take tiles from a global counter; 0: static assignment
   },
   constraints = {
      { "e4m3", function(p) return p.in_type == "e4m3" end },
      { "heads of up to 256, multiples of 16", function(p)
         return p.d % 16 == 0 and p.dv % 16 == 0 and p.d <= 256 and p.dv <= 256
      end },
      { "rows of Q, K, V and O are multiples of 16 bytes, no stride is 0", tma_reads },
      { "no pages", function(p) return p.page_size == 0 end },
      { "no block mask", function(p) return p.mask_m == 0 end },
      { "no KV split is asked for", function(p) return p.splits <= 1 end },
      { "1 to 2^29 queries and keys", function(p)
         return p.sq > 0 and p.sk > 0 and p.sq <= 1 << 29 and p.sk <= 1 << 29
      end },
      { "S, P and O fit a thread's registers, and the rings fit shared memory", fits },
      -- ptxas 13.0 spills hundreds of bytes
      { "split needs tiles of 128 queries", function(_, c)
         return c.tile_m == 128 or c.split == 0
      end },
      { "late and split exclude each other", function(_, c) return c.late + c.split <= 1 end },
      -- both together were wrong on an H200, and before that did not end: docs/notebook.md
      { "split and lazy exclude each other", function(_, c) return c.split + c.lazy <= 1 end },
      { "longest tiles first (order) and dynamic, if and only if a band or the lengths make them uneven", function(p, c)
         return c.order == flag(not even(p)) and c.dynamic == flag(not even(p))
      end },
      -- from here on: legal, but not worth trying
      { "16 queries or fewer are left to the decode kernels", function(p) return p.sq > common.MOST_QUERIES end },
      { "a step has nearly as many keys as fit", function(p, c, d)
         local longer = { tile_m = c.tile_m, tile_n = c.tile_m == 128 and 192 or 128, late = 0, split = 0 }
         return c.tile_n >= longer.tile_n or not fits(p, longer, d)
      end },
      { "steps of 224 keys only with ping-pong", function(_, c) return c.tile_n < 224 or c.ping_pong == 1 end },
      { "a tile has fewer than twice as many rows as there are queries",
        function(p, c) return c.tile_m == 128 or c.tile_m < 2 * p.sq end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "stages", STAGES },
         { "ping_pong", c.ping_pong },
         { "late", c.late },
         { "split", c.split },
         { "skip", 4 },
         { "lazy", c.lazy },
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
         map_q = map(p, 128, 64),
         map_k = map(p, 128, c.tile_n),
         map_v = map(p, 128, c.tile_n),
         map_o = map(p, 64, 64),
      }
   end,
   spill_limit = 128, -- bytes: scalars from outside the inner loop, which itself spills at most four; S, P and O take its registers
   default = {
      default(192, 128, 0, 1, 0, 0), -- measured best on an H200: docs/notebook.md
      default(192, 128, 0, 1, 1, 1),
      default(128, 224, 1, 0, 0, 0),
      default(128, 224, 1, 0, 1, 1),
      default(128, 96, 1, 0, 0, 0),
      default(128, 96, 1, 0, 1, 1),
   },
}
