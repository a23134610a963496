-- A search that learns: a model of the space says after each result what is worth trying next.
--
-- First the default, then what is known of near problems, then points far from one another until FIRST are asked.
-- From then on a Gaussian process (triage.surrogate) is told a score for each time: the normal score of its rank, since
-- times of a space spread over a factor of 50, and a model of the times themselves would follow the slow ones.
-- Failures rank last. The point asked next is that of lowest mean - BOUND deviations; each GAIN_EVERY-th one
-- is that of the greatest expected gain instead, which is what ends a long stay at an optimum that is not the best.
--
-- Results come late and in any order, since compiling runs ahead. A point that is only asked makes the model surer
-- of its surroundings, so that the next ones lie elsewhere. But what is asked before any result is a guess: so
-- as few are under way as the results so far allow for, and the strategy waits for more.
--
-- Times of another device or a near problem (options.prior) are a search of their own, whose model becomes the
-- expectation of this one; how far to believe it, the first results decide.

local FIRST = 8 -- asked without a model
local SPREAD = 20 -- of so many random points that of which the least is known: all would give the space's corners
local BOUND = 2.5
local GAIN_FROM, GAIN_EVERY = 60, 2
local RESULTS_A_POINT = 8 -- FIRST are under way and one more for each so many results
local FITS = { 16, 24, 36, 54, 80, 120 } -- results after which the axes are weighed
local FIT_WORK = 60e6 -- multiply-adds that this may take: a large space is not weighed so late
local LEAST_PRIOR = 24 -- times: a few winners alone say nothing of what is slow
local HORIZON = 20 -- candidates over which a gain must be expected, with stop_gain
local PATIENCE = 60 -- results without such a gain, before that expectation is believed

local model = triage.surrogate

-- The normal distribution's quantile, to 1 % (Tukey's lambda with the exponent that fits it best).
local function quantile(p)
   return (p ^ 0.135 - (1 - p) ^ 0.135) / 0.1975
end

-- Mean 0, deviation 1; all 0 when all are equal.
local function standardise(scores)
   local sum, squares = 0, 0
   for _, score in ipairs(scores) do
      sum = sum + score
   end
   local mean = sum / #scores
   for _, score in ipairs(scores) do
      squares = squares + (score - mean) ^ 2
   end
   local deviation = squares > 0 and (squares / #scores) ^ 0.5 or 1
   for i, score in ipairs(scores) do
      scores[i] = (score - mean) / deviation
   end
   return scores
end

-- The normal scores of the ranks of times; equal times share theirs.
local function scores_of(times)
   local order, scores = {}, {}
   for i = 1, #times do
      order[i] = i
   end
   table.sort(order, function(a, b)
      return times[a] < times[b]
   end)
   local first = 1
   while first <= #order do
      local last = first
      while last < #order and times[order[last + 1]] == times[order[first]] do
         last = last + 1
      end
      local score = quantile(((first + last) / 2 - 0.375) / (#times + 0.25))
      for i = first, last do
         scores[order[i]] = score
      end
      first = last + 1
   end
   return standardise(scores)
end

-- A failure says nothing of how fast its neighbours are: it is given the mean of all, and is a 1 in a list of its own.
-- -> scores, failures or nil if there are none
local function scores_and_failures(times)
   local good, at, failures = {}, {}, {}
   for i, time in ipairs(times) do
      failures[i] = time == math.huge and 1 or 0
      if time < math.huge then
         table.insert(good, time)
         table.insert(at, i)
      end
   end
   if #good == #times then
      return scores_of(times), nil
   end
   local scores, of_good = {}, scores_of(good)
   for i = 1, #times do
      scores[i] = 0
   end
   for i, score in ipairs(of_good) do
      scores[at[i]] = score
   end
   return scores, failures
end

-- The logarithms less their mean, of those that are known; an unknown one is that.
local function costs_of(compile_times)
   local logarithms, sum, count = {}, 0, 0
   for i, time in ipairs(compile_times) do
      logarithms[i] = time and math.log(time)
      sum = sum + (logarithms[i] or 0)
      count = count + (time and 1 or 0)
   end
   for i, logarithm in ipairs(logarithms) do
      logarithms[i] = logarithm and logarithm - sum / count or 0
   end
   return logarithms, count
end

-- What is known elsewhere becomes the expectation here.
local function inherit(prior)
   local times = {}
   for i = 1, math.min(#prior, model.rows) do
      model.ask(prior[i][1])
      model.tell(prior[i][1])
      times[i] = prior[i][2] or math.huge
   end
   model.believe(scores_of(times))
   model.inherit()
end

return function(space, options)
   local first, at = { space.default }, 0 -- asked before anything else
   local asked, count, outstanding = {}, 0, 0
   local told, times, compile_times, scores = {}, {}, {}, {} -- of the points that the model has as rows, in the order of telling
   local best -- index into told
   local is_row = {}
   local next_fit, is_stale = 1, true
   local last_gain, time_then = 0, math.huge -- of the results, the last that gained as much as stop_gain asks for

   for _, point in ipairs(options.known) do
      table.insert(first, point)
   end
   local first_count = FIRST
   if #options.prior >= LEAST_PRIOR then
      inherit(options.prior)
      first_count = #first
   end

   local function propose(point)
      if count < model.rows then
         is_row[point] = true
      end
      model.ask(point)
      asked[point] = true
      count = count + 1
      outstanding = outstanding + 1
      return point
   end

   -- Any point that is not asked.
   local function draw()
      local point = triage.random(space.size)
      for _ = 1, space.size do
         if not asked[point] then
            return point
         end
         point = point % space.size + 1
      end
      return nil
   end

   local function spread()
      return model.choose("spread", SPREAD) or draw()
   end

   -- Brings the model up to date.
   local function learn()
      if not is_stale then
         return
      end
      is_stale = false
      local failures
      scores, failures = scores_and_failures(times)
      if next_fit <= #FITS and #told >= FITS[next_fit] then
         if count ^ 2 / 2 * model.points <= FIT_WORK then
            model.fit(scores)
         end
         next_fit = next_fit + 1
      end
      model.believe(scores)
      if failures then
         model.failures(failures)
      end
      local costs, known = costs_of(compile_times)
      if known > #told / 2 then
         model.costs(costs)
      end
   end

   local function choose()
      if count >= model.rows then
         return model.choose("bound", 0)
      end
      if count >= GAIN_FROM and count % GAIN_EVERY == 0 and times[best] < math.huge then
         return model.choose("gain", scores[best])
      end
      return model.choose("bound", BOUND)
   end

   -- What a score less by one is worth near the best, as a part of the time: by the best quarter of the results.
   local function worth_of_score()
      local order = {}
      for i, time in ipairs(times) do
         if time < math.huge then
            table.insert(order, i)
         end
      end
      table.sort(order, function(a, b)
         return times[a] < times[b]
      end)
      local other = order[(#order + 3) // 4]
      if #order < FIRST or scores[other] <= scores[best] then
         return math.huge
      end
      return math.log(times[other] / times[best]) / (scores[other] - scores[best])
   end

   -- Is too little to be gained? The model alone is too sure where few points of a space are good: so the
   -- results must have said the same for some time.
   local function has_enough()
      if #told - last_gain < PATIENCE then
         return false
      end
      local _, gain = model.choose("gain", scores[best])
      return (gain or 0) * HORIZON * worth_of_score() < options.stop_gain
   end

   local strategy = {}

   function strategy:next()
      if count == space.size then
         return nil, false
      end
      if outstanding >= FIRST + #told // RESULTS_A_POINT then
         return nil, true
      end
      at = at + 1
      if first[at] then
         return propose(first[at])
      end
      if count < first_count or #told == 0 then
         return propose(spread())
      end
      learn()
      if options.stop_gain > 0 and count < model.rows and has_enough() then
         return nil, false, string.format("expects to gain less than %g %% by %d more", options.stop_gain * 100, HORIZON)
      end
      return propose(choose() or draw())
   end

   function strategy:tell(point, median_ns, compile_ms)
      outstanding = outstanding - 1
      if not is_row[point] then
         return
      end
      model.tell(point)
      table.insert(told, point)
      table.insert(times, median_ns or math.huge)
      table.insert(compile_times, compile_ms or false)
      is_stale = true
      if not best or times[#times] < times[best] then
         best = #times
         model.gather(point)
      end
      if times[best] < time_then * (1 - options.stop_gain) then
         last_gain, time_then = #told, times[best]
      end
   end

   return strategy
end
