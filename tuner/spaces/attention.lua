-- attention: O = softmax(scale Q K^T + mask) V, forward.
--
-- One file a kernel. Each takes its parameters from the block at the top of its template; what is fixed by the problem
-- (types, heads, mask) comes from shared() of common.lua, what is searched comes from the axes. A constraint's name is
-- what a user reads when nothing is legal. Kernels stand in order of preference: the first legal default is what runs
-- before anything is tuned. p: see attention/common.lua; c, d: see tuner/triage.lua.

local plain = require "attention.reference"

return triage.space {
   op = "attention",
   reference = plain.reference,
   kernels = {
      require "attention.decode_tma",
      require "attention.decode",
      require "attention.wgmma",
      require "attention.wgmma_fp8",
      require "attention.mma",
      plain.plain,
      require "attention.host",
   },
}
