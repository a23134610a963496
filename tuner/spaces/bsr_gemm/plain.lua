-- plain: the reference kernel for CUDA as a candidate, for transposed A: it takes any type, block and alignment. (Without
-- transposition wmma does.)

local common = require "bsr_gemm.common"
local reference = require "bsr_gemm.reference"

local plain = triage.kernel {
   name = "plain",
   template = reference.cuda.template,
   targets = { "sm_75+" },
   checked_against = "cuda",
   axes = { { "threads", { 256 } } },
   constraints = {
      { "A is transposed", function(p) return p.transposed end },
   },
   params = function(p) return reference.cuda.params(p) end,
   launch = function(p) return reference.cuda.launch(p) end,
   default = { threads = 256 },
}

return plain
