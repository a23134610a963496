local function none() return {} end
local reference = { template = "templates/bsr_gemm/reference.cu", params = none, launch = none }
return triage.space { op = "attention", reference = { cuda = reference }, kernels = { triage.kernel {
   name = "k", template = reference.template, targets = { "sm_80" }, checked_against = "cuda", axes = {},
   params = none, launch = none, default = {},
} } }
