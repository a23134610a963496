/* Operators called by Python itself, past torch's dispatcher: what a call costs is mostly the dispatcher's boxing of ten
 * arguments. It is done where nothing of torch has a say: no gradient is asked, no mode or transform is on, the tensors are plain.
 * Tensors are read through DLPack's exchange API, which torch has since 2.10. */
#include <stdlib.h>
#include <string.h>
#include <triage.h>

#include "operators.h"
#include "python_abi.h"

/* ---- DLPack 1.x, what of it is used ---- */

typedef struct dl_tensor {
    void *data;
    struct {
        int32_t type, index;
    } device;
    int32_t dim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *sizes, *strides;
    uint64_t byte_offset;
} dl_tensor;

typedef struct dl_exchange {
    struct {
        uint32_t major, minor;
    } version;
    void *before, *allocate, *managed_from_python, *managed_to_python;
    int (*view)(void *py_object, dl_tensor *out); /* borrowed; -1: Python's error is set */
} dl_exchange;

enum { DL_CPU = 1, DL_CUDA = 2 };
enum { DL_INT = 0, DL_FLOAT = 2, DL_BFLOAT = 4, DL_E4M3 = 10 };

/* ---- what Python gives (_native.py) ---- */

enum {
    EXCHANGE,
    MAKE_TENSOR,
    TENSOR_TYPE,
    PARAMETER_TYPE,
    IS_NEGATED,
    GRADIENTS_ON,
    ERROR,
    WITNESSES,
    GIVEN
};

static py_object *given[GIVEN], *requires_grad;
static const dl_exchange *exchange;

/* What calling it gives, as a truth; a failure counts as true: whoever asks then leaves the call to torch. */
static bool is_true(py_object *function, py_object *of) {
    py_object *result = of ? python.call(function, of, NULL) : python.call_bare(function);
    bool is = !result || (result != python.no && python.is_true(result) != 0);
    if (result)
        python.drop(result);
    return is;
}

/* Modes, transforms, autocast, tracing. */
static bool has_a_witness(void) {
    py_size count = python.item_count(given[WITNESSES]);
    for (py_size i = 0; i < count; i++)
        if (is_true(python.item(given[WITNESSES], i), NULL))
            return true;
    return false;
}

/* ---- arguments ---- */

static bool type_of(int32_t *out, const dl_tensor *t) {
    const struct {
        uint8_t code, bits;
        int32_t type;
    } types[] = {{DL_FLOAT, 16, torch.float16()},
                 {DL_BFLOAT, 16, torch.bfloat16()},
                 {DL_FLOAT, 32, torch.float32()},
                 {DL_INT, 32, torch.int32()},
                 {DL_E4M3, 8, torch.float8_e4m3fn()}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (t->dtype.code == types[i].code && t->dtype.bits == types[i].bits && t->dtype.lanes == 1) {
            *out = types[i].type;
            return true;
        }
    return false;
}

/* torch.Tensor or Parameter itself, no subclass; no gradient is asked of it; its numbers are those in memory. */
static bool is_plain(py_object *tensor, bool gradients) {
    py_object *type = python.type(tensor);
    python.drop(type); /* the tensor has it */
    if (type != given[TENSOR_TYPE] && type != given[PARAMETER_TYPE])
        return false;
    if (gradients) {
        py_object *wants = python.attribute(tensor, requires_grad);
        if (!wants)
            return false;
        python.drop(wants);
        if (wants != python.no)
            return false;
    }
    return true;
}

static bool take_tensor(operand *out, const char *name, py_object *tensor, bool gradients) {
    dl_tensor t;
    int32_t type = 0;
    if (!is_plain(tensor, gradients) || exchange->view(tensor, &t) != 0 || !type_of(&type, &t) ||
        (t.device.type != DL_CPU && t.device.type != DL_CUDA))
        return false;
    *out = (operand){.name = name,
                     .is_given = true,
                     .data = (char *)t.data + t.byte_offset,
                     .dim = t.dim,
                     .sizes = t.sizes,
                     .strides = t.strides,
                     .type = type,
                     .device_type = t.device.type == DL_CPU ? torch.type_cpu() : torch.type_cuda(),
                     .device_index = t.device.type == DL_CPU ? -1 : t.device.index};
    if (!t.data && operand_count(out) > 0)
        return false;
    return type == torch.int32() || !is_true(given[IS_NEGATED], tensor);
}

static bool take(argument *out, const parameter *of, py_object *from, bool gradients) {
    switch (of->kind) {
    case TENSOR:
        return take_tensor(&out->tensor, of->name, from, gradients);
    case OPTIONAL_TENSOR:
        out->tensor = (operand){.name = of->name};
        return from == python.none || take_tensor(&out->tensor, of->name, from, gradients);
    case OPTIONAL_TYPE:
        out->integer = -1;
        return from == python.none;
    case TEXT:
        return (out->text = python.text(from, NULL)) != NULL;
    case NUMBER:
        out->number = python.number(from);
        return out->number != -1 || !python.error();
    case TRUTH:
        out->integer = from == python.yes;
        return from == python.yes || from == python.no;
    case INTEGER:
        out->integer = python.integer(from);
        return out->integer != -1 || !python.error();
    }
    return false;
}

/* Arguments that are left out are optional ones. */
static bool take_all(call *of, const operator_entry *op, py_object *const *arguments, py_size count) {
    bool gradients = is_true(given[GRADIENTS_ON], NULL);
    for (int i = 0; i < op->count; i++)
        if (!take(&of->in[i], &op->parameters[i], i < count ? arguments[i] : python.none, gradients))
            return false;
    return count <= op->count;
}

/* ---- results ---- */

/* The tensor as Python's, which owns it; None for none. */
static py_object *wrap(torch_tensor handle) {
    if (!handle) {
        python.own(python.none);
        return python.none;
    }
    py_object *capsule = python.new_capsule(handle, NULL, NULL);
    py_object *tensor = capsule ? python.call(given[MAKE_TENSOR], capsule, NULL) : NULL;
    if (capsule)
        python.drop(capsule);
    if (!tensor)
        torch.delete_tensor(handle);
    return tensor;
}

static py_object *give(const call *of, const operator_entry *op) {
    py_object *first = wrap(of->results[0]);
    if (op->results == 1)
        return first;
    py_object *second = wrap(of->results[1]), *pair = first && second ? python.new_tuple(2) : NULL;
    if (pair) {
        python.set_item(pair, 0, first);
        python.set_item(pair, 1, second);
        return pair;
    }
    if (first)
        python.drop(first);
    if (second)
        python.drop(second);
    return NULL;
}

static py_object *leave_to_torch(void) {
    python.forget_error();
    python.own(python.not_implemented);
    return python.not_implemented;
}

/* self: a capsule of the operator's entry. NotImplemented: torch is to call it. Other threads of Python run meanwhile. */
static py_object *call_directly(py_object *self, py_object *const *arguments, py_size count) {
    const operator_entry *op = python.capsule_pointer(self, NULL);
    call of;
    memset(of.results, 0, sizeof of.results);
    of.text = NULL, of.is_direct = true, of.wants_torch = false;
    if (!op || has_a_witness() || !take_all(&of, op, arguments, count))
        return leave_to_torch();
    forget_failure();
    py_thread *thread = python.leave();
    bool done = op->body(&of);
    python.enter(thread);
    if (of.wants_torch)
        return leave_to_torch();
    if (done)
        return give(&of, op);
    python.raise(given[ERROR], failure_text());
    return NULL;
}

/* ---- what Python calls, holding its lock ---- */

TRIAGE_API bool triage_torch_direct_begin(py_object *objects);
TRIAGE_API py_object *triage_torch_direct(const char *name);

/* objects: a tuple, in the order of `given`. False: operators are called by torch only. */
bool triage_torch_direct_begin(py_object *objects) {
    if (!python_abi_load() || python.item_count(objects) != GIVEN)
        return false;
    for (int i = 0; i < GIVEN; i++) {
        given[i] = python.item(objects, i);
        python.own(given[i]); /* for as long as the process */
    }
    requires_grad = python.intern("requires_grad");
    exchange = python.capsule_pointer(given[EXCHANGE], "dlpack_exchange_api");
    if (!exchange)
        python.forget_error();
    return exchange && exchange->version.major == 1 && exchange->view;
}

/* A function of Python's that runs that operator; its arguments are the operator's, by place. */
py_object *triage_torch_direct(const char *name) {
    static py_method method = {"direct", call_directly, PY_FAST, NULL};
    const operator_entry *op = operator_named(name);
    void *entry = NULL;
    memcpy(&entry, &op, sizeof entry);
    py_object *self = python.new_capsule(entry, NULL, NULL);
    py_object *function = self ? python.new_function(&method, self, NULL) : NULL;
    if (self)
        python.drop(self);
    return function;
}
