-- What the kernels of this operation share. c, d: see tuner/triage.lua.
--   p  the problem  m n k ldy ldx (elements), block_m block_k (elements), nnzb block_rows block_cols (blocks), density (0..1),
--                   in_type out_type ("f32" "f16" "bf16"), in_size (bytes), y_layout x_layout ("row" "col")

local cuda_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16" }
local host_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t" }
local layout = { row = 0, col = 1 }

-- The parameters that every template of this operation has, then the given ones.
local function shared(p, types, more)
   local list = {
      { "in_type", types[p.in_type] },
      { "out_type", types[p.out_type] },
      { "block_m", p.block_m },
      { "block_k", p.block_k },
      { "y_layout", layout[p.y_layout] },
      { "x_layout", layout[p.x_layout] },
   }
   for _, param in ipairs(more) do
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

-- TMA and 16-byte copies need row strides of Y and X that are multiples of 16 bytes.
local function rows_are_aligned(p)
   return p.ldy * p.in_size % 16 == 0 and p.ldx * p.in_size % 16 == 0
end

-- An upper bound of the number of tiles that src/op/bsr_sddmm/tiles.c makes of any pattern with so many blocks. In a band of
-- block rows every tile but the last is full: of columns, or of blocks, since a further column brings one block per row at most.
local function tiles_at_most(p, tile)
   local bands = ceil_div(p.block_rows, tile.rows)
   local of_blocks = p.nnzb // (tile.blocks - tile.rows + 1)
   local of_columns = tile.cols < tile.blocks and p.nnzb // tile.cols or 0 -- each column has a block
   return math.min(p.nnzb, bands + math.max(of_blocks, of_columns))
end

return {
   cuda_type = cuda_type,
   host_type = host_type,
   shared = shared,
   ceil_div = ceil_div,
   is_half = is_half,
   rows_are_aligned = rows_are_aligned,
   tiles_at_most = tiles_at_most,
   SM_SMEM = 233472,      -- bytes of shared memory of an SM of sm_90; the driver reserves 1024 per CTA
   SM_REGISTERS = 65536,
}
