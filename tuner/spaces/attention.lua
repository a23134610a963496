-- attention: O = softmax(scale Q K^T + mask) V, forward.
--
-- One file a kernel. Each takes its parameters from the block at the top of its template; what is fixed by the problem
-- (types, heads, mask) comes from shared() of common.lua, what is searched comes from the axes. A constraint's name is
-- shown to users where it rules configurations out. Kernels stand in order of preference: the first legal default is what runs
-- before anything is tuned. p: see attention/common.lua; c, d: see tuner/triage.lua.

local later = triage.later
local plain = require "attention.reference"

return triage.space {
   op = "attention",
   reference = plain.reference,
   kernels = {
      later("decode_tma", "attention.decode_tma"),
      later("decode_once", "attention.decode_once"),
      later("decode", "attention.decode"),
      later("wgmma", "attention.wgmma"),
      later("wgmma_fp8", "attention.wgmma_fp8"),
      later("mma", "attention.mma"),
      plain.plain,
      later("host", "attention.host"),
   },
}
