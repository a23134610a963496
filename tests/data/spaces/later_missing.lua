return triage.space {
   op = "bsr_gemm",
   reference = require "bsr_gemm.reference",
   kernels = { triage.later("k", "parts.nowhere") },
}
