-- The default, then the rest in a random order.
return function(space, options)
   local order = {}
   for i = 1, space.size do
      order[i] = i
   end
   order[1], order[space.default] = order[space.default], order[1]

   local strategy = { at = 0 }

   -- Shuffles as it goes: a draw from what is left.
   function strategy:next()
      self.at = self.at + 1
      if self.at > space.size then
         return nil, false
      end
      if self.at > 1 then
         local drawn = self.at - 1 + triage.random(space.size - self.at + 1)
         order[self.at], order[drawn] = order[drawn], order[self.at]
      end
      return order[self.at]
   end

   function strategy:tell() end

   return strategy
end
