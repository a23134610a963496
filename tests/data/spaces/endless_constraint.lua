local kernel = triage.kernel {
   name = "k",
   template = "templates/bsr_gemm/reference.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = { { "tile", { 16 } } },
   constraints = { { "never answers", function() while true do end end } },
   params = function() return {} end,
   launch = function() return {} end,
   default = { tile = 16 },
}
local reference = { template = kernel.template, params = kernel.params, launch = kernel.launch }
return triage.space { op = "bsr_gemm", reference = { cuda = reference }, kernels = { kernel } }
