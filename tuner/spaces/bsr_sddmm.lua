-- bsr_sddmm: D = alpha Y X^T + beta D on the stored blocks of a block-sparse matrix only.
--
-- One file a kernel. Each takes its parameters from the block at the top of its template; what is fixed by the problem
-- (types, layouts, blocks) comes from shared() of common.lua, what is searched comes from the axes. A constraint's name is
-- shown to users where it rules configurations out. Kernels stand in order of preference: the first legal default is what runs
-- before anything is tuned. p: see bsr_sddmm/common.lua; c, d: see tuner/triage.lua.

local later = triage.later
local plain = require "bsr_sddmm.reference"

return triage.space {
   op = "bsr_sddmm",
   reference = plain.reference,
   kernels = {
      later("wgmma", "bsr_sddmm.wgmma"),
      later("patch", "bsr_sddmm.patch"),
      later("mma", "bsr_sddmm.mma"),
      plain.plain,
      later("host", "bsr_sddmm.host"),
   },
}
