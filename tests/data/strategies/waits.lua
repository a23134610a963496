return function() return { next = function() return nil, true end, tell = function() end } end
