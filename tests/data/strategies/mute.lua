return function() return { next = function() return 1 end } end
