-- The plain kernels that results are verified against. The CUDA one is also a candidate: it takes any type, block and
-- alignment, and runs where nothing else can.

local common = require "bsr_sddmm.common"
local cuda_type, host_type, shared = common.cuda_type, common.host_type, common.shared

local THREADS = 256

local function launch(p)
   local ctas = common.ceil_div(p.nnzb * p.block_m * p.block_k, THREADS)
   return { grid = { math.min(ctas, 1 << 20) }, block = { THREADS } }
end

local reference = {
   cuda = {
      template = "templates/bsr_sddmm/reference.cu",
      params = function(p) return shared(p, cuda_type, {}) end,
      launch = launch,
   },
   host = {
      template = "templates/bsr_sddmm/reference.c",
      params = function(p) return shared(p, host_type, {}) end,
      launch = function() return {} end,
   },
}

local plain = triage.kernel {
   name = "plain",
   template = "templates/bsr_sddmm/reference.cu",
   targets = { "sm_75+" },
   checked_against = "cuda",
   axes = { { "threads", { THREADS } } },
   constraints = {},
   params = function(p) return shared(p, cuda_type, {}) end,
   launch = launch,
   default = { threads = THREADS },
}

return { reference = reference, plain = plain }
