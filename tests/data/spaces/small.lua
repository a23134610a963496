-- A small space with known answers, for tests/unit/test_space.c.
local axes = {
   { "tile", { 16, 32, 64 } },
   { "mode", { "slow", "fast" } },
}

local first = triage.kernel {
   name = "first",
   template = "templates/bsr_gemm/reference.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = axes,
   constraints = {
      { "the tile divides the block", function(p, c) return p.block_m % c.tile == 0 end },
      { "fast needs a tile of 32", function(p, c) return c.mode == "slow" or c.tile >= 32 end },
   },
   params = function(p, c, d)
      return { { "tile", c.tile }, { "mode", c.mode }, { "n", p.n }, { "sms", d.sm_count } }
   end,
   options = function(p, c) return { "-DTILE=" .. c.tile } end,
   launch = function(p, c)
      return {
         grid = { p.m // c.tile, 3 },
         block = { 128 },
         cluster = { 2 },
         smem_bytes = c.tile * 1024,
         workspace_bytes = 12,
         map_b = { rank = 3, box = { 64, 32, 2 }, inner_split = 64, swizzle = 128, l2_promotion = 256 },
         panel_rows = 8,
         panel_group = 4,
         reorder = true,
      }
   end,
   default = { { tile = 64, mode = "fast" }, { tile = 32, mode = "fast" } },
   spill_limit = 8,
}

local second = triage.kernel {
   name = "second",
   template = "templates/bsr_gemm/wmma.cu",
   targets = { "sm_80+", "host" },
   checked_against = "cuda",
   axes = {},
   params = function() return {} end,
   launch = function() return {} end,
   default = {},
}

local reference = {
   template = "templates/bsr_gemm/reference.cu",
   params = function(p) return { { "block_m", p.block_m } } end,
   launch = function() return { grid = { 7 } } end,
}

return triage.space { name = "small", op = "bsr_gemm", reference = { cuda = reference }, kernels = { first, second } }
