-- host and host_fp8: the CPU, with OpenMP and vector instructions.

local common = require "bsr_gemm.common"
local host_type, host_fp8_type, every = common.host_type, common.host_fp8_type, common.every
local scale_per_block, ceil_div = common.scale_per_block, common.ceil_div

-- target -> floats of a vector register, registers
local vectors = {
   ["x86_64-avx512"] = { lanes = 16, registers = 32 },
   ["x86_64-avx2"] = { lanes = 8, registers = 16 },
   ["aarch64"] = { lanes = 4, registers = 32 },
}

local function vector_of(d)
   return vectors[d.target] or { lanes = 4, registers = 16 }
end

-- Do the accumulators, one row of B and one element of A fit the vector registers?
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
      { "unroll", { 1, 4 } },                            -- k per iteration of the inner loop
      { "schedule", { "static", "dynamic" } },           -- OpenMP schedule of the tasks
      { "row_tasks", { 1, 4, 16 } },                     -- row tasks per panel of columns
      { "pack", { 1, 0 } },                              -- 1: panels of B are packed; 0: B is read in place
   },
   constraints = {
      { "f32, f16 or bf16", function(p) return host_type[p.in_type] ~= nil and host_type[p.out_type] ~= nil end },
      { "a row of the register tile fills a vector register",
        function(p, c, d) return c.tile_n >= vector_of(d).lanes end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the register tile fits the vector registers", function(p, c, d) return host_fits(c.tile_m, c.tile_n, d) end },
      { "the register tile is the tallest that fits", function(p, c, d)
         for tile_m = c.tile_m + 1, 16 do
            if p.block_m % tile_m == 0 and host_fits(tile_m, c.tile_n, d) and tile_m ~= 9 and tile_m ~= 11 and
               tile_m ~= 13 and tile_m ~= 15 then
               return false
            end
         end
         return true
      end },
      { "the tile is less than twice as wide as C", function(p, c)
         return c.tile_n <= 16 or c.tile_n < 2 * p.n
      end },
      { "B is read in place only as row-major f32", function(p, c)
         return c.pack == 1 or (p.in_type == "f32" and p.b_layout == "row")
      end },
      { "row_tasks of 16 only with a static schedule", function(p, c)
         return c.schedule == "static" or c.row_tasks < 16
      end },
   },
   params = function(p, c)
      return every(p, host_type, {
         { "block_k", p.block_k },
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

local host_fp8 = triage.kernel {
   name = "host_fp8",
   template = "templates/bsr_gemm/host_fp8.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "tile_n", { 16, 32 } },            -- columns of a packed panel of B
      { "tile_m", { 1, 2, 3, 4, 6, 8, 12 } }, -- rows of a register tile
   },
   constraints = {
      { "e4m3", function(p) return p.in_type == "e4m3" end },
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the register tile fits the vector registers", function(p, c, d) return host_fits(c.tile_m, c.tile_n, d) end },
   },
   params = function(p, c)
      return every(p, host_fp8_type, {
         { "block_k", p.block_k },
         scale_per_block(p),
         { "tile_n", c.tile_n },
         { "tile_m", c.tile_m },
      })
   end,
   launch = function() return {} end,
   default = {
      { tile_n = 32, tile_m = 8 },
      { tile_n = 16, tile_m = 4 },
      { tile_n = 16, tile_m = 2 },
      { tile_n = 16, tile_m = 1 },
   },
}

return { host = host, host_fp8 = host_fp8 }
