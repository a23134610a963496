-- Right and faulty candidates side by side: what is wrong must be marked, what is right must survive it.
local shared = require("bsr_gemm.common").shared
local types = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16" } -- no e4m3: faulty.cu has no scale per block

-- 32 threads along the contiguous direction of C, 8 along the other
local function launch(p)
   local rows, cols = 8, 32
   if p.c_layout == "col" then
      rows, cols = cols, rows
   end
   return { grid = { (p.m + rows - 1) // rows, (p.n + cols - 1) // cols }, block = { 256 } }
end

return triage.space {
   name = "faults",
   op = "bsr_gemm",
   reference = {
      cuda = {
         template = "templates/bsr_gemm/reference.cu",
         params = function(p) return shared(p, types, { { "block_k", p.block_k }, { "scale_per_block", 0 } }) end,
         launch = launch,
      },
   },
   kernels = {
      triage.kernel {
         name = "faulty",
         template = "templates/bsr_gemm/faulty.cu",
         targets = { "sm_80+" },
         checked_against = "cuda",
         axes = {
            { "variant", { 0, 1 } },
            { "fault", { "right", "illegal", "zeros", "hangs", "traps", "outside" } },
         },
         constraints = {
            { "one variant of each fault is enough", function(p, c)
               return c.variant == 0 or c.fault == "right"
            end },
         },
         params = function(p, c)
            return shared(p, types, {
               { "block_k", p.block_k },
               { "variant", c.variant },
               { "fault", c.fault },
            })
         end,
         launch = launch,
         default = { variant = 0, fault = "right" },
      },
   },
}
