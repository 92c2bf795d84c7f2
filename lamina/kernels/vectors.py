"""Vectors of numbers as values in compiled code: loaded and stored whole, and held in registers between.

numba turns loops over numbers into vector instructions where it can see that it may; loops whose lengths are known at
run time alone it does by halves. Here a vector of `LANES` numbers is a value like any other. Arrays are flat, and
places in them counted in numbers; a vector may begin anywhere. Every processor has vectors of some width: what is wider
than its own takes several of them.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16
INDEX, PLACE = types.int64, ir.IntType(32)


class Vector(types.Type):
    """The type of a vector of some kind of number."""

    def __init__(self, kind: types.Float) -> None:
        self.kind = kind
        super().__init__(name=f"Vector({kind})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """How a vector is held."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.kind).get_value_type(), LANES))


def instruction(write: Callable[..., Any]) -> Any:
    """Return what compiled code can call, without the types that checkers cannot follow."""
    return intrinsic(write)


def address(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Return the address of the vector that begins at a place of an array."""
    base = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(base, [place]), context.get_value_type(Vector(kind.dtype)).as_pointer())


def known(name: str, builder: Any, kind: ir.VectorType, result: ir.Type, arguments: list[Any], **flags: Any) -> Any:
    """Write a call of one of LLVM's functions of vectors."""
    number = "f32" if isinstance(kind.element, ir.FloatType) else "f64"
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    made = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v{LANES}{number}")
    return builder.call(made, arguments, **flags)


def throughout(builder: Any, number: Any, kind: ir.VectorType) -> Any:
    """Write a vector of one number."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(PLACE, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(PLACE, LANES), None))


@instruction
def load(typing, array, place):
    """Return the vector at a place."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[0]
        return builder.load(address(context, builder, kind, *given), align=kind.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, INDEX), generate


@instruction
def store(typing, vector, array, place):
    """Write a vector to a place."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = signature.args[1]
        builder.store(given[0], address(context, builder, kind, *given[1:]), align=kind.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(vector, array, INDEX), generate


@instruction
def spread(typing, number):
    """Return a vector of one number throughout."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return throughout(builder, given[0], context.get_value_type(signature.return_type))

    return Vector(number)(number), generate


@instruction
def repeated(typing, array, place):
    """Return a vector of the number at a place throughout."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        base = context.make_array(signature.args[0])(context, builder, given[0]).data
        return throughout(
            builder, builder.load(builder.gep(base, [given[1]])), context.get_value_type(signature.return_type)
        )

    return Vector(array.dtype)(array, INDEX), generate


@instruction
def fused(typing, a, b, c):
    """Return a b + c."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return known("fmuladd", builder, given[0].type, given[0].type, list(given))

    return c(a, b, c), generate


@instruction
def total(typing, a):
    """Return the sum of a vector's numbers."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = given[0].type
        start = ir.Constant(kind.element, 0.0)
        return known("vector.reduce.fadd", builder, kind, kind.element, [start, given[0]], fastmath=("fast",))

    return a.kind(a), generate


def of_two(write: Callable[[Any, Any, Any], Any]) -> Any:
    """Return a function of two vectors."""

    @instruction
    def combined(typing, a, b):
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return write(builder, *given)

        return a(a, b), generate

    return combined


def choice(sign: str) -> Callable[[Any, Any, Any], Any]:
    """Return what takes a or b in each lane, whichever is less or more."""
    return lambda builder, a, b: builder.select(builder.fcmp_ordered(sign, a, b), a, b)


plus = of_two(lambda builder, a, b: builder.fadd(a, b))
minus = of_two(lambda builder, a, b: builder.fsub(a, b))
times = of_two(lambda builder, a, b: builder.fmul(a, b))
least, most = of_two(choice("<")), of_two(choice(">"))
