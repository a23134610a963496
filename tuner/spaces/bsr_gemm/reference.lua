-- The plain kernels that results are verified against.

local common = require "bsr_gemm.common"
local cuda_type, host_fp8_type, every = common.cuda_type, common.host_fp8_type, common.every
local scale_per_block, ceil_div = common.scale_per_block, common.ceil_div

local reference = {
   cuda = {
      template = "templates/bsr_gemm/reference.cu",
      params = function(p) return every(p, cuda_type, { { "block_k", p.block_k }, scale_per_block(p) }) end,
      launch = function(p)
         local rows, cols = 8, 32 -- threads: 32 along the contiguous direction of C
         if p.c_layout == "col" then
            rows, cols = cols, rows
         end
         local tiles = ceil_div(p.n, cols)
         local second = math.min(tiles, 65535)
         return { grid = { ceil_div(p.m, rows), second, ceil_div(tiles, second) }, block = { 256 } }
      end,
   },
   host = {
      template = "templates/bsr_gemm/reference.c",
      params = function(p) return every(p, host_fp8_type, { { "block_k", p.block_k }, scale_per_block(p) }) end,
      launch = function() return {} end,
   },
}

return reference
