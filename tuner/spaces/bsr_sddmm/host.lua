-- host: the CPU, with OpenMP and vector instructions.

local common = require "bsr_sddmm.common"
local host_type, shared = common.host_type, common.shared

local host = triage.kernel {
   name = "host",
   template = "templates/bsr_sddmm/host.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "tile_m", { 1, 2, 4, 8 } },    -- rows of a register tile
      { "vecs", { 1, 2, 4 } },         -- vectors per row of the register tile
      { "depth", { 32, 128, 512 } },   -- n of a packed chunk
      { "run", { 1, 4, 16 } },         -- blocks per task
   },
   constraints = {
      { "tile_m divides the block", function(p, c) return p.block_m % c.tile_m == 0 end },
      { "the tile is the tallest that divides the block, or fills 8 vector registers", function(p, c)
         return c.tile_m == 8 or p.block_m % (c.tile_m * 2) ~= 0 or c.tile_m * c.vecs >= 8
      end },
      { "the accumulators fit the vector registers", function(p, c, d)
         return c.tile_m * c.vecs <= (d.target == "x86_64-avx512" and 16 or 8)
      end },
      { "a row of the register tile is no wider than the block", function(p, c)
         return c.vecs == 1 or c.vecs * 8 <= p.block_k
      end },
      { "a chunk is less than twice as long as n", function(p, c) return c.depth == 32 or c.depth < 2 * p.n end },
      { "a chunk fits a cache", function(p, c) return c.depth == 32 or c.depth * (p.block_m + p.block_k) <= 131072 end },
   },
   params = function(p, c)
      return shared(p, host_type, {
         { "tile_m", c.tile_m },
         { "vecs", c.vecs },
         { "depth", c.depth },
         { "run", c.run },
      })
   end,
   launch = function() return {} end,
   default = {
      { tile_m = 4, vecs = 2, depth = 128, run = 1 },
      { tile_m = 8, vecs = 1, depth = 128, run = 1 },
      { tile_m = 8, vecs = 1, depth = 32, run = 1 },
      { tile_m = 4, vecs = 1, depth = 32, run = 1 },
      { tile_m = 2, vecs = 1, depth = 32, run = 1 },
      { tile_m = 1, vecs = 1, depth = 32, run = 1 },
   },
}

return host
