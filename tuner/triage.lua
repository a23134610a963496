-- The vocabulary of space files: triage.space{...}, triage.kernel{...} and triage.later(name, part).
--
-- Everything that has an order is a list: axes, values, constraints, parameters. A table keyed by name
-- has no order in Lua, so it is used only where none shows.
--
-- A space file sees three tables in its functions:
--   p  the problem  m n k ldb ldc (elements), block_m block_k (elements), nnzb block_rows block_cols (blocks),
--                   in_type out_type ("f32" "f16" "bf16" "e4m3"), in_size out_size (bytes),
--                   scale ("none"; of e4m3 "tensor": args.scale_a is one number, "block": one a stored block),
--                   b_layout c_layout ("row" "col"), activation ("none" "relu" "gelu" "silu"), bias,
--                   transposed (A's blocks are stored as those of its transpose),
--                   density (0..1), imbalance (longest / mean block row), overlap (0..1)
--   c  the config   one field an axis
--   d  the device   target backend cc sm_count smem_bytes_max l2_bytes memory_bytes clock_khz
-- They can be read, not written. What a function changes in the tables of the space after triage.space counts for
-- nothing: they are read once.
--
-- A parameter's value is one name or one number (at most 64 characters: 128, -1, 0.5f, 0x1F, float), for it is put
-- into a program. A compiler option is one of a short list, for it is put onto a command line: -DNAME, -DNAME=value;
-- host: -O1 to -O3, -ffast-math, -fno-math-errno, -funroll-loops, -fno-tree-vectorize,
-- -mprefer-vector-width=128|256|512; cuda: --maxrregcount=N, --use_fast_math, --extra-device-vectorization,
-- --fmad= --ftz= --prec-div= --prec-sqrt= true or false. Anything else is refused.
--
-- This file only checks and puts in order; src/space reads the result.

-- Kept from here on: a space file may set what it likes in the tables of the language.
local error, ipairs, pairs, tostring, type = error, ipairs, pairs, tostring, type
local format, math_type = string.format, math.type

local native = ... -- where, is_name, is_text, is_target, resource_exists, register: src/space/model.c

local triage = {}

-- An error at a line of the space file.
local function fail_at(where, text, ...)
   error(where .. format(text, ...), 0)
end

-- ... at the line that called us. (None after `return triage.space{...}`: Lua forgets a tail call's.)
local function fail(text, ...)
   fail_at(native.where(), text, ...)
end

local function show(value)
   return type(value) == "string" and "'" .. value .. "'" or tostring(value)
end

local function expect(kind, value, what)
   if type(value) ~= kind then
      fail("%s must be a %s, not %s", what, kind, value == nil and "missing" or show(value))
   end
   return value
end

local function expect_name(value, what)
   if not native.is_name(value) then
      fail("%s must be a name of a-z, 0-9 and _, not %s", what, show(value))
   end
   return value
end

local function expect_list(value, what)
   expect("table", value, what)
   if #value == 0 then
      fail("%s has nothing in it", what)
   end
   return value
end

-- A field that nobody reads is a typing error.
local function expect_fields(t, names, what)
   local known = {}
   for _, name in ipairs(names) do
      known[name] = true
   end
   for key in pairs(t) do
      if not known[key] then
         fail("%s has an unknown field %s", what, show(key))
      end
   end
end

local function template_of(t, what)
   local template = expect("string", t.template, what .. ": template")
   if not native.resource_exists(template) then
      fail("%s: there is no template %s", what, show(template))
   end
   return template
end

local function axis_values(values, what)
   local seen, out = {}, {}
   for i, value in ipairs(expect_list(values, what)) do
      if math_type(value) ~= "integer" and not native.is_text(value) then
         fail("%s: a value must be an integer or a word of a-z, 0-9 and _, not %s", what, show(value))
      end
      if seen[tostring(value)] then
         fail("%s has %s twice", what, show(value))
      end
      seen[tostring(value)] = true
      out[i] = value
   end
   return out
end

local function axes_of(list, what)
   local seen, out = {}, {}
   for i, axis in ipairs(expect("table", list, what .. ": axes")) do
      expect("table", axis, what .. ": an axis")
      local name = expect_name(axis[1], what .. ": an axis's name")
      if seen[name] then
         fail("%s: axis %s is there twice", what, name)
      end
      seen[name] = true
      out[i] = { name = name, values = axis_values(axis[2], what .. ": axis " .. name) }
   end
   return out
end

local function constraints_of(list, what)
   local out = {}
   for i, constraint in ipairs(expect("table", list or {}, what .. ": constraints")) do
      expect("table", constraint, what .. ": a constraint")
      local reason = constraint[1]
      if type(reason) ~= "string" or reason == "" then
         fail("%s: constraint %d has no name: it is the reason shown to the user", what, i)
      end
      expect("function", constraint[2], what .. ": constraint '" .. reason .. "'")
      out[i] = { reason = reason, legal = constraint[2] }
   end
   return out
end

-- The position of each axis's value: what C keeps of a default.
local function default_of(default, axes, what)
   local out, names = {}, {}
   for i, axis in ipairs(axes) do
      names[i] = axis.name
      for at, value in ipairs(axis.values) do
         if value == default[axis.name] then
            out[i] = at
         end
      end
      if not out[i] then
         fail("%s: the default's %s = %s is not on its axis", what, axis.name, show(default[axis.name]))
      end
   end
   expect_fields(default, names, what .. ": the default")
   return out
end

-- One table, or a list of them in order of preference: the first legal one is taken.
local function defaults_of(t, axes, what)
   local list, out = expect("table", t.default, what .. ": default"), {}
   if list[1] == nil then
      list = { list }
   end
   for i, default in ipairs(list) do
      out[i] = default_of(expect("table", default, what .. ": a default"), axes, what)
   end
   return out
end

local function targets_of(list, what)
   local out = {}
   for i, target in ipairs(expect_list(list, what .. ": targets")) do
      if not native.is_target(target) then
         fail("%s: a target is \"host\", \"sm_90a\" or \"sm_80+\", not %s", what, show(target))
      end
      out[i] = target
   end
   return out
end

-- One family of configurations over one template. Fields: see tuner/spaces/bsr_gemm/panel.lua.
function triage.kernel(t)
   expect("table", t, "triage.kernel's argument")
   local name = expect_name(t.name, "a kernel's name")
   local what = "kernel " .. name
   expect_fields(t, { "name", "template", "targets", "axes", "constraints", "params", "options", "launch",
                      "default", "spill_limit", "checked_against" }, what)
   local axes = axes_of(t.axes, what)
   local spill_limit = t.spill_limit or 0
   if math_type(spill_limit) ~= "integer" or spill_limit < 0 or spill_limit > 65536 then
      fail("%s: spill_limit must be 0 .. 65536 bytes, not %s", what, show(spill_limit))
   end
   return {
      where = native.where(),
      name = name,
      template = template_of(t, what),
      targets = targets_of(t.targets, what),
      axes = axes,
      constraints = constraints_of(t.constraints, what),
      params = expect("function", t.params, what .. ": params"),
      options = t.options and expect("function", t.options, what .. ": options"),
      launch = expect("function", t.launch, what .. ": launch"),
      defaults = defaults_of(t, axes, what),
      spill_limit = spill_limit,
      checked_against = expect("string", t.checked_against, what .. ": checked_against"),
   }
end

local function reference_of(t, what)
   expect_fields(t, { "template", "params", "options", "launch" }, what)
   return {
      template = template_of(t, what),
      params = expect("function", t.params, what .. ": params"),
      options = t.options and expect("function", t.options, what .. ": options"),
      launch = expect("function", t.launch, what .. ": launch"),
   }
end

-- The plain kernels that results are checked against, one a backend.
local function references_of(t)
   local out = {}
   expect_fields(expect("table", t, "reference"), { "cuda", "host" }, "reference")
   for _, backend in ipairs { "cuda", "host" } do
      if t[backend] then
         out[backend] = reference_of(expect("table", t[backend], "reference." .. backend), "reference." .. backend)
      end
   end
   return out
end

-- A kernel of a part, which is read when the kernel is first asked for: what the part returns, or the field of that name.
function triage.later(name, part)
   local where = native.where()
   expect_name(name, "triage.later's name")
   expect("string", part, "triage.later's part")
   return { where = where, name = name, later = function()
      local made = expect("table", require(part), part)
      return made.name == name and made or made[name]
   end }
end

local function check_kernel(kernel, reference, where, what)
   if type(kernel) ~= "table" or not kernel.where then
      fail_at(where, "%s, not %s", what, show(kernel))
   end
   if not kernel.later and not reference[kernel.checked_against] then
      fail_at(kernel.where, "kernel %s: checked_against %s is not under reference", kernel.name,
              show(kernel.checked_against))
   end
   return kernel
end

local function checked_later(kernel, reference)
   local what = "kernel " .. kernel.name .. " must come from triage.kernel{...}"
   return { name = kernel.name, later = function()
      return check_kernel(kernel.later(), reference, kernel.where, what)
   end }
end

local function kernels_of(list, reference)
   local seen, out = {}, {}
   for i, kernel in ipairs(expect_list(list, "kernels")) do
      check_kernel(kernel, reference, native.where(), "kernels must be a list of triage.kernel{...}")
      if seen[kernel.name] then
         fail_at(kernel.where, "kernel %s is there twice", kernel.name)
      end
      seen[kernel.name] = true
      out[i] = kernel.later and checked_later(kernel, reference) or kernel
   end
   return out
end

-- The whole file: return triage.space{...}
function triage.space(t)
   expect("table", t, "triage.space's argument")
   expect_fields(t, { "name", "op", "reference", "kernels" }, "the space")
   local reference = references_of(t.reference)
   return native.register {
      name = expect_name(t.name or t.op, "the space's name"),
      op = expect_name(t.op, "op"),
      reference = reference,
      kernels = kernels_of(t.kernels, reference),
   }
end

return triage
