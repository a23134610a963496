-- Kernels of parts, which are read when they are asked for: of a file of one's own at once.
return triage.space {
   op = "bsr_gemm",
   reference = require "bsr_gemm.reference",
   kernels = { triage.later("of_parts", "parts.kernel"), triage.later("host_fp8", "bsr_gemm.host") },
}
