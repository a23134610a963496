-- bsr_gemm: C = act(alpha A B + beta C + bias), A block-sparse (BSR).
--
-- One file a kernel. Each takes its parameters from the block at the top of its template; what is fixed by the
-- problem (types, layouts, blocks) comes from shared() of common.lua, what is searched comes from the axes. A
-- constraint's name is what a user reads when nothing is legal. Kernels stand in order of preference: the first legal
-- default is what runs before anything is tuned. p, c, d: see tuner/triage.lua.

local host = require "bsr_gemm.host"

return triage.space {
   op = "bsr_gemm",
   reference = require "bsr_gemm.reference",
   kernels = {
      require "bsr_gemm.panel",
      require "bsr_gemm.wgmma",
      require "bsr_gemm.row",
      require "bsr_gemm.strip",
      require "bsr_gemm.wmma",
      require "bsr_gemm.skinny",
      require "bsr_gemm.split",
      require "bsr_gemm.plain",
      host.host,
      host.host_fp8,
   },
}
