-- bsr_gemm: C = act(alpha A B + beta C + bias), A block-sparse (BSR).
--
-- One file a kernel. Each takes its parameters from the block at the top of its template; what is fixed by the
-- problem (types, layouts, blocks) comes from shared() of common.lua, what is searched comes from the axes. A
-- constraint's name is shown to users where it rules configurations out. Kernels stand in order of preference: the first legal
-- default is what runs before anything is tuned. p, c, d: see tuner/triage.lua.

local later = triage.later

return triage.space {
   op = "bsr_gemm",
   reference = require "bsr_gemm.reference",
   kernels = {
      later("panel", "bsr_gemm.panel"),
      later("wgmma", "bsr_gemm.wgmma"),
      later("row", "bsr_gemm.row"),
      later("strip", "bsr_gemm.strip"),
      later("wmma", "bsr_gemm.wmma"),
      later("skinny", "bsr_gemm.skinny"),
      later("split", "bsr_gemm.split"),
      later("plain", "bsr_gemm.plain"),
      later("host", "bsr_gemm.host"),
      later("host_fp8", "bsr_gemm.host"),
   },
}
