/* Registers the operators with torch, and calls them for it. */
#include "operators.h"

#include <string.h>
#include <triage.h>

/* ---- called by torch ---- */

static bool take(argument *out, const parameter *of, torch_cell cell) {
    torch_cell *given = NULL;
    switch (of->kind) {
    case TENSOR:
        return operand_take(&out->tensor, of->name, (torch_tensor)(uintptr_t)cell);
    case OPTIONAL_TENSOR:
    case OPTIONAL_TYPE:
        given = (torch_cell *)(uintptr_t)cell;
        out->tensor = (operand){.name = of->name};
        out->integer = -1;
        if (!given)
            return true;
        cell = *given;
        torch.delete_cell(given);
        out->integer = (int32_t)cell;
        return of->kind == OPTIONAL_TYPE ||
               operand_take(&out->tensor, of->name, (torch_tensor)(uintptr_t)cell);
    case TEXT:
        return torch.string_text((torch_string)(uintptr_t)cell, &out->text) == 0 ||
               fail("%s cannot be read", of->name);
    case NUMBER:
        memcpy(&out->number, &cell, sizeof out->number);
        return true;
    case TRUTH:
        out->integer = (int64_t)(cell & 1);
        return true;
    case INTEGER:
        out->integer = (int64_t)cell;
        return true;
    }
    return false;
}

static void release(argument *of, const parameter *as, torch_cell cell) {
    if (as->kind == TENSOR || as->kind == OPTIONAL_TENSOR)
        operand_release(&of->tensor);
    if (as->kind == TEXT)
        torch.delete_string((torch_string)(uintptr_t)cell);
}

static void call_for_torch(const operator_entry *op, torch_cell *stack, uint64_t results) {
    call of;
    bool done = true;
    memset(of.results, 0, sizeof of.results);
    of.text = NULL, of.is_direct = of.wants_torch = false;
    forget_failure();
    for (int i = 0; i < op->count; i++)
        done = take(&of.in[i], &op->parameters[i], stack[i]) && done;
    done = done && op->body(&of);
    for (int i = 0; i < op->count; i++)
        release(&of.in[i], &op->parameters[i], stack[i]);
    if (!done)
        throw_failure();
    if (of.text)
        stack[0] = (torch_cell)(uintptr_t)of.text;
    else
        for (uint64_t i = 0; i < results && i < MOST_RESULTS; i++)
            stack[i] = (torch_cell)(uintptr_t)of.results[i];
}

/* ---- the list ---- */

enum {
#define TRI_OPERATOR(name, schema) AT_##name,
#include "operators.def"
#undef TRI_OPERATOR
    OPERATORS
};

static operator_entry operators[OPERATORS];

#define TRI_OPERATOR(name, schema)                                                                           \
    static void kernel_##name(torch_cell *stack, uint64_t arguments, uint64_t results) {                     \
        (void)arguments;                                                                                     \
        call_for_torch(&operators[AT_##name], stack, results);                                               \
    }
#include "operators.def"
#undef TRI_OPERATOR

static operator_entry operators[OPERATORS] = {
#define TRI_OPERATOR(name, schema) {#name, #name schema, op_##name, kernel_##name, 0, 0, {{TENSOR, ""}}},
#include "operators.def"
#undef TRI_OPERATOR
};

const operator_entry *operator_named(const char *name) {
    for (int i = 0; i < OPERATORS; i++)
        if (strcmp(operators[i].name, name) == 0 && operators[i].count > 0)
            return &operators[i];
    return NULL;
}

/* "TYPE NAME" or "TYPE NAME=DEFAULT", as in a schema. */
static bool read_parameter(parameter *out, const char *text) {
    static const struct {
        const char *type;
        argument_kind kind;
    } kinds[] = {{"Tensor ", TENSOR},
                 {"Tensor(a!) ", TENSOR},
                 {"Tensor? ", OPTIONAL_TENSOR},
                 {"int ", INTEGER},
                 {"float ", NUMBER},
                 {"bool ", TRUTH},
                 {"str ", TEXT},
                 {"ScalarType? ", OPTIONAL_TYPE}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t type = strlen(kinds[i].type);
        if (strncmp(text, kinds[i].type, type) != 0)
            continue;
        size_t name = strcspn(text + type, "=,)");
        if (name >= sizeof out->name)
            return false;
        out->kind = kinds[i].kind;
        memcpy(out->name, text + type, name);
        out->name[name] = '\0';
        return true;
    }
    return false;
}

static bool read_schema(operator_entry *op) {
    const char *at = strchr(op->schema, '(') + 1, *end = strstr(op->schema, ") -> ");
    op->results = strstr(end, "(Tensor, Tensor)") ? 2 : 1;
    for (op->count = 0; at && at < end; op->count++) {
        if (op->count == MOST_ARGUMENTS || !read_parameter(&op->parameters[op->count], at))
            return false;
        at = strstr(at, ", ");
        at = at ? at + 2 : NULL;
    }
    return true;
}

/* The libraries that hold the registrations stay for as long as the process: torch calls what is registered. */
static bool implement_on(const char *key) {
    torch_library library = NULL;
    if (torch.implement_library("triage", key, __FILE__, __LINE__, &library))
        return false;
    for (int i = 0; i < OPERATORS; i++)
        if (torch.implement(library, operators[i].name, operators[i].kernel, TORCH_ABI_VERSION))
            return false;
    return true;
}

TRIAGE_API const char *triage_torch_register(void);

/* Once, after torch is loaded. What went wrong, or NULL. */
const char *triage_torch_register(void) {
    torch_library library = NULL;
    const char *missing = torch_abi_load();
    if (missing)
        return missing;
    if (torch.define_library("triage", __FILE__, __LINE__, &library))
        return "a library named triage";
    for (int i = 0; i < OPERATORS; i++)
        if (!read_schema(&operators[i]) || torch.define(library, operators[i].schema))
            return operators[i].name;
    return implement_on("CPU") && implement_on("CUDA") ? NULL : "an operator's registration";
}
