-- Local search from many starts.
--
-- A sample first (the default, what is known of near problems, then random points, every kernel in turn). Then
-- the best point that is not yet climbed from is the centre: its neighbours, which differ in one axis, are
-- proposed in a random order, and the first that is faster becomes the centre. When a climb ends, the next begins at the best point of
-- the sample that is left or at a new random one, in turn. Nothing is proposed twice.
--
-- Results come late and in any order, since compiling runs ahead: with every neighbour proposed and some
-- results outstanding, the strategy waits.

local SAMPLE_SHARE = 8 -- one part in so many of the budget is sampled

-- key -> the points that share all coordinates but one
local function index_lines(space)
   local lines = {}
   local keys = {}
   for point, at in ipairs(space.coordinates) do
      keys[point] = {}
      for axis = 2, #at do
         local kept = at[axis]
         at[axis] = "*"
         local key = table.concat(at, " ")
         at[axis] = kept
         lines[key] = lines[key] or {}
         table.insert(lines[key], point)
         keys[point][axis - 1] = key
      end
   end
   return lines, keys
end

local function shuffle(list)
   for i = #list, 2, -1 do
      local j = triage.random(i)
      list[i], list[j] = list[j], list[i]
   end
   return list
end

-- For each kernel its points in a random order, last drawn first.
local function deal(space)
   local decks, of_kernel = {}, {}
   for point, at in ipairs(space.coordinates) do
      local deck = of_kernel[at[1]]
      if not deck then
         deck = {}
         of_kernel[at[1]] = deck
         table.insert(decks, deck)
      end
      table.insert(deck, point)
   end
   for _, deck in ipairs(decks) do
      shuffle(deck)
   end
   return decks
end

return function(space, options)
   local lines, keys = index_lines(space)
   local decks = deal(space)
   local next_deck = 1
   local asked, time = {}, {} -- point -> true; point -> ns, huge when it failed
   local sample, sampled = {}, 0
   local sample_size = math.max(#options.known + #decks + 1, options.budget // SAMPLE_SHARE)
   local outstanding = 0
   local centre, neighbours -- the climb under way
   local from_sample = true
   local fresh -- a random start whose result is awaited

   local function propose(point)
      asked[point] = true
      outstanding = outstanding + 1
      return point
   end

   -- A random point that is not asked yet, the kernels in turn; nil when all are.
   local function draw()
      for _ = 1, #decks do
         local deck = decks[next_deck]
         next_deck = next_deck % #decks + 1
         while #deck > 0 do
            local point = table.remove(deck)
            if not asked[point] then
               return point
            end
         end
      end
      return nil
   end

   local function neighbours_of(point)
      local list, seen = {}, { [point] = true }
      for _, key in ipairs(keys[point]) do
         for _, other in ipairs(lines[key]) do
            if not seen[other] then
               seen[other] = true
               table.insert(list, other)
            end
         end
      end
      return shuffle(list)
   end

   -- Climbs on: a neighbour known to be faster is the new centre at once.
   local function move_to(point)
      centre, neighbours = point, neighbours_of(point)
      for _, other in ipairs(neighbours) do
         if time[other] and time[other] < time[centre] then
            return move_to(other)
         end
      end
   end

   local function best_of_sample()
      local best
      for i, point in ipairs(sample) do
         if time[point] and time[point] < math.huge and (not best or time[point] < time[sample[best]]) then
            best = i
         end
      end
      return best and table.remove(sample, best)
   end

   -- The next neighbour to ask for; nil when this climb has no more.
   local function climb()
      while #neighbours > 0 do
         local point = table.remove(neighbours)
         if not asked[point] then
            return point
         end
      end
      return nil
   end

   -- The next point of the sample; nil when it is complete.
   local function sample_more()
      if sampled >= sample_size then
         return nil
      end
      local point = sampled == 0 and space.default or options.known[sampled] or draw()
      sampled = point and sampled + 1 or sample_size
      table.insert(sample, point)
      return point
   end

   -- With every result in and no climb left: begins one, and says what to ask for first. nil: all is asked.
   local function restart()
      local start = from_sample and best_of_sample()
      from_sample = not from_sample
      if start then
         move_to(start)
         local point = climb()
         if point then
            return point
         end
      end
      fresh = draw()
      return fresh
   end

   local strategy = {}

   function strategy:next()
      local point = sample_more() or (centre and climb())
      if not point and outstanding > 0 then
         return nil, true
      end
      point = point or restart()
      if not point then
         return nil, false
      end
      return propose(point)
   end

   function strategy:tell(point, median_ns)
      outstanding = outstanding - 1
      time[point] = median_ns or math.huge
      if fresh == point then
         fresh = nil
         if median_ns then
            move_to(point)
         end
      elseif centre and time[point] < time[centre] then
         move_to(point)
      end
   end

   return strategy
end
