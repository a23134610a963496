return function(space) return { next = function() return space.size + 1 end, tell = function() end } end
