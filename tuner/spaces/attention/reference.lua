-- The plain kernels of verification, and the cuda one as a kernel of its own: it takes any head, any stride and any
-- alignment, so it is what runs where nothing else can.

local common = require "attention.common"
local cuda_type, host_type, shared, with_mask = common.cuda_type, common.host_type, common.shared, common.with_mask

local WARPS = 8 -- of a CTA: a row each, then the next one

local function launch(p, d)
   local rows = p.batch * p.heads_q * p.sq
   return { grid = { math.max(1, math.min(common.ceil_div(rows, WARPS), 1 << 20)) }, block = { 32 * WARPS } }
end

local reference = {
   cuda = {
      template = "templates/attention/reference.cu",
      params = function(p) return shared(p, cuda_type, with_mask(p)) end,
      launch = launch,
   },
   host = {
      template = "templates/attention/reference.c",
      params = function(p) return shared(p, host_type, with_mask(p)) end,
      launch = function() return {} end,
   },
}

local plain = triage.kernel {
   name = "plain",
   template = "templates/attention/reference.cu",
   targets = { "sm_75+" },
   checked_against = "cuda",
   axes = { { "warps", { WARPS } } },
   constraints = {},
   params = function(p) return shared(p, cuda_type, with_mask(p)) end,
   launch = launch,
   default = { warps = WARPS },
   spill_limit = 128,
}

return { reference = reference, plain = plain }
