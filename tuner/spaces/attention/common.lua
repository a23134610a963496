-- What the kernels of this operation share. c, d: see tuner/triage.lua. p, the problem, has here
--   in_type out_type ("f32" "f16" "bf16" "e4m3"), in_size out_size (bytes), d dv (elements of a head),
--   batch heads_q heads_kv group (heads_q / heads_kv) sq sk (of the longest sequence),
--   band ("full" "causal" "causal-top-left" "window"), left right (keys; -1: open), softcap lse (booleans),
--   lengths ("dense"; "varlen": cu_q, cu_k; "cache": len_k), page_size (0: none),
--   splits (the number of KV splits that a caller fixes, so that a row's result is bitwise the same in any batch; 0: any
--   number. args.splits is this, or launch.splits where it is 0),
--   mask_m mask_n (of a block; 0: no block mask), mask_heads ("all" "kv" "q"), mask_per_batch, mask_bits (booleans),
--   density imbalance overlap (of the lists, as of bsr_gemm),
--   alignment (bytes, at most 16, that all bases and strides are multiples of), expanded (a stride is 0),
--   pairs (unmasked pairs of a query and a key, over all heads and sequences)

local cuda_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16", e4m3 = "__nv_fp8_e4m3" }
local host_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t", e4m3 = "e4m3_t" } -- lib/host_fp8.h

local function flag(condition)
   return condition and 1 or 0
end

-- The bounds of the band, as args.h calls them: kLeft, kRight, kTopLeft.
local function bounded_left(p)
   return p.left >= 0
end

local function bounded_right(p)
   return p.right >= 0
end

-- The parameters that every template of this operation has, then the given ones.
local function shared(p, types, more)
   local list = {
      { "in_type", types[p.in_type] },
      { "out_type", types[p.out_type] },
      { "d", p.d },
      { "dv", p.dv },
      { "left", flag(bounded_left(p)) },
      { "right", flag(bounded_right(p)) },
      { "top_left", flag(p.band == "causal-top-left") },
      { "softcap", flag(p.softcap) },
   }
   for _, param in ipairs(more) do
      table.insert(list, param)
   end
   return list
end

-- ... and those of templates that take block masks.
local function with_mask(p, more)
   local list = { { "mask_m", p.mask_m }, { "mask_n", p.mask_n } }
   for _, param in ipairs(more or {}) do
      table.insert(list, param)
   end
   return list
end

local function ceil_div(a, b)
   return (a + b - 1) // b
end

local function is_half(p)
   return p.in_type == "f16" or p.in_type == "bf16"
end

-- TMA reads rows that are multiples of 16 bytes, and no stride of 0.
local function tma_reads(p)
   return p.alignment % 16 == 0 and not p.expanded
end

local MOST_QUERIES = 16 -- of a sequence in decoding; more are prefill

-- Constraints of the decoding problems whose keys TMA can load (decode_tma).
local keys_by_tma = {
   { "f16, bf16 or e4m3 inputs", function(p) return p.in_type ~= "f32" end },
   { "1 to 16 queries a sequence", function(p) return p.sq > 0 and p.sq <= MOST_QUERIES end },
   { "1 to 2^29 keys", function(p) return p.sk > 0 and p.sk <= 1 << 29 end },
   { "no block mask", function(p) return p.mask_m == 0 end },
   { "heads of 64, 128, 192 or 256 elements, e4m3 128 or 256", function(p)
      return p.d * p.in_size % 128 == 0 and p.dv * p.in_size % 128 == 0 and p.d <= 256 and p.dv <= 256
   end },
   { "rows are multiples of 16 bytes, no stride is 0", tma_reads },
   { "sequences lie at strides or in pages, not at offsets (cu_seqlens)", function(p) return p.lengths ~= "varlen" end },
   { "pages are multiples of 8 keys", function(p) return p.page_size % 8 == 0 end },
   { "no fixed number of KV splits is asked for", function(p) return p.splits == 0 end },
}

local function tma_brings_keys(p)
   for _, constraint in ipairs(keys_by_tma) do
      if not constraint[2](p) then
         return false
      end
   end
   return true
end

-- Rank of map_q, map_k, map_v, map_o: dimensions (d, row, head, batch or page); no batch where sequences lie at offsets.
local function map_rank(p)
   return p.lengths == "varlen" and 3 or 4
end

-- Units of work in decoding: (batch, KV head, tile of queries times heads).
local function units(p, c)
   return p.batch * p.heads_kv * math.max(1, ceil_div(p.sq * p.group, c.rows))
end

-- Units of work in prefill: (batch, q head, tile of queries).
local function tiles(p, c)
   return p.batch * p.heads_q * ceil_div(p.sq, c.tile_m)
end

-- Does every query see the same number of keys (no band, no lengths)?
local function even(p)
   return p.left < 0 and p.right < 0 and p.lengths == "dense"
end

local SM_SMEM = 233472 -- bytes of shared memory of an SM of sm_90; the driver reserves 1024 per CTA

return {
   cuda_type = cuda_type,
   host_type = host_type,
   flag = flag,
   bounded_left = bounded_left,
   bounded_right = bounded_right,
   shared = shared,
   with_mask = with_mask,
   ceil_div = ceil_div,
   is_half = is_half,
   tma_reads = tma_reads,
   MOST_QUERIES = MOST_QUERIES,
   keys_by_tma = keys_by_tma,
   tma_brings_keys = tma_brings_keys,
   map_rank = map_rank,
   units = units,
   tiles = tiles,
   even = even,
   SM_SMEM = SM_SMEM,
}
