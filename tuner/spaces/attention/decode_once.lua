-- decode_once: decoding against a short KV cache: one step, all keys loaded at once into registers (mma.sync, clusters; sm_90).

local common = require "attention.common"
local cuda_type, shared, flag, ceil_div = common.cuda_type, common.shared, common.flag, common.ceil_div

local ROWS = 8         -- of a CTA's tile: queries times the heads that share its KV head
local LONGEST = 8192   -- keys

local function tile_keys(c)
   return c.warps * c.keys
end

local function units(p)
   return common.units(p, { rows = ROWS })
end

-- bytes: the partial sums of warps and of CTAs, a barrier; the same again for the shadow warp
local function smem(p, c)
   local quads = ROWS * p.dv // 4
   local got = c.cluster * ceil_div(quads, c.cluster) * 24
   local sums = c.warps * ROWS * ((p.dv + 4) * 4 + 8)
   return (1 + c.shadow) * ceil_div(sums + got + 8, 16) * 16
end

-- Registers of a thread for K, V and Q.
local function operands(p, c)
   return c.keys * (p.d + p.dv) // 64 + p.d // 8
end

return triage.kernel {
   name = "decode_once",
   template = "templates/attention/decode_once.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "keys", { 16, 32 } },             -- keys of a warp
      { "warps", { 1, 2, 4, 8 } },        -- warps of a CTA
      { "cluster", { 1, 2, 4, 8, 16 } },  -- CTAs that split a KV head's keys
      { "shadow", { 0, 1 } },             -- 1: an extra warp runs ahead on dummy data, to bring the code into the instruction cache
   },
   constraints = {
      { "f16 or bf16 inputs", common.is_half },
      { "1 to 16 queries a sequence", function(p) return p.sq > 0 and p.sq <= common.MOST_QUERIES end },
      { "1 to 8192 keys", function(p) return p.sk > 0 and p.sk <= LONGEST end },
      { "no block mask", function(p) return p.mask_m == 0 end },
      { "heads of 64, 128, 192 or 256 elements", function(p)
         return p.d % 64 == 0 and p.dv % 64 == 0 and p.d <= 256 and p.dv <= 256
      end },
      { "rows are multiples of 16 bytes", function(p) return p.alignment % 16 == 0 end },
      { "sequences lie at strides or in pages, not at offsets (cu_seqlens)",
        function(p) return p.lengths ~= "varlen" end },
      { "a warp's keys lie in one page", function(p, c) return p.page_size % c.keys == 0 end },
      { "no fixed number of KV splits is asked for", function(p) return p.splits == 0 end },
      { "the cluster's warps hold all keys", function(p, c) return c.cluster * tile_keys(c) >= p.sk end },
      { "K, V and Q fit the registers", function(p, c) return operands(p, c) <= 160 end },
      { "shared memory fits the SM", function(p, c, d) return smem(p, c) <= d.smem_bytes_max end },
      -- from here on: legal, but not worth trying
      { "the cluster's warps hold less than twice the keys", function(p, c)
         return c.cluster * tile_keys(c) < 2 * p.sk or (c.cluster == 1 and c.warps == 1)
      end },
      { "no more CTAs than the chip has SMs", function(p, c, d) return units(p) * c.cluster <= d.sm_count end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "group", p.group },
         { "keys", c.keys },
         { "warps", c.warps },
         { "cluster", c.cluster },
         { "shadow", c.shadow },
         { "page_size", p.page_size },
         { "lengths", flag(p.lengths == "cache") },
      })
   end,
   launch = function(p, c)
      return {
         grid = { units(p) * c.cluster },
         cluster = { c.cluster },
         block = { (c.warps + c.shadow) * 32 },
         smem_bytes = smem(p, c),
      }
   end,
   default = {
      { keys = 16, warps = 4, cluster = 16, shadow = 0 },
      { keys = 16, warps = 8, cluster = 16, shadow = 0 },
      { keys = 16, warps = 4, cluster = 8, shadow = 0 },
      { keys = 16, warps = 4, cluster = 4, shadow = 0 },
      { keys = 16, warps = 4, cluster = 2, shadow = 0 },
      { keys = 16, warps = 4, cluster = 1, shadow = 0 },
      { keys = 16, warps = 2, cluster = 1, shadow = 0 },
      { keys = 16, warps = 1, cluster = 1, shadow = 0 },
   },
}
