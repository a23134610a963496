-- The default, then what is known of near problems, then everything else in the order of the space file.
return function(space, options)
   local first, taken = { space.default }, { [space.default] = true }
   for _, point in ipairs(options.known) do
      table.insert(first, point)
      taken[point] = true
   end

   local strategy = { proposed = 0, at = 0 }

   function strategy:next()
      if self.proposed < #first then
         self.proposed = self.proposed + 1
         return first[self.proposed]
      end
      repeat
         self.at = self.at + 1
      until not taken[self.at]
      if self.at > space.size then
         return nil, false
      end
      return self.at
   end

   function strategy:tell() end

   return strategy
end
