-- A constraint that would divide by zero but for the one before it, and one that breaks where nothing excludes the point.
local kernel = triage.kernel {
   name = "guarded",
   template = "templates/bsr_gemm/reference.cu",
   targets = { "sm_90a" },
   checked_against = "cuda",
   axes = {
      { "a", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 } },
      { "b", { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 } },
      { "c", { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 } },
      { "d", { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 } },
   },
   constraints = {
      { "b is not 0", function(p, x) return x.b > 0 end },
      { "b divides a", function(p, x) return x.a % x.b == 0 end },
      { "c is as large as a", function(p, x) return x.c == x.a end },
      { "d is 0, or breaks where blocks have 32 rows", function(p, x)
         if x.d == 9 and x.a == 10 and x.b == 5 and p.block_m == 32 then
            return nil
         end
         return x.d == 0
      end },
   },
   params = function() return {} end,
   launch = function() return {} end,
   default = { { a = 1, b = 2, c = 1, d = 0 }, { a = 2, b = 1, c = 2, d = 0 } },
}

local reference = {
   template = "templates/bsr_gemm/reference.cu",
   params = function() return {} end,
   launch = function() return {} end,
}

return triage.space { name = "guarded", op = "bsr_gemm", reference = { cuda = reference }, kernels = { kernel } }
