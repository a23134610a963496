-- skinny: at most 64 columns; A is streamed from global memory straight to registers (mma.sync).

local common = require "bsr_gemm.common"
local cuda_type, shared, ceil_div, is_half = common.cuda_type, common.shared, common.ceil_div, common.is_half

-- The narrowest tile that holds the columns.
local function skinny_tile_n(p)
   return p.n <= 8 and 8 or p.n <= 16 and 16 or p.n <= 32 and 32 or 64
end

-- B is read in 16-byte pieces where its rows and the columns of a lane allow it, else element by element.
local function skinny_copy_bytes(p)
   local whole = p.b_layout == "col" or p.n % (skinny_tile_n(p) // 8) == 0
   return p.ldb % 8 == 0 and whole and 16 or 2
end

local function skinny_warps(c)
   return c.warps_m * c.warps_k
end

local function skinny_warp_rows(c)
   return c.tile_m // c.warps_m
end

-- bytes: a padded partial tile for each of the warps that split a block row
local function skinny_smem(p, c)
   local tile_n = skinny_tile_n(p)
   local lines, length = c.tile_m, tile_n
   if p.c_layout == "col" then
      lines, length = length, lines
   end
   return c.warps_k * lines * (length + 4) * 4
end

-- Registers of a thread: accumulators, prefetched steps of A and B, addresses.
local function skinny_registers(p, c)
   local row_tiles, columns = skinny_warp_rows(c) // 8, skinny_tile_n(p) // 8
   local other = skinny_copy_bytes(p) == 16 and 34 or 66
   return row_tiles * ceil_div(columns, 2) * 4 + c.stages * row_tiles * 4 + c.stages_b * columns * 4 + other
end

-- Registers available to a thread with `ctas` CTAs on an SM; each of its four partitions has 16384.
local function skinny_register_limit(c, ctas)
   return math.min(255, 512 // ceil_div(ctas * skinny_warps(c), 4) // 8 * 8)
end

-- CTAs per SM: as many as the registers allow, until 24 warps are reached.
local function skinny_min_blocks(p, c)
   local ctas = 1
   while ctas * skinny_warps(c) < 24 and skinny_registers(p, c) <= skinny_register_limit(c, ctas + 1) do
      ctas = ctas + 1
   end
   return ctas
end

local function skinny_tiles(p, c)
   return p.m // c.tile_m * ceil_div(p.n, skinny_tile_n(p))
end

-- Mean number of steps of 32 k per warp that splits a block row.
local function skinny_steps(p, c)
   return p.nnzb * p.block_k / (32 * p.block_rows * c.cluster_k * c.warps_k)
end

-- Consecutive steps that a warp takes: those of a block, or one (also where a step straddles two blocks).
local function skinny_run(p, c)
   return c.run == 0 and p.block_k % 32 == 0 and p.block_k // 32 or 1
end

local skinny = triage.kernel {
   name = "skinny",
   template = "templates/bsr_gemm/skinny.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   axes = {
      { "tile_m", { 8, 16, 32, 64, 128 } }, -- rows of C per CTA
      { "warps_m", { 1, 2, 4 } },           -- warps along tile_m
      { "warps_k", { 2, 4, 8, 12, 16 } },   -- warps that split the blocks of a row (split-K)
      { "cluster_k", { 1, 2, 4 } },         -- CTAs of a cluster that split the blocks of a row (split-K)
      { "run", { 0, 1 } },                  -- steps of 32 k that a warp takes in turn; 0: those of a block
      { "stages", { 2, 3, 4 } },            -- steps of A prefetched per warp
      { "stages_b", { 1, 2, 3, 4 } },       -- ... and of B
   },
   constraints = {
      common.as_stored,
      { "f16 or bf16 inputs", function(p) return is_half(p) end },
      { "blocks are multiples of 16", function(p) return p.block_m % 16 == 0 and p.block_k % 16 == 0 end },
      { "at most 64 columns", function(p) return p.n <= 64 end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "a warp's rows are a multiple of 8", function(p, c) return c.tile_m % (8 * c.warps_m) == 0 end },
      { "the stages of A are a multiple of those of B", function(p, c) return c.stages % c.stages_b == 0 end },
      { "clusters only where the architecture has them", function(p, c, d)
         return c.cluster_k == 1 or d.target == "sm_90a" or d.target == "sm_100a"
      end },
      { "at most 16 warps", function(p, c) return skinny_warps(c) <= 16 end },
      { "the accumulators and the prefetched steps fit the registers", function(p, c)
         return skinny_registers(p, c) <= skinny_register_limit(c, 1)
      end },
      { "shared memory fits the SM", function(p, c, d) return skinny_smem(p, c) <= d.smem_bytes_max end },
      -- from here on: legal, but not worth trying
      { "steps are dealt one by one only where a block has several, rows are short and tiles few", function(p, c, d)
         return c.run == 0 or (p.block_k >= 64 and p.block_k % 32 == 0 and skinny_steps(p, c) <= 12 and
                c.cluster_k == 1 and c.warps_m == 1 and (c.tile_m == 16 or c.tile_m == 32) and
                skinny_tiles(p, c) <= 4 * d.sm_count)
      end },
      { "2 or 4 stages; where steps are dealt one by one, as many as a warp has steps", function(p, c)
         local steps = skinny_steps(p, c)
         return c.run == 0 and c.stages ~= 3 or c.run == 1 and
                (c.stages == math.min(4, math.max(2, math.ceil(steps))) or
                 c.stages == math.min(4, math.max(2, math.floor(steps))))
      end },
      { "8 or 16 warps; 4 for small or few blocks, 12 where steps are dealt to warps one by one", function(p, c, d)
         local warps = skinny_warps(c)
         return warps == 8 or warps == 16 or (warps == 12 and c.run == 1) or (warps == 4 and (p.block_m <= 32 or p.block_rows <= d.sm_count))
      end },
      { "32 or 64 rows per warp, where the block is as tall", function(p, c)
         local rows = skinny_warp_rows(c)
         return rows <= 64 and (rows >= math.min(32, p.block_m) or (rows == 16 and (p.block_m == 32 or c.run == 1)) or
                p.block_m % 16 ~= 0)
      end },
      { "tile_m is the block's height or half of it (at least 32), or a quarter where block rows are few",
        function(p, c, d)
         return c.tile_m == p.block_m or c.tile_m * 2 == p.block_m and c.tile_m >= 32 or p.block_m % 16 ~= 0 or
                (c.tile_m * 4 == p.block_m and c.tile_m >= 32 and p.block_rows <= d.sm_count) or c.run == 1
      end },
      { "B is prefetched as deep as the registers allow", function(p, c)
         if p.n > 32 then
            return c.stages_b <= 2
         end
         return c.stages_b == (c.run == 0 and 2 or c.stages)
      end },
      { "each warp has at least one step", function(p, c)
         local dealt = math.max(32, c.run == 1 and 32 or p.block_k) -- k at once
         return c.cluster_k * c.warps_k * dealt * p.block_rows <= math.max(1, p.nnzb) * p.block_k or
                (c.cluster_k == 1 and c.warps_k <= 4)
      end },
      { "split-K over a cluster only where the tiles occupy at most half of the SMs", function(p, c, d)
         return c.cluster_k == 1 or 2 * skinny_tiles(p, c) <= d.sm_count
      end },
      { "the loads in flight on an SM are at least 32 KiB", function(p, c)
         return skinny_min_blocks(p, c) * skinny_warps(c) * c.stages * skinny_warp_rows(c) * 64 >= 32768
      end },
      { "the partial sums take at most 128 KiB of an SM's L1 and shared memory", function(p, c)
         return skinny_min_blocks(p, c) * skinny_smem(p, c) <= 131072
      end },
   },
   params = function(p, c)
      return shared(p, cuda_type, {
         { "block_k", p.block_k },
         { "tile_m", c.tile_m },
         { "tile_n", skinny_tile_n(p) },
         { "warps_m", c.warps_m },
         { "warps_k", c.warps_k },
         { "cluster_k", c.cluster_k },
         { "run", skinny_run(p, c) },
         { "stages", c.stages },
         { "stages_b", c.stages_b },
         { "min_blocks", skinny_min_blocks(p, c) },
         { "copy_bytes", skinny_copy_bytes(p) },
      })
   end,
   launch = function(p, c)
      return {
         grid = { p.m // c.tile_m * c.cluster_k, ceil_div(p.n, skinny_tile_n(p)) },
         cluster = { c.cluster_k },
         block = { skinny_warps(c) * 32 },
         smem_bytes = skinny_smem(p, c),
      }
   end,
   default = {
      { tile_m = 64, warps_m = 2, warps_k = 4, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 32, warps_m = 1, warps_k = 8, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 16, warps_m = 1, warps_k = 8, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 32, warps_m = 1, warps_k = 4, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
      { tile_m = 16, warps_m = 1, warps_k = 4, cluster_k = 1, run = 0, stages = 4, stages_b = 2 },
   },
}

return skinny
