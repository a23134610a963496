/* Spaces of a stranger: one right space, of which some callback changes a field to a value of another type or size. */
#ifndef TRIAGE_TESTS_ATTACK_SPACE_MUTATIONS_H
#define TRIAGE_TESTS_ATTACK_SPACE_MUTATIONS_H

#include "base/base.h"

/* Who makes the change, and when. */
static const char *const mutation_hooks[] = {"load",   "constraint", "params",          "options",
                                             "launch", "reference",  "reference_launch"};

/* What is changed; a result is what the callback returns. */
static const char *const mutation_fields[] = {"s.name",
                                              "s.op",
                                              "s.reference",
                                              "s.reference.cuda",
                                              "s.reference.cuda.template",
                                              "s.reference.cuda.params",
                                              "s.reference.cuda.launch",
                                              "s.kernels",
                                              "s.kernels[1]",
                                              "k.where",
                                              "k.name",
                                              "k.template",
                                              "k.targets",
                                              "k.targets[1]",
                                              "k.axes",
                                              "k.axes[1]",
                                              "k.axes[1].name",
                                              "k.axes[1].values",
                                              "k.axes[1].values[1]",
                                              "k.constraints",
                                              "k.constraints[1]",
                                              "k.constraints[1].reason",
                                              "k.constraints[1].legal",
                                              "k.params",
                                              "k.options",
                                              "k.launch",
                                              "k.defaults",
                                              "k.defaults[1]",
                                              "k.defaults[1][1]",
                                              "k.spill_limit",
                                              "k.checked_against",
                                              "k.later",
                                              "p.m",
                                              "c.tile",
                                              "d.sm_count",
                                              "result",
                                              "result[1]",
                                              "result[2]",
                                              "result[1][1]",
                                              "result[1][2]",
                                              "result.grid",
                                              "result.grid[1]",
                                              "result.block",
                                              "result.cluster",
                                              "result.smem_bytes",
                                              "result.workspace_bytes",
                                              "result.map_b",
                                              "result.map_b.rank",
                                              "result.map_b.box",
                                              "result.map_b.box[2]",
                                              "result.panel_columns",
                                              "result.gather",
                                              "result.other",
                                              "string",
                                              "table",
                                              "math",
                                              "string.format",
                                              "table.insert",
                                              "type",
                                              "ipairs",
                                              "pairs",
                                              "error",
                                              "tostring",
                                              "next",
                                              "triage",
                                              "triage.kernel",
                                              "require"};

static const char *const mutation_values[] = {"0x414141414141",
                                              "-1",
                                              "0",
                                              "7",
                                              "math.maxinteger",
                                              "math.mininteger",
                                              "1.5",
                                              "0/0",
                                              "1e300",
                                              "\"text\"",
                                              "\"\"",
                                              "(\"x\"):rep(100000)",
                                              "\"a\\0b\"",
                                              "\"int x; int\"",
                                              "\"templates/../../../etc/passwd\"",
                                              "true",
                                              "false",
                                              "nil",
                                              "{}",
                                              "{ 1, 2, 3 }",
                                              "{ { } }",
                                              "{ { 1, 2 }, { \"-o\", \"x\" } }",
                                              "{ \"-o\", \"pwned\" }",
                                              "holes",
                                              "itself",
                                              "s",
                                              "k",
                                              "p",
                                              "c",
                                              "_G",
                                              "string",
                                              "function() end",
                                              "function() return {} end",
                                              "function() return 0x4242424242 end",
                                              "tostring",
                                              "string.rep"};

/* The text of one; every choice from the seed. */
static triage_status write_mutation(tri_text *out, uint64_t seed) {
    tri_random random;
    tri_random_seed(&random, seed);
#define PICK(list) list[tri_random_below(&random, sizeof list / sizeof list[0])]
    const char *hook = PICK(mutation_hooks), *field = PICK(mutation_fields), *value = PICK(mutation_values);
    const char *second = PICK(mutation_fields), *second_value = PICK(mutation_values);
#undef PICK
    return tri_text_format(
        out,
        "local s, k\n"
        "local holes = {}\n"
        "for i = 0, 61 do holes[1 << i] = 1 end\n"
        "local itself = {}\n"
        "itself[1], itself[2], itself.legal = itself, itself, itself\n"
        "local function at(hook, result, p, c, d)\n"
        "   if hook == \"%s\" then\n"
        "      %s = %s\n"
        "      if p and p.n == 101 then %s = %s end\n"
        "   end\n"
        "   return result\n"
        "end\n"
        "local reference = {\n"
        "   template = \"templates/bsr_gemm/reference.cu\",\n"
        "   params = function(p, c, d) return at(\"reference\", { { \"block_m\", p.block_m } }, p, c, d) "
        "end,\n"
        "   launch = function(p, c, d) return at(\"reference_launch\", { grid = { 1 } }, p, c, d) end,\n"
        "}\n"
        "k = triage.kernel {\n"
        "   name = \"k\", template = \"templates/bsr_gemm/wmma.cu\", targets = { \"sm_80+\" },\n"
        "   checked_against = \"cuda\",\n"
        "   axes = { { \"tile\", { 1, 2 } }, { \"mode\", { \"x\", \"y\" } } },\n"
        "   constraints = {\n"
        "      { \"positive\", function(p, c, d) return at(\"constraint\", c.tile > 0, p, c, d) end },\n"
        "      { \"x\", function(p, c) return c.mode == \"x\" end },\n"
        "   },\n"
        "   params = function(p, c, d) return at(\"params\", { { \"tile\", c.tile }, { \"n\", p.n } }, p, c, "
        "d) end,\n"
        "   options = function(p, c, d) return at(\"options\", { \"-DX=1\" }, p, c, d) end,\n"
        "   launch = function(p, c, d)\n"
        "      return at(\"launch\", { grid = { 1, 2 }, map_b = { rank = 2, box = { 64, 64 } } }, p, c, d)\n"
        "   end,\n"
        "   default = { tile = 1, mode = \"x\" },\n"
        "}\n"
        "s = triage.space { op = \"bsr_gemm\", reference = { cuda = reference }, kernels = { k } }\n"
        "at(\"load\", { { 1, 2 }, grid = { 1 }, map_b = { box = {} } })\n"
        "return s\n",
        hook, field, value, second, second_value);
}

#endif
