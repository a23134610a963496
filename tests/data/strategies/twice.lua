return function() return { next = function() return 1 end, tell = function() end } end
