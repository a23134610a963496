-- toy: y[i][j] = s[i] * x[i][j]. p: rows, cols.

local host = triage.kernel {
   name = "scale",
   template = "templates/toy/scale.c",
   targets = { "host" },
   checked_against = "host",
   axes = {
      { "rows", { 1, 8, 64 } }, -- of a task
      { "wrong", { 0, 1 } },    -- 1: not right, for the gate to find
   },
   constraints = {
      { "a task is not longer than the matrix", function(p, c) return c.rows <= p.rows end },
   },
   params = function(p, c) return { { "rows", c.rows }, { "wrong", c.wrong } } end,
   launch = function() return {} end,
   default = { rows = 1, wrong = 0 },
}

local cuda = triage.kernel {
   name = "rows",
   template = "templates/toy/scale.cu",
   targets = { "sm_80+" },
   checked_against = "cuda",
   axes = { { "threads", { 128, 256 } } },
   params = function(p, c) return { { "threads", c.threads } } end,
   launch = function(p, c) return { grid = { p.rows }, block = { c.threads }, turns = 1 } end,
   default = { threads = 256 },
}

return triage.space {
   op = "toy",
   reference = {
      host = {
         template = "templates/toy/reference.c",
         params = function() return {} end,
         launch = function() return {} end,
      },
      cuda = {
         template = "templates/toy/reference.cu",
         params = function() return {} end,
         launch = function(p) return { grid = { (p.rows * p.cols + 255) // 256 }, block = { 256 } } end,
      },
   },
   kernels = { host, cuda },
}
