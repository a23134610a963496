-- A space of parts: one's own and a built-in one, each run once.
local common = require "bsr_gemm.common"
local kernel = require "parts.kernel"
assert(kernel == require "parts.kernel" and common.ceil_div(5, 2) == 3)

return triage.space { op = "bsr_gemm", reference = require "bsr_gemm.reference", kernels = { kernel } }
