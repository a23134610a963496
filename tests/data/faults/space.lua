-- Right and faulty candidates side by side: what is wrong must be marked, what is right must survive it.
local common = require "bsr_gemm.common"
local host_type, shared = common.host_type, common.shared

return triage.space {
   name = "faults",
   op = "bsr_gemm",
   reference = {
      host = {
         template = "templates/bsr_gemm/reference.c",
         params = function(p) return shared(p, host_type, { { "block_k", p.block_k }, { "scale_per_block", 0 } }) end,
         launch = function() return {} end,
      },
   },
   kernels = {
      triage.kernel {
         name = "faulty",
         template = "templates/bsr_gemm/faulty.c",
         targets = { "host" },
         checked_against = "host",
         axes = {
            { "variant", { 0, 1 } },
            { "fault", { "right", "crashes", "damages", "hangs", "zeros", "outside", "before", "aborts",
                         "leaves", "beta_only", "broken", "slow", "idles" } },
         },
         constraints = {
            { "one variant of each fault is enough", function(p, c)
               return c.variant == 0 or c.fault == "right"
            end },
         },
         params = function(p, c)
            return shared(p, host_type, {
               { "block_k", p.block_k },
               { "variant", c.variant },
               { "fault", c.fault },
               { "breakage", c.fault == "broken" and "undeclared" or 0 },
            })
         end,
         launch = function() return {} end,
         default = { variant = 0, fault = "right" },
      },
   },
}
