"""What torch knows of the operators beside their kernels: fake ones for tracing, gradients, autocast.

torch.ops.triage has bsr_linear, bsr_mm, bsr_mm_out, and for their gradients bsr_sddmm (the product of two dense matrices, on the
stored blocks only) and bsr_linear_transposed (with the transpose of the same stored blocks). Where triage's kernels for that are
slow, on other GPUs than sm_90 and for other blocks than theirs, bsr_linear_grad_x makes a transposed copy of the matrix instead.
"""
from typing import Any, Callable, Iterator, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd import forward_ad, profiler
from torch.compiler import is_dynamo_compiling

from ._matrix import transpose_pattern
from ._native import TriageError, direct

ops = torch.ops.triage
_library = torch.library.Library("triage", "FRAGMENT")


observer: Optional[Callable[[Any, Tuple[Any, ...]], None]] = None  # of calls that are not traced: _record.py


# ---- what is refused ----

_TYPES = {"Tensor": Tensor, "str": str, "int": int, "float": (int, float), "bool": bool, "ScalarType": torch.dtype}
_DTYPES = {torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64, torch.int8, torch.uint8, torch.int16,
           torch.int32, torch.int64, torch.bool}  # those that the kernels' own refusals name


def _kind(given: Any) -> str:
    """What of a tensor no kernel can be given; empty: nothing."""
    if given.is_nested:
        return "a nested tensor; must be a strided one"
    if given.layout is not torch.strided:
        return f"a {given.layout} tensor; must be a strided one"
    if given.device.type not in ("cpu", "cuda", "meta"):
        return f"on {given.device}; must be on the CPU or on a CUDA device"
    return "" if given.dtype in _DTYPES else f"{given.dtype}; must be float32, float16, bfloat16 or float8_e4m3fn"


def _misfits(op: Any, arguments: Tuple[Any, ...]) -> Iterator[str]:
    """Arguments that torch or Python refuse, in words that say too little."""
    for argument, given in zip(op._schema.arguments, arguments):
        wanted = str(argument.real_type)
        is_optional = wanted.startswith("Optional[")
        wanted = wanted[len("Optional["):-1] if is_optional else wanted
        if given is None and is_optional:
            continue
        if not isinstance(given, _TYPES[wanted]):
            yield f"{argument.name} is a {type(given).__name__}; must be of type {wanted}{' or None' if is_optional else ''}"
        elif isinstance(given, Tensor) and _kind(given):
            yield f"{argument.name} is {_kind(given)}"


def _refusal(op: Any, arguments: Tuple[Any, ...], error: Exception) -> Exception:
    """What the caller sees of an error: one line that names the operand, or the error itself where it is not a refusal."""
    for misfit in _misfits(op, arguments):
        return TriageError(misfit)
    text = str(error).split("\n", 1)[0]
    return TriageError(text[len("triage: "):]) if text.startswith("triage: ") else error


def _refuse_tangents(op: Any, arguments: Tuple[Any, ...]) -> None:
    """Forward-mode derivatives would be lost without a word."""
    for argument, given in zip(op._schema.arguments, arguments):
        if isinstance(given, Tensor) and forward_ad.unpack_dual(given).tangent is not None:
            raise TriageError(f"{argument.name} has a forward-mode tangent; triage has backward derivatives only: must have none")


# ---- calls ----

class Operator:
    """One of torch.ops.triage, and the short way to it: direct (native/direct.c) is what it costs without torch's dispatcher, or
    NotImplemented where that is needed. places: of the arguments that may have gradients."""
    __slots__ = ("op", "direct", "places", "count", "eager")

    def __init__(self, op: Any, *places: int, is_native: bool = True) -> None:
        self.op, self.places, self.count = op, places, len(op._schema.arguments)
        self.direct = direct(op._schema.name.split("::")[1]) if is_native else lambda *_: NotImplemented
        self.eager: Any = None  # an autograd.Function with the same gradients, a third of torch.library's price


LINEAR, MM = Operator(ops.bsr_linear.default, 0, 3, 5), Operator(ops.bsr_mm.default, 2, 4, 5)
MM_OUT, MM_CHOICE = (Operator(op.default, is_native=False) for op in (ops.bsr_mm_out, ops.bsr_mm_choice))
TRANSPOSED, SDDMM = Operator(ops.bsr_linear_transposed.default), Operator(ops.bsr_sddmm.default)
ATTENTION, VARLEN, KVCACHE, SPARSE = (Operator(op.default, 0, 1, 2) for op in (
    ops.attention, ops.attention_varlen, ops.attention_kvcache, ops.sparse_attention))
SELECT = Operator(ops.select_blocks.default)


def _shortly(operator: Operator, arguments: Tuple[Any, ...]) -> Any:
    """NotImplemented: not to be had now."""
    if forward_ad._current_level >= 0 or profiler._is_profiler_enabled:  # who profiles wants to see the operator
        return NotImplemented
    return operator.direct(*arguments)


def _wants_gradient(operator: Operator, arguments: Tuple[Any, ...]) -> bool:
    if torch.is_grad_enabled():
        for at in operator.places:
            if at < len(arguments) and isinstance(arguments[at], Tensor) and arguments[at].requires_grad:
                return True
    return False


def _below_autograd(operator: Operator, arguments: Tuple[Any, ...]) -> Any:
    """Past the Python of autograd, which torch.library has for each operator."""
    result = _shortly(operator, arguments)
    if result is NotImplemented:
        with torch._C._AutoDispatchBelowAutograd():
            result = operator.op(*arguments)
    return result


def _run(operator: Operator, arguments: Tuple[Any, ...]) -> Any:
    if forward_ad._current_level >= 0:
        _refuse_tangents(operator.op, arguments)
    if not _wants_gradient(operator, arguments):
        return _below_autograd(operator, arguments)
    if torch._C._are_functorch_transforms_active():
        raise TriageError("a gradient is asked inside a transform of torch.func; must be one of torch.autograd")
    is_plain = not torch._C._is_any_autocast_enabled() and torch._C._get_tracing_state() is None
    if operator.eager is None or not is_plain:  # autocast casts before autograd looks
        return operator.op(*arguments)
    return operator.eager.apply(*arguments, *[None] * (operator.count - len(arguments)))


def _call(operator: Operator, arguments: Tuple[Any, ...]) -> Any:
    if torch.compiler.is_compiling():
        return operator.op(*arguments)
    try:
        result = _run(operator, arguments)
    except TriageError:
        raise
    except (RuntimeError, AttributeError) as error:
        raise _refusal(operator.op, arguments, error) from None
    if observer is not None:
        observer(operator.op, arguments)
    return result


def call(operator: Operator, *arguments: Any) -> Any:
    """What the operator gives, with triage's refusals as TriageError. The short way first: most calls end here."""
    if is_dynamo_compiling():
        return operator.op(*arguments)
    if observer is None and forward_ad._current_level < 0 and not profiler._is_profiler_enabled:
        result = operator.direct(*arguments)
        if result is not NotImplemented:
            return result
    return _call(operator, arguments)


def _observed(operator: Operator, *arguments: Any) -> Any:
    """One of the two products of a gradient."""
    result = _shortly(operator, arguments)
    if result is NotImplemented:
        result = operator.op(*arguments)
    if observer is not None and not torch.compiler.is_compiling():
        observer(operator.op, arguments)
    return result


# ---- fake kernels ----

def _result_type(x: Tensor, out_dtype: Optional[torch.dtype]) -> torch.dtype:
    return out_dtype or (torch.bfloat16 if x.dtype == torch.float8_e4m3fn else x.dtype)


def check_devices(name: str, like: Tensor, **others: Optional[Tensor]) -> None:
    """Of meta tensors, which the kernels do not see."""
    for other, given in others.items():
        torch._check(given is None or given.device == like.device,
                     lambda: f"triage: {other} is on {given.device}; must be on {like.device}, where {name} is")


def _check_fake(row_ptr: Tensor, col_idx: Tensor, values: Tensor) -> None:
    torch._check(values.dim() == 3, lambda: f"triage: values has {values.dim()} dimensions; must have 3")
    torch._check(row_ptr.dim() == 1 and col_idx.dim() == 1, lambda: "triage: row_ptr and col_idx must have 1 dimension")


@torch.library.register_fake("triage::bsr_linear")
def _(x, row_ptr, col_idx, values, cols, bias=None, activation="none", w_scale=None, x_scale=None, out_dtype=None):
    _check_fake(row_ptr, col_idx, values)
    check_devices("x", x, row_ptr=row_ptr, col_idx=col_idx, values=values, bias=bias, w_scale=w_scale, x_scale=x_scale)
    torch._check(x.shape[-1] == cols, lambda: f"triage: x has {x.shape[-1]} columns; must be {cols}")
    rows = (row_ptr.shape[0] - 1) * values.shape[1]
    return x.new_empty((*x.shape[:-1], rows), dtype=_result_type(x, out_dtype))


@torch.library.register_fake("triage::bsr_mm")
def _(row_ptr, col_idx, values, cols, b, bias=None, activation="none", a_scale=None, b_scale=None, out_dtype=None):
    _check_fake(row_ptr, col_idx, values)
    check_devices("b", b, row_ptr=row_ptr, col_idx=col_idx, values=values, bias=bias, a_scale=a_scale, b_scale=b_scale)
    torch._check(b.dim() == 2 and b.shape[0] == cols, lambda: f"triage: b is {tuple(b.shape)}; must be ({cols}, columns)")
    return b.new_empty(((row_ptr.shape[0] - 1) * values.shape[1], b.shape[1]), dtype=_result_type(b, out_dtype))


@torch.library.register_fake("triage::bsr_mm_out")
def _(row_ptr, col_idx, values, cols, b, bias, activation, a_scale, b_scale, alpha, beta, out):
    _check_fake(row_ptr, col_idx, values)
    check_devices("b", b, row_ptr=row_ptr, col_idx=col_idx, values=values, bias=bias, a_scale=a_scale, b_scale=b_scale, out=out)


# ---- the two products of a gradient ----

@torch.library.register_fake("triage::bsr_linear_transposed")
def _(grad, row_ptr, col_idx, values, cols):
    _check_fake(row_ptr, col_idx, values)
    return grad.new_empty((*grad.shape[:-1], cols))


@torch.library.custom_op("triage::bsr_linear_grad_x", mutates_args=())
def bsr_linear_grad_x(grad: Tensor, row_ptr: Tensor, col_idx: Tensor, values: Tensor, cols: int) -> Tensor:
    """grad [..., rows] times the matrix: [..., cols], by a transposed copy of the matrix."""
    pointers, rows, order = transpose_pattern(row_ptr, col_idx, cols // values.shape[2])
    transposed = values.index_select(0, order).transpose(1, 2).contiguous()
    return ops.bsr_linear.default(grad.contiguous(), pointers, rows, transposed, (row_ptr.numel() - 1) * values.shape[1])


@bsr_linear_grad_x.register_fake
def _(grad, row_ptr, col_idx, values, cols):
    return grad.new_empty((*grad.shape[:-1], cols))


_GRAD_X = Operator(ops.bsr_linear_grad_x.default, is_native=False)


def _reads_transposed(values: Tensor) -> bool:
    """Does triage have a fast kernel for the blocks as they are stored? Its plain one takes all; a copy is faster then."""
    if values.device.type != "cuda":
        return True
    rows, cols = values.shape[1:]
    fits = rows == cols in (16, 32) or (cols in (64, 128) and rows % 32 == 0)
    return fits and values.dtype != torch.float32 and torch.cuda.get_device_capability(values.device) == (9, 0)


def _x_gradient(grad: Tensor, row_ptr: Tensor, col_idx: Tensor, values: Tensor, cols: int) -> Tensor:
    return _observed(TRANSPOSED if _reads_transposed(values) else _GRAD_X, grad, row_ptr, col_idx, values, cols)


@torch.library.register_fake("triage::bsr_sddmm")
def _(grad, x, row_ptr, col_idx, values, cols):
    _check_fake(row_ptr, col_idx, values)
    torch._check(x.shape[-1] == cols, lambda: f"triage: x has {x.shape[-1]} columns; must be {cols}")
    return torch.empty_like(values, memory_format=torch.contiguous_format)


# ---- gradients ----

_SECOND = "a second derivative is asked of a product; triage has first ones only"


class _Once(torch.autograd.Function):
    """first as it is; who asks for a derivative of it, by what it was made from, is refused."""
    @staticmethod
    def forward(ctx, first, *made_from):
        return first

    @staticmethod
    def backward(ctx, grad):
        raise TriageError(_SECOND)


def _before_activation(ctx, grad: Tensor, x: Tensor, saved: Tuple[Any, ...]) -> Tensor:
    """The gradient before the activation, which is computed again: only its argument tells its slope."""
    if ctx.activation == "none":
        return grad
    row_ptr, col_idx, values, bias = saved
    with torch.no_grad():
        given = (x, row_ptr, col_idx, values, ctx.cols, bias, "none")
        before = _shortly(LINEAR, given)
        before = ops.bsr_linear.default(*given) if before is NotImplemented else before
    with torch.enable_grad():
        before.requires_grad_()
        after = {"relu": torch.relu, "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu}[ctx.activation](before)
    first = torch.autograd.grad(after, before, grad)[0]
    return _Once.apply(first, grad, x, values, bias) if torch.is_grad_enabled() else first


def _setup(ctx, x, row_ptr, col_idx, values, cols, bias, activation, scales) -> None:
    ctx.has_scales = scales != [None, None]
    ctx.save_for_backward(x, row_ptr, col_idx, values, bias)
    ctx.cols, ctx.activation = cols, activation


def _values_gradient(grad: Tensor, x: Tensor, row_ptr: Tensor, col_idx: Tensor, values: Tensor, cols: int) -> Tensor:
    """A sum over no tokens is 0."""
    if x.numel() == 0:
        return torch.zeros_like(values)
    return _observed(SDDMM, grad, x.contiguous(), row_ptr, col_idx, values, cols)


def _gradients(ctx, grad: Tensor, x: Tensor, saved: Tuple[Any, ...]) -> Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]]:
    """Of x [..., cols], of values, of bias, for grad [..., rows]."""
    row_ptr, col_idx, values, _ = saved
    needs_x, needs_values, needs_bias = ctx.wanted
    if ctx.has_scales or values.dtype == torch.float8_e4m3fn:
        raise TriageError("values is float8_e4m3fn; gradients are for float32, float16 and bfloat16")
    grad = _before_activation(ctx, grad, x, saved)
    grad = grad.to(values.dtype).contiguous()
    grad_x = _x_gradient(grad, row_ptr, col_idx, values, ctx.cols) if needs_x else None
    grad_values = _values_gradient(grad, x, row_ptr, col_idx, values, ctx.cols) if needs_values else None
    grad_bias = grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None
    return grad_x, grad_values, grad_bias


def _wanted(ctx, *places: int) -> None:
    """torch leaves out trailing arguments that are as by default."""
    needs = ctx.needs_input_grad
    ctx.wanted = [at < len(needs) and needs[at] for at in places]


def _setup_linear(ctx, inputs, output) -> None:
    x, row_ptr, col_idx, values, cols, bias, activation, *scales, _ = inputs
    _setup(ctx, x, row_ptr, col_idx, values, cols, bias, activation, scales)


def _backward_linear(ctx, grad):
    _wanted(ctx, 0, 3, 5)
    x, *saved = ctx.saved_tensors  # once: checkpoints allow no more
    grad_x, grad_values, grad_bias = _gradients(ctx, grad, x, saved)
    return grad_x, None, None, grad_values, None, grad_bias, None, None, None, None


def _setup_mm(ctx, inputs, output) -> None:
    row_ptr, col_idx, values, cols, b, bias, activation, *scales, _ = inputs
    _setup(ctx, b, row_ptr, col_idx, values, cols, bias, activation, scales)


def _backward_mm(ctx, grad):
    _wanted(ctx, 4, 2, 5)
    b, *saved = ctx.saved_tensors
    grad_x, grad_values, grad_bias = _gradients(ctx, grad.t(), b.t().contiguous(), saved)
    return None, None, grad_values, None, None if grad_x is None else grad_x.t(), grad_bias, None, None, None, None


def _no_second(ctx, grad):
    raise TriageError(_SECOND)


torch.library.register_autograd("triage::bsr_sddmm", _no_second)
torch.library.register_autograd("triage::bsr_linear_transposed", _no_second)


def _differentiate(operator: Operator, setup: Callable[..., None], backward: Callable[..., Any]) -> None:
    """For who traces, by torch.library; for calls that are not traced also by an autograd.Function."""
    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *arguments):
            output = _below_autograd(operator, arguments)
            setup(ctx, arguments, output)
            return output
    name = operator.op._schema.name
    Eager.backward = staticmethod(backward)
    Eager.__name__ = Eager.__qualname__ = name
    torch.library.register_autograd(name, backward, setup_context=setup)
    operator.eager = Eager


_differentiate(LINEAR, _setup_linear, _backward_linear)
_differentiate(MM, _setup_mm, _backward_mm)


# ---- what is written to ----

def _written(*arguments, **named):
    """torch counts writes to a tensor: who kept it for a gradient is told."""
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)):
        MM_OUT.op(*arguments, **named)
    torch.autograd.graph.increment_version(named["out"] if "out" in named else arguments[-1])


_library.impl("bsr_mm_out", _written, "ADInplaceOrView")


# ---- autocast ----

def _autocast(op: Any, device_type: str, key: str) -> None:
    """Like torch's own products: what is float32, float16 or bfloat16 becomes the type of autocast; scales do not."""
    names = [argument.name for argument in op._schema.arguments]
    key_set = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def cast(name: str, value: Any, dtype: torch.dtype) -> Any:
        is_wide = isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float16, torch.bfloat16)
        return value.to(dtype) if is_wide and not name.endswith("_scale") else value

    def kernel(*arguments, **named):
        dtype = torch.get_autocast_dtype(device_type)
        with torch._C._ExcludeDispatchKeyGuard(key_set):
            return op(*[cast(name, value, dtype) for name, value in zip(names, arguments)],
                      **{name: cast(name, value, dtype) for name, value in named.items()})

    _library.impl(op._schema.name.split("::")[1], kernel, key)


for _operator in (LINEAR, MM, ATTENTION, VARLEN, KVCACHE, SPARSE):
    _autocast(_operator.op, "cpu", "AutocastCPU")
    _autocast(_operator.op, "cuda", "AutocastCUDA")
