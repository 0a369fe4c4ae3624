"""Is a right answer also worked out, or did it copy an unevaluated formula out of the question?"""

from __future__ import annotations

from fractions import Fraction

from rewards.equal import named
from rewards.latex import Node
from rewards.values import exact

_POWERS_KEPT = (Node("num", (Fraction(10),)), Node("const", ("e",)), Node("const", ("pi",)))


def worked_out(gold: Node, answer: Node) -> bool:
    r"""Whether an answer that equals the gold is worked out as far.

    A literal number (integer, fraction, percentage, numeral in a base, a+bi, multiples of roots, pi and e) wants one: a
    decimal a decimal, a numeral one in the same base, a simple radical one whose root is as small. A gold in symbols wants
    an answer with hardly more operations than it has itself.
    """
    gold, answer = _final(gold), _final(answer)
    if answer.op == "rel" and gold.op != "rel":
        return False
    if gold.op in ("base", "percent") or answer.op == "base":
        return gold.op == answer.op and gold.args[1:] == answer.args[1:]
    if _is_decimal(gold):
        return _is_literal(answer) and answer.op in ("num", "neg", "percent", "mul")
    if _is_literal(gold):
        return _is_literal(answer) and max(_radicands(answer), default=1) <= max(_radicands(gold), default=1)
    count = _operations(gold)
    return _operations(answer) <= count + max(1, count // 4)


def _final(node: Node) -> Node:
    """The value without its unit, the words around it and the name before it."""
    if node.op == "worded":
        return _final(node.args[1])
    if node.op in ("unit", "deg"):
        return _final(node.args[0])
    if node.op == "rel" and (value := named(node)) is not None:
        return _final(value)
    return node


def _is_decimal(node: Node) -> bool:
    if node.op == "neg":
        return _is_decimal(node.args[0])
    return node.op == "num" and node.args[0].denominator != 1


def _is_literal(node: Node) -> bool:
    op, args = node
    if op in ("num", "mixed", "base", "const"):
        return True
    if op in ("neg", "percent", "unit", "deg"):
        return _is_literal(args[0])
    if op == "div":
        return _is_literal(args[0]) and _is_literal(args[1]) and args[1].op not in ("div", "add")
    if op == "root":
        return args[0].op == "num" and exact(node) is None
    if op == "pow":
        return args[0] in _POWERS_KEPT and _is_literal(args[1])
    if op == "mul":  # one number and its root, pi or power of ten: 2 * 3 is not worked out
        return all(_is_literal(arg) and arg.op != "add" for arg in args) and sum(_numbers(node)) <= 1
    if op == "add":  # at most one term is a plain number: 2 + 3 is not worked out
        return all(_is_literal(term) for term in args) and sum(exact(term) is not None for term in args) <= 1
    return False


def _numbers(node: Node) -> list[int]:
    """One for each factor that is a plain number."""
    return (
        [*_numbers(node.args[0]), *_numbers(node.args[1])]
        if node.op == "mul"
        else [int(exact(node) is not None and node.op != "pow")]
    )


def _radicands(node: Node) -> list[Fraction]:
    found = [node.args[0].args[0]] if node.op == "root" and node.args[0].op == "num" else []
    return found + [each for arg in node.args if isinstance(arg, Node) for each in _radicands(arg)]


def _operations(node: Node) -> int:
    """How many operations a tree has; a sum of n terms has n - 1."""
    inner = sum(
        _operations(each)
        for arg in node.args
        for each in (arg if isinstance(arg, tuple) and arg and not isinstance(arg, Node) else (arg,))
        if isinstance(each, Node)
    )
    if node.op in ("num", "sym", "const", "text", "list", "set", "seq", "neg", "base"):
        return inner
    return inner + (len(node.args) - 1 if node.op == "add" else 1)
