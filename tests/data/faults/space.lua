-- Right and faulty candidates side by side: what is wrong must be marked, what is right must survive it.
local types = { f32 = "float", f16 = "f16_t", bf16 = "bf16_t" }
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

return triage.space {
   name = "faults",
   op = "bsr_gemm",
   reference = {
      host = {
         template = "templates/bsr_gemm/reference.c",
         params = function(p) return shared(p, { { "scale_per_block", 0 } }) end,
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
                         "leaves", "beta_only", "broken", "slow" } },
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
               { "breakage", c.fault == "broken" and "this is no C;" or ";" },
            })
         end,
         launch = function() return {} end,
         default = { variant = 0, fault = "right" },
      },
   },
}
