-- What row and strip share: one block row per CTA, for rows with few blocks and for few columns.

local common = require "bsr_gemm.common"
local ceil_div = common.ceil_div

-- grid.y
local function tiles_fit_grid(p, c)
   return ceil_div(p.n, c.tile_n) <= 65535
end

local function row_step_k(p)
   return math.min(p.block_k, 64) -- k of a stage: a block's, at most 64
end

local function more_columns_than_a_few(p)
   return p.n > 64
end

local function suits_single_rows(p)
   return p.n <= 1024 or 16 * p.nnzb <= p.block_rows * p.block_cols
end

return {
   tiles_fit_grid = tiles_fit_grid,
   row_step_k = row_step_k,
   more_columns_than_a_few = more_columns_than_a_few,
   suits_single_rows = suits_single_rows,
}
