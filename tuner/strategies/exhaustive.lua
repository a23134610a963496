-- Everything, in the order of the space file; the default first.
return function(space, options)
   local strategy = { at = 0 }

   function strategy:next()
      self.at = self.at + 1
      if self.at > space.size then
         return nil, false
      end
      if self.at == 1 then
         return space.default
      end
      return self.at <= space.default and self.at - 1 or self.at
   end

   function strategy:tell() end

   return strategy
end
