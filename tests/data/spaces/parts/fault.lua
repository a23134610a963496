-- The fault is in the second line.
local one = nil + 1
