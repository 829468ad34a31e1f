"""Several columns of a row-major block at once: values of 4, 8 or 16 float64, one for each column.

Compilers make vectors of a loop over few columns in one kernel and not in the next, so the vectors are
written down. Every operation acts on each lane by itself and rounds as it does for a single number: a
column's bits depend neither on its neighbours nor on the number of lanes. LLVM splits what is too wide for
the processor. Code for lanes is generic: given a single number it is code for one column.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, cast

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils as untyped_cgutils
from numba.core import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from .jit import FloatArray, inlined, kernel

Lanes: TypeAlias = float
"""To the type checker, lanes are a number like any other."""

Zeros: TypeAlias = tuple[float, ...]
"""As many zeros as a kernel is to have lanes: numba knows tuples by their length."""

Parameters = ParamSpec("Parameters")

_ZEROS: list[Zeros] = [(0.0,) * width for width in (16, 8, 4, 1)]

Index: TypeAlias = int | np.uint64
"""np.uint64 in truth, where it counts; a `range` of them is one of int to the type checker."""

cgutils: Any = untyped_cgutils  # numba is typed in part
_typed: Any = type_callable
_lowered: Any = lower_builtin
_DOUBLE = ir.DoubleType()
_BYTES = 8


class _LanesType(types.Type):
    """What numba takes lanes for."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Lanes({width})")
        self.llvm = ir.VectorType(_DOUBLE, width)


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _LanesType) -> None:
        super().__init__(manager, kind, kind.llvm)  # type: ignore[no-untyped-call]  # the same


def _spread(builder: Any, value: Any, vector: Any) -> Any:
    """Put a number on all lanes; lanes are left as they are."""
    if value.type == vector:
        return value
    places = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(single, single, places)


def _kind(*operands: Any) -> Any:
    """The type of what comes of numbers and lanes; None is numba's word for no match."""
    kinds = {kind for kind in operands if isinstance(kind, _LanesType)}
    others = (kind for kind in operands if kind not in kinds)
    return kinds.pop() if len(kinds) == 1 and all(isinstance(kind, types.Float) for kind in others) else None


def _define(function: Callable[..., Any], instruction: str) -> None:
    """Teach numba an operator between lanes, or lanes and a number."""

    def generate(_: Any, builder: Any, signature: Any, operands: Any) -> Any:
        vector = signature.return_type.llvm
        return getattr(builder, instruction)(*(_spread(builder, value, vector) for value in operands))

    _typed(function)(lambda _: lambda a, b: _kind(a, b))
    for pair in ((_LanesType, _LanesType), (_LanesType, types.Float), (types.Float, _LanesType)):
        _lowered(function, *pair)(generate)


for _function, _in_place, _instruction in (
    (operator.add, operator.iadd, "fadd"),
    (operator.sub, operator.isub, "fsub"),
    (operator.mul, operator.imul, "fmul"),
    (operator.truediv, operator.itruediv, "fdiv"),
):
    _define(_function, _instruction)
    _define(_in_place, _instruction)
_typed(operator.neg)(lambda _: lambda a: _kind(a))
_lowered(operator.neg, _LanesType)(lambda _, builder, __, operands: builder.fneg(*operands))


def _fma(_context: Any, a: Any, b: Any, c: Any) -> Any:
    kind: Any = _kind(a, b, c) or types.float64

    def generate(_: Any, builder: Any, __: Any, operands: Any) -> Any:
        if kind == types.float64:
            return builder.fma(*operands)
        vector = kind.llvm
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{vector.count}f64"
        )
        return builder.call(function, [_spread(builder, value, vector) for value in operands])

    return kind(a, b, c), generate


@inlined
def _multiply_add(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    return a * b + c


_Ternary: TypeAlias = Callable[[Lanes, Lanes, Lanes], Lanes]

fma = cast(_Ternary, intrinsic(_fma))
"""a·b + c, rounded once; for kernels only."""

muladd = fma if get_host_cpu_features().get("fma", True) else _multiply_add
"""a·b + c in the way that is fast on this machine: rounded once where the processor has the instruction."""


def _zeros(_context: Any, zeros: Any) -> Any:
    kind = types.float64 if zeros.count == 1 else _LanesType(zeros.count)
    return kind(zeros), lambda context, *_: context.get_constant_null(kind)


def _where_above(_context: Any, a: Any, b: Any, one: Any, other: Any) -> Any:
    kind: Any = _kind(a, b, one, other) or types.float64

    def generate(_: Any, builder: Any, __: Any, operands: Any) -> Any:
        if kind != types.float64:
            operands = [_spread(builder, value, kind.llvm) for value in operands]
        return builder.select(builder.fcmp_ordered(">", *operands[:2]), *operands[2:])

    return kind(a, b, one, other), generate


def _any_positive(_context: Any, a: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, operands: Any) -> Any:
        positive = builder.fcmp_ordered(">", operands[0], ir.Constant(operands[0].type, None))
        if not isinstance(a, _LanesType):
            return positive
        bits = ir.IntType(a.llvm.count)
        return builder.icmp_unsigned("!=", builder.bitcast(positive, bits), bits(0))

    return types.boolean(a), generate


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Where the lanes of a row-major block begin, or of a vector of one number for each column."""
    fields = context.make_array(kind)(context, builder, array)
    offset = place[-1]
    if kind.ndim == 2:
        offset = builder.add(builder.mul(place[0], cgutils.unpack_tuple(builder, fields.shape)[1]), offset)
    return builder.gep(fields.data, [offset], inbounds=True)


def _generate_load(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
    array, *place, _ = operands
    kind = signature.return_type
    pointer = _pointer(context, builder, signature.args[0], array, place)
    if isinstance(kind, _LanesType):
        return builder.load(builder.bitcast(pointer, kind.llvm.as_pointer()), align=_BYTES)
    return builder.load(pointer)


def _generate_store(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
    array, *place, lanes = operands
    kind = signature.args[-1]
    pointer = _pointer(context, builder, signature.args[0], array, place)
    if isinstance(kind, _LanesType):
        builder.store(lanes, builder.bitcast(pointer, kind.llvm.as_pointer()), align=_BYTES)
    else:
        builder.store(lanes, pointer)
    return context.get_dummy_value()


def _is_plain(array: Any) -> bool:
    """Whether loads and stores find the numbers where they look: strides are ignored."""
    return isinstance(array, types.Array) and array.layout == "C" and array.dtype == types.float64


def _load(_context: Any, X: Any, _i: Any, _column: Any, lanes: Any) -> Any:
    return (lanes(X, types.uint64, types.uint64, lanes), _generate_load) if _is_plain(X) else None


def _store(_context: Any, X: Any, _i: Any, _column: Any, lanes: Any) -> Any:
    return (types.void(X, types.uint64, types.uint64, lanes), _generate_store) if _is_plain(X) else None


def _load_each(_context: Any, values: Any, _column: Any, lanes: Any) -> Any:
    return (lanes(values, types.uint64, lanes), _generate_load) if _is_plain(values) else None


def _store_each(_context: Any, values: Any, _column: Any, lanes: Any) -> Any:
    return (types.void(values, types.uint64, lanes), _generate_store) if _is_plain(values) else None


zeros = cast(Callable[[Zeros], Lanes], intrinsic(_zeros))
"""A tuple of zeros as lanes; a single one as a number."""

where_above = cast(Callable[[Lanes, Lanes, Lanes, Lanes], Lanes], intrinsic(_where_above))
"""On each lane the third where first > second, else the fourth."""

any_positive = cast(Callable[[Lanes], bool], intrinsic(_any_positive))
"""Whether any lane is > 0."""

load = cast(Callable[[FloatArray, Index, np.uint64, Lanes], Lanes], intrinsic(_load))
"""X[i, column:] on as many lanes as the last argument has."""

store = cast(Callable[[FloatArray, Index, np.uint64, Lanes], None], intrinsic(_store))
"""X[i, column:] ← lanes."""

load_each = cast(Callable[[FloatArray, np.uint64, Lanes], Lanes], intrinsic(_load_each))
"""values[column:] on as many lanes as the last argument has."""

store_each = cast(Callable[[FloatArray, np.uint64, Lanes], None], intrinsic(_store_each))
"""values[column:] ← lanes."""


def block_kernel(
    function: Callable[Concatenate[np.uint64, Zeros, Parameters], None],
) -> Callable[Parameters, None]:
    """Compile a kernel for as many columns as it is given zeros, from `column` on; do all columns by it.

    The columns are those of the first block among the arguments. The machine code depends on the number of
    lanes, not on that of columns.
    """
    compiled = kernel(function)

    @wraps(function)
    def on_all_columns(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        columns = next(array.shape[1] for array in args if isinstance(array, np.ndarray) and array.ndim == 2)
        column = 0
        for zeros in _ZEROS:
            while column + len(zeros) <= columns:
                compiled(np.uint64(column), zeros, *args, **kwargs)
                column += len(zeros)

    return on_all_columns
