-- The default, then what is known of near problems, then the rest in a random order.
return function(space, options)
   local order, place = {}, {} -- place[point]: where it is in order
   for i = 1, space.size do
      order[i], place[i] = i, i
   end

   local first = 0
   local function bring_forward(point)
      first = first + 1
      local from, other = place[point], order[first]
      order[first], order[from] = point, other
      place[point], place[other] = first, from
   end
   bring_forward(space.default)
   for _, point in ipairs(options.known) do
      bring_forward(point)
   end

   local strategy = { at = 0 }

   -- Shuffles as it goes: a draw from what is left.
   function strategy:next()
      self.at = self.at + 1
      if self.at > space.size then
         return nil, false
      end
      if self.at > first then
         local drawn = self.at - 1 + triage.random(space.size - self.at + 1)
         order[self.at], order[drawn] = order[drawn], order[self.at]
      end
      return order[self.at]
   end

   function strategy:tell() end

   return strategy
end
