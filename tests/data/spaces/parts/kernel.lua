return triage.kernel {
   name = "of_parts",
   template = "templates/bsr_gemm/reference.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = { { "late", { 0, 1 } } },
   params = function(p, c) return c.late == 1 and require "parts.kernel" or {} end,
   launch = function() return {} end,
   default = { late = 0 },
}
