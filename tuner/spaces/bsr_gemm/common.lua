-- What the kernels of this operation share. p, c, d: see tuner/triage.lua.

local cuda_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16", e4m3 = "__nv_fp8_e4m3" }
local wmma_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16", e4m3 = "e4m3_pair" }
local host_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t" }
local host_fp8_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t", e4m3 = "e4m3_t" } -- lib/host_fp8.h
local layout = { row = 0, col = 1 }
local act = { none = 0, relu = 1, gelu = 2, silu = 3 }

-- The parameters of every template of this operation, then the given ones.
local function every(p, types, more)
   local list = {
      { "in_type", types[p.in_type] },
      { "out_type", types[p.out_type] },
      { "block_m", p.block_m },
      { "b_layout", layout[p.b_layout] },
      { "c_layout", layout[p.c_layout] },
      { "act", act[p.activation] },
   }
   for _, param in ipairs(more) do
      table.insert(list, param)
   end
   if p.transposed then -- only for transposed A, so that all other kernels keep their text, and with it their evidence
      table.insert(list, { "transposed", 1 })
   end
   return list
end

-- Does lib/quick.cuh have a fast form of the activation (one special-function instruction)?
local function is_quick(p)
   return (p.activation == "gelu" or p.activation == "silu") and (p.out_type == "f16" or p.out_type == "bf16")
end

-- The same for the CUDA kernels that are searched.
local function shared(p, types, more)
   local list = every(p, types, more)
   if is_quick(p) then -- only there, as above
      table.insert(list, { "quick", 1 })
   end
   return list
end

-- Constraint of the kernels that cannot read transposed blocks.
local as_stored = { "A is not transposed", function(p) return not p.transposed end }

-- e4m3: 0: scale_a is one number, 1: one for each block.
local function scale_per_block(p)
   return { "scale_per_block", p.scale == "block" and 1 or 0 }
end

local function ceil_div(a, b)
   return (a + b - 1) // b
end

local function is_half(p)
   return p.in_type == "f16" or p.in_type == "bf16"
end

-- TMA needs row strides that are multiples of 16 bytes.
local function tma_reads_b(p)
   return p.ldb * p.in_size % 16 == 0
end

-- Tensor map of row-major B: slabs of 64 columns x `rows`; rank 3: one copy for all slabs of a tile, rank 2: one copy each.
local function map_of_slabs(rank, rows, tile_n)
   if rank == 3 then
      return { rank = 3, box = { 64, rows, tile_n // 64 }, inner_split = 64, swizzle = 128, l2_promotion = 256 }
   end
   return { rank = 2, box = { 64, rows }, swizzle = 128, l2_promotion = 256 }
end

-- One copy per tile where n is a multiple of the slab.
local function slab_rank(p)
   return p.b_layout == "row" and p.n % 64 == 0 and 3 or 2
end

-- ---- the chip ------------------------------------------------------------------------------------------

local SM_SMEM = 233472       -- bytes of shared memory of an SM of sm_90; the driver reserves 1024 per CTA
local SM_REGISTERS = 65536

-- ---- which problems the TMA kernels cover; wmma tries few configurations there ------------------------------------

local function wgmma_types(p)
   return is_half(p) and (p.out_type == "f16" or p.out_type == "bf16") or
          p.in_type == "e4m3" and p.out_type == "bf16"
end

local function wgmma_covers(p)
   return wgmma_types(p) and (p.block_m == 64 or p.block_m == 128) and p.block_k * p.in_size % 64 == 0 and
          tma_reads_b(p) and p.ldc % 8 == 0 and (is_half(p) or p.b_layout == "col")
end

local function panel_covers(p)
   return is_half(p) and p.block_m == p.block_k and (p.block_m == 16 or p.block_m == 32) and tma_reads_b(p)
end

return {
   cuda_type = cuda_type,
   wmma_type = wmma_type,
   host_type = host_type,
   host_fp8_type = host_fp8_type,
   layout = layout,
   act = act,
   every = every,
   is_quick = is_quick,
   shared = shared,
   as_stored = as_stored,
   scale_per_block = scale_per_block,
   ceil_div = ceil_div,
   is_half = is_half,
   tma_reads_b = tma_reads_b,
   map_of_slabs = map_of_slabs,
   slab_rank = slab_rank,
   SM_SMEM = SM_SMEM,
   SM_REGISTERS = SM_REGISTERS,
   wgmma_types = wgmma_types,
   wgmma_covers = wgmma_covers,
   panel_covers = panel_covers,
}
