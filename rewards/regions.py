"""Sets of real numbers, however they are written: intervals, unions, inequalities in one symbol.

`x < 3`, `(-\\infty, 3)` and `\\mathbb{R} \\setminus [3, \\infty)` are the same pieces of the line.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rewards.latex import Node
from rewards.spelling import Unreadable
from rewards.values import number, put, symbols

Piece = tuple[Any, bool, Any, bool]
"""Low end, whether it belongs, high end, whether that belongs."""
INFINITY = float("inf")
FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "ne": "ne"}
"""What becomes of a relation when its sides change places."""


def difference(pair: tuple[Node, Node]) -> Node:
    """Left side minus right side."""
    return Node("add", (pair[0], Node("neg", (pair[1],))))


def regions(gold: Node, answer: Node) -> bool | None:
    """Inequality against interval against union. None unless at least one side can only be meant as a set of reals."""
    if not (_is_region(gold) or _is_region(answer)):
        return None
    if gold.op == answer.op == "rel" and gold.args[0] == answer.args[0] == ("=",):
        return None
    if len({name for node in (gold, answer) for name in symbols(node) if name}) > 1:
        return None
    try:
        wanted = _pieces(gold, "or")
    except Unreadable:
        return None
    for joining in ("or", "and"):
        try:
            if _same_pieces(wanted, _pieces(answer, joining)):
                return True
        except Unreadable:
            return None if joining == "or" else False
        if answer.op != "list" or answer.args[1] != ",":
            return False
    return False


def _is_region(node: Node) -> bool:
    if node.op in ("cup", "cap", "setminus", "space") or _without(node):
        return True
    if node.op == "rel":
        return set(node.args[0]) != {"="} and "approx" not in node.args[0] and "equiv" not in node.args[0]
    if node.op == "list":
        return any(_is_region(item) for item in node.args[0])
    return node.op == "seq" and (node.args[0], node.args[1]) in (("[", ")"), ("(", "]"), ("]", "["))


def _without(node: Node) -> Node | None:
    r"""\mathbb{R} - \{3\} as a difference of sets."""
    if node.op != "add" or len(node.args) != 2 or node.args[0].op != "space" or node.args[1].op != "neg":
        return None
    return Node("setminus", (node.args[0], node.args[1].args[0]))


def _pieces(node: Node, joining: str) -> list[Piece]:
    """The pieces of a region in order. `joining`: whether a comma between inequalities means "or" or "and"."""
    op, args = _without(node) or node
    if op == "space" and args[0] == "reals":
        return [(-INFINITY, False, INFINITY, False)]
    if op == "seq" and len(args[2]) == 2:
        low, high = (_end(item) for item in args[2])
        if low > high or (low == high and (args[0], args[1]) != ("[", "]")):
            raise Unreadable("undefined")
        return [(low, args[0] == "[", high, args[1] == "]")]
    if op == "set":
        return _union([(value, True, value, True) for value in map(_end, args[0])])
    if op in ("cup", "cap", "setminus"):
        left, right = (_pieces(arg, joining) for arg in args)
        return _union(left + right) if op == "cup" else _cut(left, right if op == "cap" else _outside(right))
    if op == "list":
        if not any(map(_is_region, args[0])):
            return _union([(value, True, value, True) for value in map(_end, args[0])])
        parts = [_pieces(item, joining) for item in args[0]]
        if args[1] == "and" or (args[1] == "," and joining == "and"):
            common = parts[0]
            for part in parts[1:]:
                common = _cut(common, part)
            return common
        return _union([piece for part in parts for piece in part])
    if op == "rel":
        return _solved(*args)
    raise Unreadable("syntax")


def _end(node: Node) -> Any:
    """An end of an interval: a real number or an infinity."""
    if node == Node("const", ("infty",)):
        return INFINITY
    if node.op == "neg" and node.args[0] == Node("const", ("infty",)):
        return -INFINITY
    if any(symbols(node)):
        raise Unreadable("syntax")
    value, _ = number(node)
    if complex(value).imag:
        raise Unreadable("undefined")
    return value.real


def _solved(ops: tuple[str, ...], members: tuple[Node, ...]) -> list[Piece]:
    """The reals for which a chain of relations in one symbol holds. Each link must be linear in it, or in its size."""
    common: list[Piece] = [(-INFINITY, False, INFINITY, False)]
    for op, left, right in zip(ops, members, members[1:], strict=False):
        common = _cut(common, _link(op, left, right))
    return common


def _link(op: str, left: Node, right: Node) -> list[Piece]:
    if op == "in":
        if left.op != "sym":
            raise Unreadable("syntax")
        return _pieces(right, "or")
    if op == "=" or op == "ne":
        root = -_line(left, right)[1]
        point: list[Piece] = [(root, True, root, True)]
        return point if op == "=" else _outside(point)
    if op not in FLIPPED:
        raise Unreadable("syntax")
    if right.op == "abs":
        op, left, right = FLIPPED[op], right, left
    if left.op == "abs" and not any(symbols(right)):  # |x - 1| < 2 holds between -2 and 2
        low, high = (
            _link(sign, left.args[0], end) for sign, end in ((FLIPPED[op], Node("neg", (right,))), (op, right))
        )
        return _cut(low, high) if op in ("<", "le") else _union(low + high)
    slope, offset = _line(left, right)
    op = op if slope > 0 else FLIPPED[op]
    closed = op in ("le", "ge")
    return [(-INFINITY, False, -offset, closed)] if op in ("<", "le") else [(-offset, closed, INFINITY, False)]


def _line(left: Node, right: Node) -> tuple[Any, Any]:
    """Slope a and b/a of left - right = ax + b. Raises Unreadable unless it is such a line in one symbol."""
    for infinite, other in ((left, right), (right, left)):
        if infinite in (Node("const", ("infty",)), Node("neg", (Node("const", ("infty",)),))) and other.op == "sym":
            raise Unreadable("syntax")
    names = {*symbols(left), *symbols(right)}
    if len(names) != 1:
        raise Unreadable("syntax")
    name = names.pop()
    line = difference((left, right))
    at = [number(put(line, name, Fraction(x)))[0] for x in (0, 1, 3)]
    slope = at[1] - at[0]
    if abs(slope) < 1e-40 or abs(at[2] - at[0] - 3 * slope) > 1e-40 or complex(slope).imag or complex(at[0]).imag:
        raise Unreadable("syntax")
    return slope.real, at[0].real / slope.real


def _near(one: Any, two: Any) -> bool:
    return one == two or (abs(one) != INFINITY and abs(two) != INFINITY and abs(one - two) <= 1e-45 * max(1, abs(one)))


def _union(pieces: list[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for low, low_in, high, high_in in sorted(pieces, key=lambda piece: (piece[0], not piece[1])):
        if merged:
            last_low, last_low_in, last, last_in = merged[-1]
            touching = _near(last, low)
            if (touching and (last_in or low_in)) or (not touching and low < last):
                if _near(high, last):
                    merged[-1] = (last_low, last_low_in, last, last_in or high_in)
                elif high > last:
                    merged[-1] = (last_low, last_low_in, high, high_in)
                continue
        merged.append((low, low_in, high, high_in))
    return merged


def _outside(pieces: list[Piece]) -> list[Piece]:
    gaps: list[Piece] = []
    edge, edge_in = -INFINITY, False
    for low, low_in, high, high_in in _union(pieces):
        if edge < low or (edge_in and not low_in):
            gaps.append((edge, edge_in, low, not low_in and low != -INFINITY))
        edge, edge_in = high, not high_in
    if edge < INFINITY:
        gaps.append((edge, edge_in, INFINITY, False))
    return gaps


def _cut(left: list[Piece], right: list[Piece]) -> list[Piece]:
    common: list[Piece] = []
    for one in left:
        for two in right:
            low, low_in = (
                (one[0], one[1] and two[1]) if _near(one[0], two[0]) else max(one[:2], two[:2], key=lambda end: end[0])
            )
            high, high_in = (
                (one[2], one[3] and two[3]) if _near(one[2], two[2]) else min(one[2:], two[2:], key=lambda end: end[0])
            )
            if low < high or (_near(low, high) and low_in and high_in):
                common.append((low, low_in, high, high_in))
    return common


def _same_pieces(one: list[Piece], two: list[Piece]) -> bool:
    return len(one) == len(two) and all(
        _near(a[0], b[0]) and a[1] == b[1] and _near(a[2], b[2]) and a[3] == b[3] for a, b in zip(one, two, strict=True)
    )
