#include "operand.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ALIGNMENT 16 /* bytes, of all that the C interface takes */

/* ---- failures ---- */

static _Thread_local char failure[1024];

bool fail(const char *format, ...) {
    va_list arguments;
    if (failure[0])
        return false;
    va_start(arguments, format);
    vsnprintf(failure, sizeof failure, format, arguments);
    va_end(arguments);
    return false;
}

bool succeeded(triage_status status) {
    return status == TRIAGE_OK || fail("%s: %s", triage_status_name(status), triage_last_error());
}

void forget_failure(void) {
    failure[0] = '\0';
}

const char *failure_text(void) {
    return failure;
}

void throw_failure(void) {
    char line[sizeof failure + 16];
    snprintf(line, sizeof line, "triage: %s", failure);
    torch.fail(false, "triage", "", 0, line);
    __builtin_unreachable();
}

/* ---- what a tensor is ---- */

static bool read_facts(operand *o) {
    int64_t *sizes = NULL, *strides = NULL;
    if (torch.dim(o->handle, &o->dim) || torch.sizes(o->handle, &sizes) ||
        torch.strides(o->handle, &strides) || torch.dtype(o->handle, &o->type) ||
        torch.device_type(o->handle, &o->device_type) || torch.device_index(o->handle, &o->device_index))
        return fail("%s is no strided tensor", o->name);
    o->sizes = sizes, o->strides = strides;
    return torch.data(o->handle, &o->data) == 0 || fail("%s has no memory of its own", o->name);
}

bool operand_take(operand *out, const char *name, torch_tensor handle) {
    *out = (operand){.name = name, .is_given = true, .handle = handle};
    return read_facts(out);
}

void operand_release(operand *of) {
    if (of->handle)
        torch.delete_tensor(of->handle);
    *of = (operand){.name = of->name};
}

bool operand_make(operand *out, const char *name, const operand *device_of, int32_t type, int64_t dim,
                  const int64_t *sizes, const int64_t *strides) {
    torch_tensor made = NULL;
    *out = (operand){.name = name};
    if (torch.empty(dim, sizes, strides, type, device_of->device_type, device_of->device_index, &made))
        return fail("no memory for %s", name);
    return operand_take(out, name, made);
}

int64_t operand_count(const operand *of) {
    int64_t count = 1;
    for (int64_t i = 0; i < of->dim; i++)
        count *= of->sizes[i];
    return count;
}

bool operand_is_contiguous(const operand *of) {
    int64_t step = 1;
    for (int64_t i = of->dim; i-- > 0;) {
        if (of->sizes[i] != 1 && of->strides[i] != step)
            return operand_count(of) == 0;
        step *= of->sizes[i];
    }
    return true;
}

/* ---- types ---- */

bool operand_dtype(triage_dtype *out, const operand *of) {
    if (of->type == torch.float32())
        *out = TRIAGE_F32;
    else if (of->type == torch.float16())
        *out = TRIAGE_F16;
    else if (of->type == torch.bfloat16())
        *out = TRIAGE_BF16;
    else if (of->type == torch.float8_e4m3fn())
        *out = TRIAGE_E4M3;
    else
        return fail("%s is %s; must be float32, float16, bfloat16 or float8_e4m3fn", of->name,
                    type_name(of->type));
    return true;
}

const char *type_name(int32_t type) {
    const struct {
        int32_t type;
        const char *name;
    } all[] = {{torch.float32(), "float32"},   {torch.float16(), "float16"},
               {torch.bfloat16(), "bfloat16"}, {torch.float8_e4m3fn(), "float8_e4m3fn"},
               {torch.float64(), "float64"},   {torch.int8(), "int8"},
               {torch.uint8(), "uint8"},       {torch.int16(), "int16"},
               {torch.int32(), "int32"},       {torch.int64(), "int64"},
               {torch.boolean(), "bool"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].type == type)
            return all[i].name;
    return "of another type";
}

/* ---- what is allowed ---- */

static void write_numbers(char out[160], const int64_t *numbers, int64_t count) {
    size_t size = (size_t)snprintf(out, 160, "(");
    for (int64_t i = 0; i < count && size < 120; i++)
        size += (size_t)snprintf(out + size, 160 - size, "%s%" PRId64, i ? ", " : "", numbers[i]);
    snprintf(out + size, 160 - size, ")");
}

bool require_type(const operand *of, int32_t type, const char *why) {
    return !of->is_given || of->type == type ||
           fail("%s is %s; must be %s%s", of->name, type_name(of->type), type_name(type), why);
}

bool require_dim(const operand *of, int64_t least, int64_t most) {
    char sizes[160];
    if (!of->is_given || (of->dim >= least && of->dim <= most))
        return true;
    write_numbers(sizes, of->sizes, of->dim);
    if (least == most)
        return fail("%s has the shape %s; must have %" PRId64 " dimension%s", of->name, sizes, least,
                    least == 1 ? "" : "s");
    return fail("%s has the shape %s; must have %" PRId64 " dimensions or more", of->name, sizes, least);
}

bool require_size(const operand *of, int64_t at, int64_t size, const char *why) {
    char sizes[160];
    if (!of->is_given || of->sizes[at] == size)
        return true;
    write_numbers(sizes, of->sizes, of->dim);
    return fail("%s has the shape %s; its size %" PRId64 " must be %" PRId64 ", %s", of->name, sizes, at,
                size, why);
}

bool require_contiguous(const operand *of) {
    char strides[160];
    if (!of->is_given || operand_is_contiguous(of))
        return true;
    write_numbers(strides, of->strides, of->dim);
    return fail("%s has the strides %s; must be contiguous", of->name, strides);
}

static void write_device(char out[32], const operand *of) {
    if (of->device_type == torch.type_cpu())
        snprintf(out, 32, "cpu");
    else if (of->device_type == torch.type_cuda())
        snprintf(out, 32, "cuda:%d", of->device_index);
    else
        snprintf(out, 32, "another device");
}

bool require_device(const operand *of, const operand *like) {
    char is[32], must[32];
    if (!of->is_given || (of->device_type == like->device_type &&
                          (of->device_type == torch.type_cpu() || of->device_index == like->device_index)))
        return true;
    write_device(is, of);
    write_device(must, like);
    return fail("%s is on %s; must be on %s, where %s is", of->name, is, must, like->name);
}

bool require_aligned(const operand *of) {
    return !of->is_given || (uintptr_t)of->data % ALIGNMENT == 0 || operand_count(of) == 0 ||
           fail("%s begins at %p; must begin at a multiple of %d bytes", of->name, of->data, ALIGNMENT);
}

bool require_word(int *out, const char *name, const char *text, const char *const words[4],
                  const char *allowed) {
    for (*out = 0; *out < 4; ++*out)
        if (strcmp(words[*out], text) == 0)
            return true;
    return fail("%s is '%.40s'; must be %s", name, text, allowed);
}
