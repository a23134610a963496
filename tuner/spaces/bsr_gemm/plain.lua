-- plain: the cuda kernel of verification as a kernel of its own. Of a transposed A it takes what the others do not: any type,
-- block and alignment. (Of one as it is stored wmma does.)

local common = require "bsr_gemm.common"
local reference = require "bsr_gemm.reference"

local plain = triage.kernel {
   name = "plain",
   template = reference.cuda.template,
   targets = { "sm_75+" },
   checked_against = "cuda",
   axes = { { "threads", { 256 } } },
   constraints = {
      { "a transposed A", function(p) return p.transposed end },
   },
   params = function(p) return reference.cuda.params(p) end,
   launch = function(p) return reference.cuda.launch(p) end,
   default = { threads = 256 },
}

return plain
