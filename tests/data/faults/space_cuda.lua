-- Right and faulty candidates side by side: what is wrong must be marked, what is right must survive it.
local types = { f32 = "float", f16 = "__half", bf16 = "__nv_bfloat16" }
local layout = { row = 0, col = 1 }
local act = { none = 0, relu = 1, gelu = 2, silu = 3 }

local function shared(p, more)
   local list = {
      { "in_type", types[p.in_type] },
      { "out_type", types[p.out_type] },
      { "block_m", p.block_m },
      { "block_k", p.block_k },
      { "b_layout", layout[p.b_layout] },
      { "c_layout", layout[p.c_layout] },
      { "act", act[p.activation] },
   }
   for _, param in ipairs(more) do
      table.insert(list, param)
   end
   return list
end

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
         params = function(p) return shared(p, { { "scale_per_block", 0 } }) end,
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
            return shared(p, {
               { "variant", c.variant },
               { "fault", c.fault },
            })
         end,
         launch = launch,
         default = { variant = 0, fault = "right" },
      },
   },
}
