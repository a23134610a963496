-- The plain kernels that results are verified against. The CUDA one is also a candidate: it takes any head size, stride and
-- alignment, and runs where nothing else can.

local common = require "attention.common"
local cuda_type, host_type, shared, with_mask = common.cuda_type, common.host_type, common.shared, common.with_mask

local WARPS = 8 -- of a CTA

-- Queries of a CTA, within one block row of the mask.
local function rows(p)
   return p.mask_m == 16 and 16 or 32
end

local function params(p)
   return shared(p, cuda_type, with_mask(p, { { "rows", rows(p) } }))
end

local function launch(p)
   local tiles = p.batch * p.heads_q * common.ceil_div(p.sq, rows(p))
   return { grid = { math.max(1, math.min(tiles, 1 << 20)) }, block = { 32 * WARPS } }
end

local reference = {
   cuda = {
      template = "templates/attention/reference.cu",
      params = params,
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
   params = params,
   launch = launch,
   default = { warps = WARPS },
   spill_limit = 128,
}

return { reference = reference, plain = plain }
