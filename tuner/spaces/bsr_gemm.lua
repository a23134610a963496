-- bsr_gemm: C = act(alpha A B + beta C + bias), A block-sparse (BSR).
--
-- Every kernel takes its parameters from the block at the top of its template; what is fixed by the problem
-- (types, layouts, blocks) comes from shared(), what is searched comes from the axes. A constraint's name is
-- what a user reads when nothing is legal. Kernels stand in order of preference: the first legal default is
-- what runs before anything is tuned. p, c, d: see tuner/triage.lua.

-- ---- what the problem fixes ------------------------------------------------------------------------

local cuda_type = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16", e4m3 = "__nv_fp8_e4m3" }
local host_type = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t" }
local layout = { row = 0, col = 1 }
local act = { none = 0, relu = 1, gelu = 2, silu = 3 }

-- The parameters that every template of this operation has, then the given ones.
local function shared(p, types, more)
   local list = {
      { "in_type", types[p.in_type] },
      { "out_type", types[p.out_type] },
      { "block_m", p.block_m },
      { "block_k", p.block_k },
      { "b_layout", layout[p.b_layout] },
      { "c_layout", layout[p.c_layout] },
      { "act", act[p.activation] },
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

-- ---- wmma: mma.sync + cp.async ---------------------------------------------------------------------

-- bytes: kStages stages of A [tile_m][tile_k + 8] and B, row-major [tile_k][tile_n + 8],
-- column-major [tile_n][tile_k + 8]
local function wmma_smem(p, c)
   local a = c.tile_m * (c.tile_k + 8)
   local b = p.b_layout == "row" and c.tile_k * (c.tile_n + 8) or c.tile_n * (c.tile_k + 8)
   return c.stages * (a + b) * 2
end

-- B moves in 16-byte pieces when its rows allow it, else element by element.
local function wmma_copy_bytes(p)
   return p.ldb % 8 == 0 and 16 or 2
end

-- CTAs per SM for which registers are kept: two when both fit in shared memory and in 64 k registers.
local function wmma_min_blocks(p, c, d)
   local accumulators = c.tile_m * c.tile_n // (c.warps_m * c.warps_n * 32)
   local threads = c.warps_m * c.warps_n * 32
   local fits = 2 * (wmma_smem(p, c) + 1024) <= d.smem_bytes_max + 1024
   return fits and accumulators <= 64 and threads <= 256 and 2 or 1
end

local wmma = triage.kernel {
   name = "wmma",
   template = "templates/bsr_gemm/wmma.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 16, 32, 64, 128 } }, -- rows of C per CTA
      { "tile_n", { 64, 128, 256 } },    -- columns of C per CTA
      { "tile_k", { 16, 32, 64 } },      -- k per pipeline stage
      { "stages", { 2, 3, 4 } },         -- pipeline depth
      { "warps_m", { 1, 2, 4 } },        -- warps along tile_m
      { "warps_n", { 1, 2, 4, 8 } },     -- warps along tile_n
   },
   constraints = {
      { "f16 or bf16 inputs", function(p) return is_half(p) end },
      { "blocks are multiples of 16", function(p) return p.block_m % 16 == 0 and p.block_k % 16 == 0 end },
      { "column tiles fit a CUDA grid", function(p, c) return ceil_div(p.n, c.tile_n) <= 65535 end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the tile is a quarter of a block row, or as tall as divides it", function(p, c)
         return c.tile_m * 4 >= p.block_m or p.block_m % (c.tile_m * 2) ~= 0
      end },
      { "a stage is a part of a block or whole blocks", function(p, c)
         return c.tile_k % p.block_k == 0 or p.block_k % c.tile_k == 0
      end },
      { "a stage of 16 only where no longer one divides the block", function(p, c)
         return c.tile_k > 16 or (p.block_k > 16 and p.block_k % 32 ~= 0)
      end },
      { "warps split the tile into 16 x 16", function(p, c)
         return c.tile_m % (16 * c.warps_m) == 0 and c.tile_n % (16 * c.warps_n) == 0
      end },
      { "4 or 8 warps", function(p, c)
         local warps = c.warps_m * c.warps_n
         return warps == 4 or warps == 8
      end },
      { "a warp's tile is as tall as 64 rows and the block allow", function(p, c)
         return c.tile_m // c.warps_m == math.min(c.tile_m, c.warps_n >= 4 and 64 or 32)
      end },
      { "a warp has 16 to 64 columns", function(p, c)
         local columns = c.tile_n // c.warps_n
         return columns >= 16 and columns <= 64
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return c.tile_n == 64 or c.tile_n < 2 * p.n
      end },
      { "shared memory fits the SM", function(p, c, d) return wmma_smem(p, c) <= d.smem_bytes_max end },
   },
   params = function(p, c, d)
      return shared(p, cuda_type, {
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "tile_k", c.tile_k },
         { "stages", c.stages },
         { "warps_m", c.warps_m },
         { "warps_n", c.warps_n },
         { "min_blocks", wmma_min_blocks(p, c, d) },
         { "copy_bytes", wmma_copy_bytes(p) },
      })
   end,
   launch = function(p, c)
      return {
         grid = { p.m // c.tile_m, ceil_div(p.n, c.tile_n) },
         block = { c.warps_m * c.warps_n * 32 },
         smem_bytes = wmma_smem(p, c),
      }
   end,
   default = {
      { tile_m = 64, tile_n = 128, tile_k = 32, stages = 3, warps_m = 1, warps_n = 4 },
      { tile_m = 32, tile_n = 128, tile_k = 32, stages = 4, warps_m = 1, warps_n = 4 },
      { tile_m = 16, tile_n = 128, tile_k = 64, stages = 3, warps_m = 1, warps_n = 4 },
   },
}

-- ---- host: OpenMP + vectors ------------------------------------------------------------------------

-- target -> floats of a vector register, registers
local vectors = {
   ["x86_64-avx512"] = { lanes = 16, registers = 32 },
   ["x86_64-avx2"] = { lanes = 8, registers = 16 },
   ["aarch64"] = { lanes = 4, registers = 32 },
}

local function vector_of(d)
   return vectors[d.target] or { lanes = 4, registers = 16 }
end

-- The accumulators, one row of B, and one element of A stay in registers.
local function host_fits(tile_m, tile_n, d)
   local v = vector_of(d)
   return (tile_m + 1) * ceil_div(tile_n, v.lanes) + 1 <= v.registers
end

local host = triage.kernel {
   name = "host",
   template = "templates/bsr_gemm/host.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "tile_n", { 8, 16, 32, 48, 64 } },               -- columns of a register tile
      { "tile_m", { 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16 } }, -- rows of a register tile
      { "unroll", { 1, 4 } },                            -- steps of k per loop turn
      { "schedule", { "static", "dynamic" } },           -- of the tasks over the threads
      { "row_tasks", { 1, 4, 16 } },                     -- tasks that share a panel of columns
      { "pack", { 1, 0 } },                              -- 1 copies each panel of B, 0 reads it in place
   },
   constraints = {
      { "f32, f16 or bf16", function(p) return host_type[p.in_type] ~= nil and host_type[p.out_type] ~= nil end },
      { "a row of the tile fills a vector", function(p, c, d) return c.tile_n >= vector_of(d).lanes end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the tile stays in registers", function(p, c, d) return host_fits(c.tile_m, c.tile_n, d) end },
      { "no taller tile would stay in registers", function(p, c, d)
         for tile_m = c.tile_m + 1, 16 do
            if p.block_m % tile_m == 0 and host_fits(tile_m, c.tile_n, d) and tile_m ~= 9 and tile_m ~= 11 and
               tile_m ~= 13 and tile_m ~= 15 then
               return false
            end
         end
         return true
      end },
      { "the tile is not mostly past the last column", function(p, c)
         return c.tile_n <= 16 or c.tile_n < 2 * p.n
      end },
      { "only row-major f32 can be read in place", function(p, c)
         return c.pack == 1 or (p.in_type == "f32" and p.b_layout == "row")
      end },
      { "with a dynamic schedule many tasks would pack a panel many times", function(p, c)
         return c.schedule == "static" or c.row_tasks < 16
      end },
   },
   params = function(p, c)
      return shared(p, host_type, {
         { "tile_n", c.tile_n },
         { "tile_m", c.tile_m },
         { "unroll", c.unroll },
         { "row_tasks", c.row_tasks },
         { "pack", c.pack },
         { "schedule", c.schedule },
      })
   end,
   launch = function() return {} end,
   default = {
      { tile_n = 32, tile_m = 8, unroll = 4, schedule = "dynamic", row_tasks = 1, pack = 1 },
      { tile_n = 16, tile_m = 4, unroll = 4, schedule = "dynamic", row_tasks = 1, pack = 1 },
   },
}

-- ---- the plain kernels of verification -------------------------------------------------------------

local reference = {
   cuda = {
      template = "templates/bsr_gemm/reference.cu",
      params = function(p) return shared(p, cuda_type, { { "scale_per_block", 0 } }) end,
      launch = function(p)
         local rows, cols = 8, 32 -- threads: 32 along the contiguous direction of C
         if p.c_layout == "col" then
            rows, cols = cols, rows
         end
         return { grid = { ceil_div(p.m, rows), ceil_div(p.n, cols) }, block = { 256 } }
      end,
   },
   host = {
      template = "templates/bsr_gemm/reference.c",
      params = function(p) return shared(p, host_type, {}) end,
      launch = function() return {} end,
   },
}

return triage.space {
   op = "bsr_gemm",
   reference = reference,
   kernels = { wmma, host },
}
