"""Do two trees say the same? One function for each kind of answer; nothing here reads text.

Numbers are compared exactly where they are rational, else to 45 digits. Expressions in symbols are compared as numbers at
several points (Schwartz-Zippel: an expression that agrees at random points agrees everywhere, but for luck below 1e-12).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

from rewards.latex import Node
from rewards.regions import FLIPPED, difference, regions
from rewards.spelling import Unreadable
from rewards.units import dimension
from rewards.values import WHOLE, close, exact, number, rounds, symbols

POINTS = (0, 2, 4)  # where symbols are positive
MOST_ITEMS = 200  # of a list, set or matrix
MOST_PAIRS = 1_000  # of items that are compared one with another, when all that are written alike are matched

_NEGATIONS = re.compile(
    r"\b(?:not|no|never|non|less|more|least|most|than|greater|fewer|between|except|half|twice|double|triple|minus|plus|negative"
    r"|if|unless|either|neither|wrong|incorrect|false|cannot|undefined|impossible|any|all)\b"
)


def same(gold: Node, answer: Node) -> bool:
    """Whether an answer says what the gold says. Raises Unreadable where neither can be told."""
    if gold == answer:
        return True
    gold, answer = _bare(gold), _bare(answer)
    for kind in (_texts, regions, _relations, _rows, _collections, _matrices, _ratios, _bases, _measures):
        verdict = kind(gold, answer)
        if verdict is not None:
            return verdict
    return False


def _bare(node: Node) -> Node:
    """Without words around a value that change nothing; words that could (not, at least) stay."""
    if node.op == "worded" and not _NEGATIONS.search(node.args[0].lower()):
        return _bare(node.args[1])
    if node.op == "unit" and node.args[1].lower().startswith("for "):
        return node.args[0]  # f(x) = 2x for all real x
    if node.op == "unit" and _NEGATIONS.search(node.args[1].lower()):
        return Node("text", (f"{node.args[0]} {node.args[1]}",))
    return Node("set", ((node.args[0],),)) if node.op == "brackets" else node


def _texts(gold: Node, answer: Node) -> bool | None:
    if "text" not in (gold.op, answer.op) and "worded" not in (gold.op, answer.op):
        return None
    return gold.op == answer.op and _key(gold) == _key(answer)


def _key(node: Node) -> str:
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\b(?:the|a|an|is|it)\b", "", str(node.args[0]).lower()))


# Relations


def _relations(gold: Node, answer: Node) -> bool | None:
    if gold.op != "rel" and answer.op != "rel":
        return None
    if gold.op == "rel" and answer.op == "rel":
        return _same_relation(gold, answer)
    if gold.op == "rel":
        return (value := named(gold)) is not None and same(value, answer)
    if set(answer.args[0]) == {"="} or "approx" in answer.args[0]:
        return _chain(gold, answer)
    if answer.args[0] == ("in",) and (value := named(answer)) is not None:
        return same(gold, value)
    return False


def named(relation: Node) -> Node | None:
    """The value in `name = value` or `value = name`, or the region in `name in region`."""
    ops, members = relation.args
    if len(members) != 2 or ops[0] not in ("=", "in", "approx"):
        return None
    left, right = members
    if _is_name(left):
        return right
    if ops[0] == "=" and not any(symbols(left)) and not any(symbols(right)) and same(left, right):
        return right  # 0.56 = 56%
    return left if _is_name(right) and ops[0] != "in" else None


def _is_name(node: Node) -> bool:
    """A symbol, symbols side by side (AB), or a point of symbols such as (x, y)."""
    parts = node.args[2] if node.op == "seq" else node.args if node.op == "mul" else ()
    return node.op == "sym" or (bool(parts) and all(map(_is_name, parts)))


def _chain(gold: Node, answer: Node) -> bool:
    """`x = 2 + 3 = 5` says 5: the numbers must all be equal, and the last member counts, or the first before a name."""
    ops, members = answer.args
    if _is_name(members[-1]) and not _is_name(members[0]) and len(members) == 2:
        return same(gold, members[0])
    if "approx" in ops:  # pi = 3.14 only approximately: either says what is meant
        exactly = members[: ops.index("approx") + 1]
        said = Node("rel", (ops[: len(exactly) - 1], exactly)) if len(exactly) > 1 else exactly[0]
        return same(gold, said) or (len(ops) == 1 and same(gold, members[-1]))
    values = [each for each in members if not any(symbols(each)) and not _is_name(each)]
    if any(symbols(gold)):
        values = list(members[1:])
    if not all(same(one, other) for one, other in pairwise(values)):
        return False
    return same(gold, members[-1])


def _same_relation(gold: Node, answer: Node) -> bool:
    (gold_ops, gold_members), (ops, members) = gold.args, answer.args
    if len(gold_members) == len(members) == 2:
        if {gold_ops[0], ops[0]} <= {"=", "approx"}:
            return _same_equation(gold_members, members)
        if {gold_ops[0], ops[0]} <= set(FLIPPED):
            return _same_inequality(gold_ops[0], gold_members, ops[0], members)
    if len(members) > 2 and set(ops) == {"="} and gold_ops == ("=",):  # y = 2(x+1) = 2x+2
        steps = [Node("rel", (("=",), (members[0], each))) for each in members[1:]]
        return all(_same_relation(gold, step) for step in steps)
    for other_ops, other in ((ops, members), (tuple(FLIPPED.get(op, op) for op in reversed(ops)), members[::-1])):
        if gold_ops == other_ops and len(other) == len(gold_members):
            return all(same(one, two) for one, two in zip(gold_members, other, strict=True))
    return False


def _same_equation(gold: tuple[Node, Node], answer: tuple[Node, Node]) -> bool:
    if all(same(one, two) for one, two in zip(gold, answer, strict=True)):
        return True
    if same(gold[0], answer[1]) and same(gold[1], answer[0]):
        return True
    named = [_called(pair) for pair in (gold, answer)]
    if all(named):  # f(x) = x^2 and f(x) = x*x; the names must be the same, or one of them y
        (one, left), (two, right) = named  # type: ignore[misc]
        if one.partition("(")[0] == two.partition("(")[0] or ("y" in (one, two) and "(" in one + two):
            return same(left, right)
    try:
        return _factor(gold, answer) is not None
    except Unreadable:
        return False


def _called(pair: tuple[Node, Node]) -> tuple[str, Node] | None:
    """The name and the value of f(x) = value."""
    return (pair[0].args[0], pair[1]) if pair[0].op == "sym" and not _occurs(pair[0].args[0], pair[1]) else None


def _occurs(name: str, node: Node) -> bool:
    return name in symbols(node)


def _factor(gold: tuple[Node, Node], answer: tuple[Node, Node]) -> float | None:
    """The constant c for which left - right of the answer is c times that of the gold everywhere; None without one."""
    ratios = []
    for point in (*POINTS, 1):
        (one, _), (two, _) = number(difference(gold), point), number(difference(answer), point)
        if abs(one) < 1e-40 or abs(two) < 1e-40:
            return None
        ratios.append(two / one)
    first = ratios[0]
    return first if all(abs(ratio - first) < 1e-40 * abs(first) for ratio in ratios) else None


def _same_inequality(gold_op: str, gold: tuple[Node, Node], op: str, answer: tuple[Node, Node]) -> bool:
    try:
        factor = _factor(gold, answer)
    except Unreadable:
        return False
    return (
        factor is not None
        and complex(factor).imag == 0
        and op == (gold_op if complex(factor).real > 0 else FLIPPED[gold_op])
    )


# Several values


def _collections(gold: Node, answer: Node) -> bool | None:
    """Lists, sets and plus-minus: in any order, none missing and none more. x = 1 or x = 2 is a list of values."""
    wanted, found = _items(gold), _items(answer)
    if wanted is None and found is None:
        return None
    wanted, found = ([gold] if wanted is None else wanted), ([answer] if found is None else found)
    if max(len(wanted), len(found)) > MOST_ITEMS:
        raise Unreadable("too_big")
    if "set" in (gold.op, answer.op):  # {1, 1, 2} is {1, 2}
        wanted, found = _distinct(wanted), _distinct(found)
    elif len(wanted) == 1:  # one value in two spellings: "2 - b, or -b + 2"
        found = _distinct(found)
    return len(wanted) == len(found) and _matched(wanted, found)


def _items(node: Node) -> list[Node] | None:
    op, args = node
    if op == "rel" and args[0] in (("=",), ("in",)) and _is_name(args[1][0]) and _items(args[1][1]):
        return _items(args[1][1])  # x = 1, 2 and x = \pm 2 and x in {1, 2}
    if op == "unit" and _items(args[0]):
        return [Node("unit", (item, args[1])) for item in _items(args[0]) or ()]
    if op in ("list", "set"):
        items: list[Node] = []
        for item in args[0]:
            items += _items(item) or [item]
        if op == "list" and items and items[-1].op == "unit":  # 3 and 5 cm
            items = [Node("unit", (item, items[-1].args[1])) if _is_plain(item) else item for item in items]
        return _unnamed(items)
    return _signs(node)


def _unnamed(items: list[Node]) -> list[Node]:
    """x = 1, x = 2 with one name before all, or before the first of the values, is 1, 2."""
    values = [named(item) if item.op == "rel" else None for item in items]
    names = {item.args[1][0] for item, value in zip(items, values, strict=True) if value is not None}
    if len(names) != 1 or (values[0] is None) or next(iter(names)).op != "sym":
        return items
    return [item if value is None else value for item, value in zip(items, values, strict=True)]


def _is_plain(node: Node) -> bool:
    return node.op not in ("unit", "text", "rel", "seq", "set", "percent", "deg", "worded")


def _signs(node: Node) -> list[Node] | None:
    """All readings of an expression with plus-minus; None without one.

    Several plus-minus are chosen each by itself, unless a minus-plus ties them together.
    """
    places = _count(node, "pm")
    if not places and not _count(node, "mp"):
        return None
    if _count(node, "mp") or places == 1:
        choices = [(True,) * 9, (False,) * 9]
    elif places <= 3:
        choices = list(product((True, False), repeat=places))
    else:
        raise Unreadable("too_big")
    return [_with_signs(node, iter(choice)) for choice in choices]


def _count(node: Any, op: str) -> int:
    inside = sum(_count(arg, op) for arg in (node.args if isinstance(node, Node) else node) if isinstance(arg, tuple))
    return inside + (isinstance(node, Node) and node.op == op)


def _with_signs(node: Any, plus: Iterator[bool]) -> Any:
    if not isinstance(node, Node):
        return tuple(_with_signs(each, plus) if isinstance(each, tuple) else each for each in node)
    if node.op not in ("pm", "mp"):
        return Node(node.op, _with_signs(node.args, plus))
    left, right = _with_signs(node.args, plus)
    signed = right if next(plus) == (node.op == "pm") else Node("neg", (right,))
    return signed if left is None else Node("add", (left, signed))


def _distinct(items: list[Node]) -> list[Node]:
    kept: list[Node] = []
    items = list(dict.fromkeys(items))
    if len(items) ** 2 > MOST_PAIRS:
        raise Unreadable("too_big")
    for item in items:
        if not any(_same_or_not(item, other) for other in kept):
            kept.append(item)
    return kept


def _same_or_not(one: Node, two: Node) -> bool:
    try:
        return same(one, two)
    except Unreadable:
        return False


def _matched(wanted: list[Node], found: list[Node]) -> bool:
    """Whether each of one finds its like among the other, each once. Being the same carries over, so greed is exact."""
    missing = Counter(wanted) - Counter(found)
    rest = list((Counter(found) - Counter(wanted)).elements())
    if missing.total() * len(rest) > MOST_PAIRS:
        raise Unreadable("too_big")
    for item in missing.elements():
        match = next((index for index, other in enumerate(rest) if _same_or_not(item, other)), None)
        if match is None:
            return False
        del rest[match]
    return not rest


def _rows(gold: Node, answer: Node) -> bool | None:
    """Tuples, points and intervals: in order, with the same ends."""
    if gold.op != "seq" and answer.op != "seq":
        return None
    if "rel" in (gold.op, answer.op) or _signs(gold) or _signs(answer):
        return None
    gold, answer = _point(gold), _point(answer)
    if gold.op != "seq" or answer.op != "seq":
        return False
    (*ends, wanted), (*other_ends, found) = gold.args, answer.args
    round_or_square = [["(", ")"], ["[", "]"]]
    alike = ends == other_ends or (len(wanted) > 2 and ends in round_or_square and other_ends in round_or_square)
    return alike and _elementwise(wanted, found)


def _point(node: Node) -> Node:
    """x = 1, y = 2 is the point (1, 2): values of different symbols, in the order of the alphabet."""
    if node.op != "list" or not all(item.op == "rel" and item.args[1][0].op == "sym" for item in node.args[0]):
        return node
    names = [item.args[1][0].args[0] for item in node.args[0]]
    values = [named(item) for item in node.args[0]]
    ordered = names == sorted(set(names)) and None not in values
    return Node("seq", ("(", ")", tuple(values))) if ordered else node


def _elementwise(wanted: tuple[Node, ...], found: tuple[Node, ...]) -> bool:
    if max(len(wanted), len(found)) > MOST_ITEMS:
        raise Unreadable("too_big")
    infinities = (Node("const", ("infty",)), Node("neg", (Node("const", ("infty",)),)))
    return len(wanted) == len(found) and all(
        one == two if one in infinities or two in infinities else same(one, two)
        for one, two in zip(wanted, found, strict=True)
    )


def _matrices(gold: Node, answer: Node) -> bool | None:
    gold, answer = _multiplied(gold), _multiplied(answer)
    if "matrix" not in (gold.op, answer.op):
        return None
    if gold.op != answer.op or len(gold.args[0]) != len(answer.args[0]):
        return False
    return all(_elementwise(one, two) for one, two in zip(gold.args[0], answer.args[0], strict=True))


def _multiplied(node: Node) -> Node:
    """A matrix with the number before it multiplied in."""
    if node.op not in ("mul", "div", "neg"):
        return node
    parts = [_multiplied(arg) for arg in node.args]
    places = [place for place, part in enumerate(parts) if part.op == "matrix"]
    if len(places) != 1 or (node.op == "div" and places == [1]):
        return node
    (place,) = places

    def entry(value: Node) -> Node:
        return Node(node.op, tuple(value if at == place else part for at, part in enumerate(parts)))

    return Node("matrix", (tuple(tuple(entry(value) for value in row) for row in parts[place].args[0]),))


def _ratios(gold: Node, answer: Node) -> bool | None:
    """3:4 is 6:8; of two parts it is also 3/4."""
    one, two = _parts(gold), _parts(answer)
    if len(one) == len(two) == 1:
        return None
    if {len(one), len(two)} == {1, 2}:
        return _measures(*(Node("div", tuple(parts)) if len(parts) == 2 else parts[0] for parts in (one, two)))
    if len(one) != len(two):
        return False
    return all(
        _measures(Node("mul", (one[0], right)), Node("mul", (two[0], left)))
        for left, right in zip(one, two, strict=True)
    )


def _parts(node: Node) -> list[Node]:
    return [*_parts(node.args[0]), node.args[1]] if node.op == "ratio" else [node]


def _bases(gold: Node, answer: Node) -> bool | None:
    """A numeral with its base equals one of the same value that names a base too; 16 written plainly is in base ten."""
    if "base" not in (gold.op, answer.op):
        return None
    values = []
    for node in (gold, answer):
        if node.op == "base":
            values.append(_positional(*node.args))
        elif gold.op == "base" and gold.args[1] != 10:
            return False
        else:
            values.append(exact(node) if (answer.op == "base" and answer.args[1] == 10) or gold.op == "base" else None)
    return None not in values and values[0] == values[1]


def _positional(digits: str, base: int) -> Fraction:
    whole, _, part = digits.partition(".")
    return Fraction(int(whole or "0", base)) + (Fraction(int(part, base), base ** len(part)) if part else 0)


# One value


def _measures(gold: Node, answer: Node) -> bool:
    """Two values, each perhaps with a unit. A unit on one side only is no difference; two different ones are."""
    (one, unit), (two, other) = _split_unit(gold), _split_unit(answer)
    if unit and other:
        (factor, dimensions), (other_factor, other_dimensions) = dimension(unit), dimension(other)
        if dimensions != other_dimensions and None not in (dimensions, other_dimensions):
            return False
        one, two = _scaled(one, factor), _scaled(two, other_factor)
    elif unit or other:
        factor, dimensions = dimension(unit or other)
        if dimensions == ():  # a multiplier: 5 million, 3 dozen
            one, two = (_scaled(one, factor), two) if unit else (one, _scaled(two, factor))
    return _equal(one, two)


def _scaled(node: Node, factor: Fraction) -> Node:
    return node if factor == 1 else Node("mul", (Node("num", (factor,)), node))


def _split_unit(node: Node) -> tuple[Node, str]:
    if node.op == "unit":
        value, unit = _split_unit(node.args[0])
        return value, f"{node.args[1]} {unit}".strip()
    if node.op == "neg":
        value, unit = _split_unit(node.args[0])
        return Node("neg", (value,)), unit
    return (node.args[0], "degree") if node.op == "deg" else (node, "")


def _equal(one: Node, two: Node) -> bool:
    if one == two:
        return True
    infinite = Node("const", ("infty",))
    if infinite in (one, two) or Node("neg", (infinite,)) in (one, two):
        return False
    left, right = exact(one), exact(two)
    if left is not None and right is not None:
        return left == right
    if not any(symbols(one)) and not any(symbols(two)):
        return close(one, two, 0)
    points = (*POINTS, WHOLE, WHOLE + 1, WHOLE + 2) if rounds(one) or rounds(two) else POINTS
    if not all(close(one, two, point) for point in points):
        return False
    return _close_if_real(one, two)


def _close_if_real(one: Node, two: Node) -> bool:
    """Where symbols are negative both may leave the reals (logarithms, roots); where both stay they must agree."""
    try:
        if any(complex(number(each, 1)[0]).imag for each in (one, two)):
            return True
        return close(one, two, 1)
    except Unreadable:
        return True
