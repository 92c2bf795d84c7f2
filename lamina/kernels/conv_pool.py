"""Convolution, 2×2 max-pooling and tanh in one pass, forward and backward, compiled for the processor's vector unit.

    y[m, r, s] = tanh( max over i, j in 0..1 of  b[m] + Σ_{c, u, v} w[m, c, u, v] x[c, 2r + i + u, 2s + j + v] )

Only the place of each maximum has a gradient, so the backward pass touches one patch an output, a fourth of what a
convolution and a pooling one after the other touch. Nothing is unrolled into columns, and no map is stored unpooled.

Layout: all arrays are flat. Pixels follow each other row by row, and a pixel has `step` numbers: its channels, filled
up with zeros to whole vectors, or a single one. Maps are filled up in the same way. Patches are read by whole vectors,
which may reach a vector beyond the last pixel: arrays need that many numbers more.

numba compiles a loop of scalars; the two inner loops are written as vector instructions of LLVM, which every processor
has in some width. `lamina.modules.conv_pool` is what calls this; its torch twin is the oracle.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, uint64
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8  # numbers in a vector
PAIR = 2 * LANES
SIDE = 5  # of the filters that have loops of their own

# tanh x = x P(x²) / Q(x²) to 3e-7: the rational minimax approximation of Eigen's vector tanh (MathFunctionsImpl.h)
LARGEST = 9.0  # where tanh is one in float32
P = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
)
Q = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

INDEX, SHORT = ir.IntType(64), ir.IntType(32)
VECTOR = ir.VectorType(ir.FloatType(), LANES)
PLACES = ir.VectorType(SHORT, LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)


class Emitter:
    """Writes vector instructions on arrays into the function that is being compiled."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def data(self, kind: Any, array: Any) -> Any:
        """Return the address of an array's first number."""
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def index(self, number: int) -> Any:
        return ir.Constant(INDEX, number)

    def sum(self, *terms: Any) -> Any:
        """Return the sum of indices, of which some are known now."""
        first, *others = terms
        for term in others:
            first = self.builder.add(first, self.index(term) if isinstance(term, int) else term)
        return first

    def repeat(self, count: Any, body: Callable[[Any], None]) -> None:
        """Write a loop over an index, or every step of it where the count is known now."""
        if isinstance(count, ir.Constant):
            for i in range(count.constant):
                body(self.index(i))
        else:
            with cgutils.for_range(self.builder, count) as loop:
                body(loop.index)

    def at(self, base: Any, offset: Any, kind: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(base, [offset]), kind.as_pointer())

    def load(self, base: Any, offset: Any) -> Any:
        return self.builder.load(self.at(base, offset, VECTOR), align=4)

    def store(self, value: Any, base: Any, offset: Any) -> None:
        self.builder.store(value, self.at(base, offset, value.type), align=1)

    def spread(self, number: Any) -> Any:
        """Return a vector with the same number in each lane."""
        nothing = ir.Constant(VECTOR, ir.Undefined)
        first = self.builder.insert_element(nothing, number, ir.Constant(SHORT, 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(PLACES, None))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c, rounded once where the processor can."""
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, "llvm.fmuladd.v8f32"), [a, b, c]
        )

    def constant(self, number: float) -> Any:
        return ir.Constant(VECTOR, [number] * LANES)

    def polynomial(self, x: Any, coefficients: tuple[float, ...]) -> Any:
        """Return a polynomial, highest power first, by Horner's rule."""
        total = self.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.multiply_add(total, x, self.constant(coefficient))
        return total

    def tanh(self, x: Any) -> Any:
        for order, end in ((">", LARGEST), ("<", -LARGEST)):
            x = self.builder.select(self.builder.fcmp_ordered(order, x, self.constant(end)), self.constant(end), x)
        square = self.builder.fmul(x, x)
        return self.builder.fdiv(self.builder.fmul(x, self.polynomial(square, P)), self.polynomial(square, Q))


def window_of(vectors: int, known: int = 0) -> Callable[..., None]:
    """Return what computes `vectors` vectors of maps at one pooled pixel, from four places of the filters.

    With a `known` side of the filters, it is for a single channel, whose lines are runs of numbers.
    """

    @intrinsic
    def window(typing, x, i, line, step, side, channels, w, b, first, maps, y, where, o):
        index = types.int64
        signature = types.void(x, *[index] * 5, w, b, index, index, y, where, index)

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            emit = Emitter(context, builder)
            x, w, b, y, where = (emit.data(signature.args[k], given[k]) for k in (0, 6, 7, 10, 11))
            i, line, step, side, channels = given[1:6]
            first, maps, o = given[8], given[9], given[12]
            rows, columns, inner = (emit.index(n) for n in (known, 1, known)) if known else (side, side, channels)
            starts = [emit.load(b, emit.sum(first, v * LANES)) for v in range(vectors)]
            sums = [[cgutils.alloca_once_value(builder, start) for start in starts] for _ in range(4)]

            def tap(row: Any, column: Any, channel: Any) -> None:
                number = emit.sum(builder.mul(emit.sum(builder.mul(row, columns), column), inner), channel)
                at = emit.sum(first, builder.mul(number, maps))
                weights = [emit.load(w, emit.sum(at, v * LANES)) for v in range(vectors)]
                top = emit.sum(i, builder.mul(row, line), builder.mul(column, step), channel)
                bottom = emit.sum(top, line)
                for place, corner in enumerate((top, emit.sum(top, step), bottom, emit.sum(bottom, step))):
                    value = emit.spread(builder.load(builder.gep(x, [corner])))
                    for weight, total in zip(weights, sums[place], strict=True):
                        builder.store(emit.multiply_add(value, weight, builder.load(total)), total)

            emit.repeat(
                rows, lambda r: emit.repeat(columns, lambda c: emit.repeat(inner, lambda channel: tap(r, c, channel)))
            )
            for v in range(vectors):
                best, which = builder.load(sums[0][v]), ir.Constant(PLACES, [0] * LANES)
                for place in range(1, 4):
                    other = builder.load(sums[place][v])
                    more = builder.fcmp_ordered(">", other, best)
                    best = builder.select(more, other, best)
                    which = builder.select(more, ir.Constant(PLACES, [place] * LANES), which)
                at = emit.sum(o, first, v * LANES)
                emit.store(emit.tanh(best), y, at)
                emit.store(builder.trunc(which, BYTES), where, at)
            return context.get_dummy_value()

        return signature, generate

    found: Callable[..., None] = window
    return found


def patch_of(vectors: int, known: int = 0) -> Callable[..., None]:
    """Return what adds a multiple of one patch to another: rows of `vectors` vectors, `to_line`, `of_line` apart.

    There are `known` rows, or as many as it is told.
    """

    @intrinsic
    def patch(typing, to, i, to_line, of, j, of_line, side, factor):
        index = types.int64
        signature = types.void(to, index, index, of, index, index, index, types.float32)

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            emit = Emitter(context, builder)
            to, of = (emit.data(signature.args[k], given[k]) for k in (0, 3))
            _, i, to_line, _, j, of_line, side, factor = given
            factor = emit.spread(factor)

            def add(row: Any) -> None:
                left, right = (emit.sum(a, builder.mul(row, b)) for a, b in ((i, to_line), (j, of_line)))
                for v in range(vectors):
                    at = emit.sum(left, v * LANES)
                    more = emit.load(of, emit.sum(right, v * LANES))
                    emit.store(emit.multiply_add(factor, more, emit.load(to, at)), to, at)

            emit.repeat(emit.index(known) if known else side, add)
            return context.get_dummy_value()

        return signature, generate

    found: Callable[..., None] = patch
    return found


# the sizes of LeNet-5 have loops of their own, with every step written out
gray_vector, one_vector, two_vectors = window_of(1, SIDE), window_of(1), window_of(2)
gray_rows, color_rows, any_rows = patch_of(1, SIDE), patch_of(SIDE, SIDE), patch_of(1)


@njit(cache=True, error_model="numpy", nogil=True)
def forward(x, form, w, b, maps, y, where):
    """Fill y and the place 0..3 of each maximum; w is (side, side, channels, maps)."""
    count, height, width, step, side, channels = form
    o = 0
    for e in range(count):
        for r in range((height - side + 1) // 2):
            for s in range((width - side + 1) // 2):
                i = ((e * height + 2 * r) * width + 2 * s) * step
                if maps == LANES and step == 1 and side == SIDE:
                    gray_vector(x, i, width, step, side, channels, w, b, 0, maps, y, where, o)
                elif maps == LANES:
                    one_vector(x, i, width * step, step, side, channels, w, b, 0, maps, y, where, o)
                else:
                    for first in range(0, maps, PAIR):
                        two_vectors(x, i, width * step, step, side, channels, w, b, first, maps, y, where, o)
                o += maps


@njit(inline="always", error_model="numpy")
def add_patch(to, i, to_line, of, j, of_line, side, row, factor):
    """Add `factor` times one patch of `side` rows to another; a row has `row` numbers, whole vectors."""
    if side == SIDE and row == LANES:
        gray_rows(to, i, to_line, of, j, of_line, side, factor)
    elif side == SIDE and row == SIDE * LANES:
        color_rows(to, i, to_line, of, j, of_line, side, factor)
    else:
        for f in range(0, row, LANES):
            any_rows(to, i + f, to_line, of, j + f, of_line, side, factor)


@njit(cache=True, error_model="numpy", nogil=True)
def weight_gradient(x, form, y, g, wide, maps, where, dw):
    """Add the gradient of the weights (maps, side, row), given that of y, which becomes that before tanh.

    A row has side times step numbers, filled up to whole vectors; y and g have `wide` numbers a pixel.
    """
    count, height, width, step, side, row = form
    for each in range(len(g)):
        g[each] *= 1 - y[each] * y[each]
    o: Any = uint64(0)  # without a sign to look at in every step
    for e in range(count):
        for r in range((height - side + 1) // 2):
            for s in range((width - side + 1) // 2):
                i = ((e * height + 2 * r) * width + 2 * s) * step
                for m in range(maps):
                    k = where[o + uint64(m)]
                    at = i + ((k >> 1) * width + (k & 1)) * step
                    add_patch(dw, m * side * row, row, x, at, width * step, side, row, g[o + uint64(m)])
                o += uint64(wide)


@njit(cache=True, error_model="numpy", nogil=True)
def input_gradient(dx, form, g, wide, maps, where, w):
    """Add the gradient of x to dx, given that before tanh; w is (maps, side, row), and `step` is whole vectors."""
    count, height, width, step, side, row = form
    o: Any = uint64(0)
    for e in range(count):
        for r in range((height - side + 1) // 2):
            for s in range((width - side + 1) // 2):
                i = ((e * height + 2 * r) * width + 2 * s) * step
                for m in range(maps):
                    k = where[o + uint64(m)]
                    at = i + ((k >> 1) * width + (k & 1)) * step
                    add_patch(dx, at, width * step, w, m * side * row, row, side, row, g[o + uint64(m)])
                o += uint64(wide)
