-- host: the CPU, with OpenMP and vector instructions.

local common = require "attention.common"
local host_type, shared, with_mask, ceil_div = common.host_type, common.shared, common.with_mask, common.ceil_div

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
local function in_registers(rows, width, d)
   local v = vector_of(d)
   return (rows + 1) * ceil_div(width, v.lanes) + 1 <= v.registers
end

-- Bytes of a tile on the stack: Q, K, V, O and the scores (templates/attention/host.c).
local function stack_bytes(p, c)
   local dv = ceil_div(p.dv, c.width) * c.width
   return 4 * (c.tile_m * (p.d + dv + c.tile_n) + c.tile_n * (p.d + dv))
end

local host = triage.kernel {
   name = "host",
   template = "templates/attention/host.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "tile_m", { 8, 16, 32, 64 } },        -- rows of a task: queries times the heads that share K and V
      { "tile_n", { 16, 32, 64, 128 } },      -- keys of a step
      { "rows", { 2, 4, 8 } },                -- rows of a register tile
      { "width", { 8, 16, 32 } },             -- columns of a register tile
      { "schedule", { "static", "dynamic" } }, -- OpenMP schedule of the tasks
   },
   constraints = {
      { "a row of the register tile fills a vector register",
        function(p, c, d) return c.width >= vector_of(d).lanes end },
      { "the register tile fits the vector registers", function(p, c, d) return in_registers(c.rows, c.width, d) end },
      { "the register tile divides the tile",
        function(p, c) return c.tile_m % c.rows == 0 and c.tile_n % c.width == 0 end },
      { "a tile has at most as many rows as a block of the mask",
        function(p, c) return p.mask_m == 0 or c.tile_m <= p.mask_m end },
      { "a step has at most as many keys as a block of the mask",
        function(p, c) return p.mask_n == 0 or c.tile_n <= p.mask_n end },
      { "a tile takes at most 256 KiB of stack", function(p, c) return stack_bytes(p, c) <= 262144 end },
   },
   params = function(p, c)
      return shared(p, host_type, with_mask(p, {
         { "tile_m", c.tile_m },
         { "tile_n", c.tile_n },
         { "rows", c.rows },
         { "width", c.width },
         { "schedule", c.schedule },
      }))
   end,
   launch = function() return {} end,
   default = {
      { tile_m = 32, tile_n = 64, rows = 8, width = 32, schedule = "dynamic" },
      { tile_m = 32, tile_n = 64, rows = 4, width = 16, schedule = "dynamic" },
      { tile_m = 16, tile_n = 32, rows = 4, width = 16, schedule = "dynamic" },
      { tile_m = 16, tile_n = 16, rows = 4, width = 16, schedule = "dynamic" },
      { tile_m = 16, tile_n = 16, rows = 2, width = 8, schedule = "dynamic" },
   },
}

return host
