-- Candidates that want out of their process (escapes.c), for tests/attack/test_escapes.c. None is right.
local common = require "bsr_gemm.common"

return triage.space {
   name = "escapes",
   op = "bsr_gemm",
   reference = {
      host = {
         template = "templates/bsr_gemm/reference.c",
         params = function(p)
            return common.shared(p, common.host_type, { { "block_k", p.block_k }, { "scale_per_block", 0 } })
         end,
         launch = function() return {} end,
      },
   },
   kernels = {
      triage.kernel {
         name = "escapes",
         template = "templates/bsr_gemm/escapes.c",
         targets = { "host" },
         checked_against = "host",
         axes = {
            { "kind", { "right", "writes", "runs", "reads", "includes", "talks", "forks", "leaves", "swells", "kills",
                        "asks", "spies" } },
         },
         params = function(p, c)
            return { { "kind", c.kind }, { "with_secret", c.kind == "includes" and 1 or 0 } }
         end,
         launch = function() return {} end,
         default = { kind = "right" },
      },
   },
}
