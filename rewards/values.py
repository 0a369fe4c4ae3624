"""What a tree is worth: exactly where it is rational, else as a complex number of 60 digits. All work is bounded.

Nothing here can run long: a tree has at most as many nodes as its text has characters, exact numbers stop at 20,000
bits and floating ones at an exponent of 100,000, so no power tower or factorial is ever worked out.
"""

from __future__ import annotations

import cmath
import hashlib
import math
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath

from rewards.latex import Node
from rewards.spelling import Unreadable

BITS = 20_000  # of an exact numerator or denominator
EXPONENT = 100_000  # bits that a floating value may have before or behind the point
DIGITS = 60
TERMS = 100  # of a sum or product that is written with a sign for it
STEPS = 3_000  # one for each sum or product of a floating value, 10 for a function, 100 for a factorial
FACTORIAL = 2_000  # largest n whose n! is worked out exactly


def exact(node: Node) -> Fraction | None:
    """The rational that a tree without symbols is worth; None where it is none, or can't be told to be one.

    Raises Unreadable ("too_big", "undefined") where working it out would not end soon, or divides by zero.
    """
    op, args = node
    if op == "num":
        return args[0]
    if op in ("sym", "const", "fn", "text") and not (op == "fn" and args[0] in ("gcd", "lcm", "max", "min")):
        return None
    if op == "fn":
        return _of_integers(args[0], args[2])
    if op in ("sum", "prod"):
        return _series(op, *args)
    if op not in _EXACT:
        return None
    values = [exact(arg) for arg in args]
    if None in values:
        return None
    return _bounded(_EXACT[op](*values))


def _bounded(value: Fraction | None) -> Fraction | None:
    if value is not None and max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        raise Unreadable("too_big")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1:
        return _root(_power(base, Fraction(exponent.numerator)), Fraction(exponent.denominator))
    if base == 0 and exponent <= 0:
        raise Unreadable("undefined")
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(base) != 1 and base and abs(exponent) * size > BITS:
        raise Unreadable("too_big")
    return base ** int(exponent % 2 if abs(base) == 1 else exponent)


def _root(value: Fraction | None, degree: Fraction) -> Fraction | None:
    """The real root where it is rational: of 8/27 the third is 2/3."""
    if value is None or degree.denominator != 1 or not 1 <= degree <= 1_000 or (value < 0 and degree % 2 == 0):
        return None
    top, bottom = (_integer_root(abs(part), int(degree)) for part in (value.numerator, value.denominator))
    return None if top is None or bottom is None else Fraction(-top if value < 0 else top, bottom)


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
    elif value.bit_length() > 1_000:
        return None
    else:
        root = round(value ** (1 / degree))
    return next((near for near in (root - 1, root, root + 1) if near >= 0 and near**degree == value), None)


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or value < 0:
        return None
    if value > FACTORIAL:
        raise Unreadable("too_big")
    return Fraction(math.factorial(int(value)))


def _choose(n: Fraction, k: Fraction) -> Fraction | None:
    if n.denominator != 1 or k.denominator != 1 or n < 0:
        return None
    if not 0 <= k <= n:
        return Fraction(0)
    if min(k, n - k) * int(n).bit_length() > BITS:
        raise Unreadable("too_big")
    return Fraction(math.comb(int(n), int(k)))


def _divide(top: Fraction, bottom: Fraction) -> Fraction:
    if bottom == 0:
        raise Unreadable("undefined")
    return top / bottom


_EXACT: dict[str, Any] = {
    "add": lambda *terms: sum(terms, Fraction(0)),
    "neg": lambda value: -value,
    "mul": lambda left, right: left * right,
    "div": _divide,
    "mixed": lambda whole, part: whole + part,
    "pow": _power,
    "root": _root,
    "fact": _factorial,
    "binom": _choose,
    "percent": lambda value: value / 100,
    "deg": lambda value: value,
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
}


def _of_integers(name: str, operand: Node) -> Fraction | None:
    """gcd, lcm, max and min of a bracketed row."""
    items = operand.args[2] if operand.op == "seq" else operand.args[0] if operand.op in ("list", "set") else (operand,)
    values = [exact(item) for item in items]
    if None in values or not values:
        return None
    if name in ("max", "min"):
        return (max if name == "max" else min)(values)  # type: ignore[type-var]
    if any(value.denominator != 1 for value in values if value is not None):
        return None
    return Fraction((math.gcd if name == "gcd" else math.lcm)(*(int(value) for value in values if value is not None)))


def _series(op: str, index: Node, first: Node, last: Node, body: Node) -> Fraction | None:
    low, high = exact(first), exact(last)
    if low is None or high is None or low.denominator != 1 or high.denominator != 1:
        return None
    if high - low > TERMS:
        raise Unreadable("too_big")
    total = Fraction(op == "prod")
    for value in range(int(low), int(high) + 1):
        term = exact(put(body, index.args[0], Fraction(value)))
        if term is None:
            return None
        total = _bounded(total + term if op == "sum" else total * term) or Fraction(0)
    return total


def put(node: Node, name: str, value: Fraction) -> Node:
    """The tree with a number in a symbol's place."""
    if node == Node("sym", (name,)) or node == Node("const", (name,)):
        return Node("num", (value,))
    return Node(node.op, tuple(put(arg, name, value) if isinstance(arg, Node) else arg for arg in node.args))


class _Floats:
    """Double precision: fast, and enough to see that two values differ."""

    pi, e, j = cmath.pi, cmath.e, 1j
    exp, log, sin, cos, tan = cmath.exp, cmath.log, cmath.sin, cmath.cos, cmath.tan
    asin, acos, atan, sinh, cosh, tanh = cmath.asin, cmath.acos, cmath.atan, cmath.sinh, cmath.cosh, cmath.tanh
    floor, ceil = math.floor, math.ceil

    @staticmethod
    def number(value: Fraction) -> complex:
        return complex(value.numerator / value.denominator)

    @staticmethod
    def gamma(value: complex) -> complex:
        if value.imag:
            raise OverflowError
        return complex(math.gamma(value.real))


class _Digits:
    """Sixty digits, one context a thread: mpmath changes the precision of a context while it works."""

    def __init__(self) -> None:
        context = mpmath.MPContext()
        context.dps = DIGITS
        self.pi, self.e, self.j = +context.pi, +context.e, context.mpc(0, 1)
        self.exp, self.log, self.sin, self.cos, self.tan = (
            context.exp,
            context.log,
            context.sin,
            context.cos,
            context.tan,
        )
        self.asin, self.acos, self.atan = context.asin, context.acos, context.atan
        self.sinh, self.cosh, self.tanh = context.sinh, context.cosh, context.tanh
        self.floor, self.ceil, self.gamma = context.floor, context.ceil, context.gamma
        self.mpf = context.mpf

    def number(self, value: Fraction) -> Any:
        return self.mpf(value.numerator) / value.denominator


_FLOATS = _Floats()
_THREAD = threading.local()


def _digits() -> _Digits:
    if not hasattr(_THREAD, "digits"):
        _THREAD.digits = _Digits()
    return _THREAD.digits


WHOLE = 100


@lru_cache(maxsize=4_096)
def _value_of_symbol(name: str, point: int) -> Fraction:
    """A number between 1/2 and 3 that stands for a symbol; at odd points it is negative, from `WHOLE` on a power of 2."""
    if point >= WHOLE:
        return Fraction(2 ** (1 + (point + len(name) + sum(name.encode())) % 5))
    drawn = int.from_bytes(hashlib.sha256(f"{name}/{point}".encode()).digest()[:6], "big")
    return (Fraction(1, 2) + Fraction(5, 2) * Fraction(drawn, 2**48)) * (-1 if point % 2 else 1)


class _Evaluator:
    """A tree's value with numbers put for its symbols. `largest` is the largest size met on the way."""

    def __init__(self, field: Any, point: int) -> None:
        self.field, self.point, self.largest, self.degrees = field, point, 0.0, False
        self.steps = STEPS

    def spend(self, steps: int) -> None:
        """Count what has been done, so that no tree is worked on for long."""
        self.steps -= steps
        if self.steps < 0:
            raise Unreadable("too_big")

    def __call__(self, node: Node) -> Any:
        self.spend(1)
        value = self.value(node)
        size = abs(value)
        if size > self.largest:
            self.largest = size
        return value

    def value(self, node: Node) -> Any:
        op, args = node
        field = self.field
        if op == "num":
            return field.number(args[0])
        if op == "sym":
            if args[0] == "dots":
                raise Unreadable("syntax")
            return field.number(_value_of_symbol(args[0], self.point))
        if op == "const":
            if args[0] == "infty":
                raise Unreadable("undefined")
            return {"pi": field.pi, "e": field.e, "i": field.j}[args[0]]
        if op == "fn":
            return self.function(*args)
        if op == "deg":
            return self(args[0]) * field.pi / 180 if self.degrees else self(args[0])
        if op not in _NUMERIC:
            raise Unreadable("syntax")
        return _NUMERIC[op](self, *(self(arg) for arg in args))

    def function(self, name: str, base: Node | None, operand: Node) -> Any:
        field = self.field
        self.spend(10)
        outside, self.degrees = self.degrees, True
        value = self(operand)
        self.degrees = outside
        if abs(value) > 1e9:
            raise Unreadable("too_big")
        if name in ("ln", "log"):
            return _log(field, value) / (_log(field, self(base)) if base is not None else 1)
        if name == "exp":
            return self.exp(value)
        if name in _RECIPROCAL:
            return 1 / getattr(field, _RECIPROCAL[name])(value)
        if name in _INVERSE_RECIPROCAL:
            return getattr(field, _INVERSE_RECIPROCAL[name])(1 / value)
        if name in _FUNCTION_NAMES and base is None:
            return getattr(field, _FUNCTION_NAMES[name])(value)
        raise Unreadable("syntax")

    def exp(self, value: Any) -> Any:
        if abs(value) > EXPONENT:
            raise Unreadable("too_big")
        return self.field.exp(value)

    def power(self, base: Any, exponent: Any) -> Any:
        if exponent == 0:
            return base * 0 + 1
        if base == 0:
            if complex(exponent).real > 0:
                return base
            raise Unreadable("undefined")
        whole = complex(exponent).imag == 0 and abs(exponent) <= 64 and exponent == int(complex(exponent).real)
        if whole:
            return base ** int(complex(exponent).real)
        self.spend(10)
        return self.exp(exponent * _log(self.field, base))

    def root(self, value: Any, degree: Any) -> Any:
        number = complex(value)
        if number.imag == 0 and number.real < 0 and complex(degree).real % 2 == 1:
            return -self.power(-value, 1 / degree)  # the real root, as school has it
        return self.power(value, 1 / degree)

    def factorial(self, value: Any) -> Any:
        self.spend(100)
        if abs(value) > 5_000:
            raise Unreadable("too_big")
        return self.field.gamma(value + 1)

    def choose(self, n: Any, k: Any) -> Any:
        return self.factorial(n) / (self.factorial(k) * self.factorial(n - k))


def _log(field: Any, value: Any) -> Any:
    if value == 0:
        raise Unreadable("undefined")
    return field.log(value.real if complex(value).imag == 0 else value)  # -4 - 0i would land below the cut


def _rounded(name: str) -> Any:
    def whole(evaluator: _Evaluator, value: Any) -> Any:
        if complex(value).imag:
            raise Unreadable("undefined")
        return getattr(evaluator.field, name)(value.real)

    return whole


_RECIPROCAL = {"sec": "cos", "csc": "sin", "cot": "tan", "coth": "tanh"}
_INVERSE_RECIPROCAL = {"arccot": "atan", "arcsec": "acos", "arccsc": "asin"}
_FUNCTION_NAMES = {
    **{name: name for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
}
_NUMERIC: dict[str, Any] = {
    "add": lambda evaluator, *terms: sum(terms),
    "neg": lambda evaluator, value: -value,
    "mul": lambda evaluator, left, right: left * right,
    "div": lambda evaluator, top, bottom: top / bottom,
    "mixed": lambda evaluator, whole, part: whole + part,
    "pow": _Evaluator.power,
    "root": _Evaluator.root,
    "fact": _Evaluator.factorial,
    "binom": _Evaluator.choose,
    "percent": lambda evaluator, value: value / 100,
    "abs": lambda evaluator, value: abs(value),
    "floor": _rounded("floor"),
    "ceil": _rounded("ceil"),
}


def number(node: Node, point: int = 0, *, fast: bool = False) -> tuple[Any, Any]:
    """The value of a tree at one of the points of its symbols, and the largest size met on the way.

    `fast` gives double precision, else 60 digits. Raises Unreadable where there is no such value.
    """
    evaluator = _Evaluator(_FLOATS if fast else _digits(), point)
    try:
        value = evaluator(node)
        return value, evaluator.largest
    except ZeroDivisionError as error:
        raise Unreadable("undefined") from error
    except (OverflowError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("too_big") from error


def close(left: Node, right: Node, point: int) -> bool:
    """Whether two trees have one value at this point: 45 of 60 digits agree, or both are 0 to that many."""
    try:
        (one, size), (two, other) = (number(node, point, fast=True) for node in (left, right))
        size = max(size, other)
        if size < 1e6 and abs(one - two) > 1e-7 * max(1.0, abs(one), abs(two)):
            return False
    except Unreadable as error:
        if error.reason == "syntax":
            raise
    (one, size), (two, other) = (number(node, point) for node in (left, right))
    if abs(one - two) <= 1e-45 * max(abs(one), abs(two)):
        return True
    # What cancels leaves an error of the size of what was cancelled; huge terms would make everything equal.
    return max(size, other) < 1e20 and abs(one - two) <= 1e-50 * max(1, size, other)


def rounds(node: Node) -> bool:
    """Whether a tree rounds something down or up, so that whole numbers tell more than others."""
    return node.op in ("floor", "ceil") or any(rounds(arg) for arg in node.args if isinstance(arg, Node))


def symbols(node: Node) -> Iterator[str]:
    """The names in a tree, each as often as it stands there."""
    if node.op == "sym":
        yield node.args[0]
    for arg in node.args:
        if isinstance(arg, Node):
            yield from symbols(arg)
        elif isinstance(arg, tuple):
            for item in arg:
                if isinstance(item, Node):
                    yield from symbols(item)
