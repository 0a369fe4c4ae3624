r"""What an answer says, as a tree: a small reader of the LaTeX and plain text that answers are written in.

Nothing is evaluated here and nothing of the text is ever code. Every spelling of one thing gives one tree; what two trees
are worth is for rewards/equal.py to say.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from rewards.spelling import FUNCTIONS, GREEK, Token, Unreadable, clean, repeating, tokens

LONGEST = 2_000  # characters of an answer that are still read
DEEPEST = 40  # nested brackets, fractions and roots
LONGEST_CHAIN = 100  # factors of one product, powers on one base

_MONEY = re.compile(r"\\\$|£|€")


class Node(NamedTuple):
    """One operation and what it is applied to: other nodes, or a number, name or text at the leaves."""

    op: str
    args: tuple[Any, ...]


class _Reader:
    """Recursive descent over tokens. Each method reads one level and leaves `at` behind what it read."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens, self.at, self.depth, self.bars = found, 0, 0, 0

    def peek(self, ahead: int = 0) -> Token:
        where = self.at + ahead
        return self.tokens[where] if where < len(self.tokens) else _END

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, kind: str, text: str) -> bool:
        if self.peek() == (kind, text):
            self.at += 1
            return True
        return False

    def fail(self) -> NoReturn:
        raise Unreadable("syntax")

    def expect(self, text: str) -> None:
        if not self.accept("op", text):
            self.fail()

    # answer: items separated by commas, semicolons, "and", "or"
    def sequence(self, ends: tuple[str, ...]) -> tuple[list[Node], str]:
        """Items up to one of `ends` (not read), and what joined them: "", ",", "and" or "or"."""
        items: list[Node] = []
        joined = ""
        while True:
            while self.peek() == ("op", "."):
                self.at += 1
            if self.at_end(ends):
                return items, joined
            items.append(self.item(ends))
            separator = False
            while True:
                token = self.peek()
                if token.kind == "op" and token.text in (",", ";", "newline", "&"):
                    joined, separator = joined or ",", True
                elif token.kind == "word" and token.text.lower() in ("and", "or"):
                    joined, separator = token.text.lower(), True
                elif token != ("op", "."):
                    break
                self.at += 1
            if not separator:
                if not self.at_end(ends):
                    self.fail()
                return items, joined

    def at_end(self, ends: tuple[str, ...]) -> bool:
        token = self.peek()
        return token is _END or (token.kind == "op" and token.text in ends)

    def item(self, ends: tuple[str, ...]) -> Node:
        """A relation, with words before it (fillers or a name) and words behind it (a unit)."""
        while self.peek().text in ("=", "approx", ":"):  # "= 5" says 5
            self.at += 1
        start = self.at
        words = self.words()
        if words and (self.at_end(ends) or self.separator()):
            alone = len(words) == 1 and len(words[0]) == 1
            return Node("sym", (words[0],)) if alone else Node("text", (" ".join(words),))
        if words and self.peek().text in ("=", "approx", ":"):  # Area = 5
            self.at, words = (self.at + 1 if self.peek().text == ":" else start), []
        value = self.relation()
        unit = self.unit(ends)
        value = _with_unit(value, unit) if unit else value
        return Node("worded", (" ".join(words), value)) if words else value

    def separator(self) -> bool:
        token = self.peek()
        return (token.kind == "op" and token.text in ",;") or (
            token.kind == "word" and token.text.lower() in ("and", "or")
        )

    def words(self) -> list[str]:
        """Words in a row, quotation marks passed over."""
        found: list[str] = []
        while True:
            token = self.peek()
            if token.kind == "word" and token.text.lower() not in ("and", "or"):
                found.append(token.text)
            elif not (token.kind == "op" and token.text in "'\"`?!" and (found or self.peek(1).kind == "word")):
                return found
            self.at += 1

    def subscript(self) -> str:
        """The text of a subscript: a name, whatever it looks like."""
        if not self.accept("op", "{"):
            return self.take().text
        parts, depth = [], 1
        while depth and self.at < len(self.tokens):
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            parts += [token.text] if depth else []
        return "".join(parts)

    def unit(self, ends: tuple[str, ...]) -> str:
        """What stands behind a value up to the next separator, as one lower-case text; empty when nothing does."""
        parts: list[str] = []
        while not self.at_end(ends) and not self.separator():
            token = self.take()
            if token.kind in ("word", "let", "num", "cmd") or (token.kind == "op" and token.text in "/^*-(){}.'$%"):
                parts.append({"{": "", "}": "", "*": "", "(": "", ")": ""}.get(token.text, token.text))
            else:
                self.fail()
        return " ".join(part for part in parts if part).strip(" .")

    def relation(self) -> Node:
        members = [Node("sym", ("",)) if self.peek().text in _INEQUALITIES else self.member()]
        ops: list[str] = []
        while (token := self.peek()).kind in ("op", "cmd") and token.text in _RELATIONS:
            self.at += 1
            ops.append(token.text)
            members.append(self.member())
        return Node("rel", (tuple(ops), tuple(members))) if ops else members[0]

    def member(self) -> Node:
        """One side of a relation: an expression, or words that name something."""
        words = self.words()
        return Node("sym", (" ".join(words),)) if words else self.additive()

    def additive(self) -> Node:
        terms: list[Node] = []
        value: Node | None = None
        chain = 0
        while True:
            token = self.peek()
            chain += token.kind == "cmd" or token.text == "setminus"
            if chain > LONGEST_CHAIN:
                raise Unreadable("too_deep")
            if token == ("op", "-") or token == ("op", "+"):
                self.at += 1
                term = self.product()
                terms.append(Node("neg", (term,)) if token.text == "-" else term)
            elif token.kind == "cmd" and token.text in ("pm", "mp"):
                self.at += 1
                left = _sum(terms) if terms else None
                terms = [Node(token.text, (left, self.product()))]
            elif not terms and value is None:
                terms.append(self.product())
            elif token.text in ("cup", "cap", "setminus") and token.kind in ("cmd", "op"):
                self.at += 1
                value = _sum(terms) if value is None else value
                value = Node(token.text, (value, self.product()))
                terms = []
            else:
                return value if value is not None and not terms else _sum(terms)

    def product(self) -> Node:
        value = self.signed()
        for _ in range(LONGEST_CHAIN):
            token = self.peek()
            if token == ("op", "*"):
                self.at += 1
                value = Node("mul", (value, self.signed()))
            elif token == ("op", "/"):
                self.at += 1
                under = self.signed()
                percent = under.op == "percent"  # 1/2% is half a percent
                value = Node("div", (value, under.args[0] if percent else under))
                value = Node("percent", (value,)) if percent else value
            elif token == ("op", ":") and self.starts_factor(self.peek(1)):
                self.at += 1
                value = Node("ratio", (value, self.signed()))
            elif token in (("cmd", "over"), ("cmd", "choose")):
                self.at += 1
                value = Node("div" if token.text == "over" else "binom", (value, self.additive()))
            elif self.starts_factor(token):
                if token.kind in ("num", "rep", "sci") and self.tokens[self.at - 1].kind in ("num", "rep", "sci"):
                    self.fail()  # two numbers side by side are no product
                value = Node("mul", (value, self.power()))
            else:
                return value
        raise Unreadable("too_deep")

    def starts_factor(self, token: Token) -> bool:
        if token.kind in ("num", "rep", "sci", "let", "begin", "base"):
            return True
        if token.kind == "cmd":
            return token.text in _FACTORS
        if token.kind != "op":
            return False
        return token.text in ("(", "[", "lset", "{") or (token.text == "|" and self.bars == 0)

    def signed(self) -> Node:
        negative = False
        while self.peek() in (("op", "-"), ("op", "+")):
            negative ^= self.take().text == "-"
        value = self.power()
        return Node("neg", (value,)) if negative else value

    def power(self) -> Node:
        value = self.atom()
        for _ in range(LONGEST_CHAIN):
            token = self.peek()
            if token == ("op", "^"):
                self.at += 1
                value = self.raised(value)
            elif token == ("op", "!"):
                self.at += 1
                value = Node("fact", (value,))
            elif token == ("op", "%"):
                self.at += 1
                value = Node("percent", (value,))
            elif token.kind == "word" and token.text.lower() in ("percent", "degrees", "degree"):
                self.at += 1
                value = Node("percent" if token.text.lower() == "percent" else "deg", (value,))
            elif token == ("op", "'") and value.op == "sym":
                self.at += 1
                value = Node("sym", (value.args[0] + "'",))
            elif token == ("cmd", "circ"):
                self.at += 1
                value = Node("deg", (value,))
            else:
                return value
        raise Unreadable("too_deep")

    def raised(self, value: Node) -> Node:
        if self.peek() == ("cmd", "circ"):
            self.at += 1
            return Node("deg", (value,))
        if self.peek() == ("op", "{") and self.peek(1) == ("cmd", "circ") and self.peek(2) == ("op", "}"):
            self.at += 3
            return Node("deg", (value,))
        if self.peek() == ("op", "'") or (self.peek() == ("op", "{") and self.peek(1) == ("op", "'")):
            while self.peek().text in ("{", "'", "}"):
                self.at += 1
            return Node("sym", (str(value.args[0]) + "'",)) if value.op == "sym" else self.fail()
        exponent = self.argument()
        return Node("pow", (value, exponent))

    def argument(self) -> Node:
        """What stands in braces or, where there are none, one signed thing; 2^10 is read as plain text means it."""
        token = self.peek()
        if token == ("op", "{"):
            return self.group()
        if token == ("op", "-") or token == ("op", "+"):
            return self.signed()
        return self.atom()

    def group(self) -> Node:
        self.expect("{")
        self.deeper()
        items, joined = self.sequence(("}",))
        self.depth -= 1
        self.expect("}")
        if not items:
            self.fail()
        return items[0] if len(items) == 1 else Node("list", (tuple(items), joined))

    def atom(self) -> Node:
        self.deeper()
        value = self.inside(self.take())
        self.depth -= 1
        return value

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("too_deep")

    def inside(self, token: Token) -> Node:
        if token.kind in ("num", "rep", "sci"):
            return self.literal(token)
        if token.kind == "base":
            digits, _, base = token.text.partition(":")
            return Node("base", (digits, int(base)))
        if token.kind == "let":
            return self.symbol(token.text)
        if token.kind == "cmd":
            return self.command(token.text)
        if token.kind == "begin":
            return self.matrix(token.text)
        if token.kind == "op" and token.text == "{":
            self.at -= 1
            return self.group()
        if token.kind == "op" and token.text in ("(", "[", "lset", "|", "]"):
            return self.bracket(token.text)
        if token.kind == "word" and len(token.text) == 1:
            return self.symbol(token.text)
        raise Unreadable("syntax")

    def literal(self, token: Token) -> Node:
        if token.kind == "rep":
            return Node("num", (repeating(token.text),))
        if token.kind == "sci":
            if abs(int(re.split("[eE]", token.text)[1][:8])) > 5_000:
                raise Unreadable("too_big")
            return Node("num", (Fraction(token.text),))
        value = _number(token.text)
        if "." not in token.text and self.peek() == ("cmd", "frac"):
            part = self.atom()  # 3\frac12 is three and a half, 3\frac{x}{2} a product
            top, bottom = part.args
            if top.op == bottom.op == "num" and 0 < top.args[0] < bottom.args[0]:
                return Node("mixed", (value, part))
            return Node("mul", (value, part))
        return value

    def symbol(self, name: str) -> Node:
        if self.accept("op", "_"):
            name += "_" + self.subscript()
        if name in _CALLED and self.peek() == ("op", "("):
            self.at += 1
            name += f"({_flat(self.bracket('('))})"
        return Node("const", (name,)) if name in ("e", "i") else Node("sym", (name,))

    def bracket(self, opening: str) -> Node:
        if opening == "|":
            self.bars += 1
            inside = self.additive()
            self.expect("|")
            self.bars -= 1
            return Node("abs", (inside,))
        if opening == "lset" and (built := self.built_set()):
            return built
        ends = ("rset",) if opening == "lset" else (")", "]", "[")
        items, joined = self.sequence(ends)
        if self.at >= len(self.tokens):
            self.fail()
        closing = self.take().text
        if opening == "lset":
            return Node("set", (tuple(items),))
        if len(items) == 1 and (opening, closing) in (("(", ")"), ("[", "]")):
            return items[0] if opening == "(" or items[0].op != "num" else Node("brackets", (items[0],))
        if not items or joined not in (",", ""):
            self.fail()
        return Node("seq", (opening, closing, tuple(items)))

    def series(self, name: str) -> Node:
        r"""\sum_{k=1}^{10} k and the like: the index, its first and last value, and what is added."""
        self.expect("_")
        start = self.group()
        self.expect("^")
        last = self.argument()
        if start.op != "rel" or start.args[0] != ("=",) or start.args[1][0].op != "sym":
            self.fail()
        return Node(name, (*start.args[1], last, self.product()))

    def built_set(self) -> Node | None:
        """{x : x > 0} and {x in R | x > 0}: what holds for their members. None where it is a set of another kind."""
        start = self.at
        self.bars += 1
        members = [self.symbol(self.take().text)] if self.peek().kind == "let" else []
        if (members and self.accept("op", "in")) or self.accept("cmd", "in"):
            members.append(self.power())
        self.bars -= 1
        if not members or not (self.accept("op", ":") or self.accept("op", "|")):
            self.at = start
            return None
        items, joined = self.sequence(("rset",))
        self.expect("rset")
        if len(members) == 2:
            items, joined = [Node("rel", (("in",), tuple(members))), *items], "and"
        return items[0] if len(items) == 1 else Node("list", (tuple(items), joined if joined == "or" else "and"))

    def command(self, name: str) -> Node:
        if name == "frac":
            return Node("div", (self.short_argument(), self.short_argument()))
        if name == "binom":
            return Node("binom", (self.short_argument(), self.short_argument()))
        if name == "sqrt":
            return self.root()
        if name in ("sum", "prod"):
            return self.series(name)
        if name == "pi":
            return Node("const", ("pi",))
        if name == "infty":
            return Node("const", ("infty",))
        if name == "emptyset":
            return Node("set", ((),))
        if name == "reals" or name.startswith("set"):
            return Node("space", (name,))
        if name in ("lfloor", "lceil"):
            inside = self.additive()
            if not self.accept("cmd", {"lfloor": "rfloor", "lceil": "rceil"}[name]):
                self.fail()
            return Node(name[1:], (inside,))
        if name == "langle":
            items, _ = self.sequence_until("rangle")
            return Node("seq", ("(", ")", tuple(items)))
        if name in _NAMED:
            return Node("sym", (f"{name}({_flat(self.argument())})",))
        if name == "abs":
            return Node("abs", (self.argument(),))
        if name in FUNCTIONS:
            return self.function(name)
        if name in GREEK:
            return self.symbol("\\" + name)
        if name == "dots":
            return Node("sym", ("dots",))
        raise Unreadable("syntax")

    def sequence_until(self, command: str) -> tuple[list[Node], str]:
        items = [self.additive()]
        while self.accept("op", ","):
            items.append(self.additive())
        if not self.accept("cmd", command):
            self.fail()
        return items, ","

    def short_argument(self) -> Node:
        r"""An argument of a command that takes one digit where braces are left out: \frac34, \sqrt2."""
        token = self.peek()
        if token.kind == "num" and "." not in token.text and len(token.text) > 1:
            self.tokens[self.at] = Token("num", token.text[1:])
            return _number(token.text[0])
        return self.argument()

    def root(self) -> Node:
        degree = _number("2")
        if self.accept("op", "["):
            degree = self.additive()
            self.expect("]")
        if self.peek() == ("op", "("):  # sqrt(2), as text has it
            self.at += 1
            return Node("root", (self.bracket("("), degree))
        return Node("root", (self.short_argument(), degree))

    def function(self, name: str) -> Node:
        name = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log"}.get(name, name)
        base = exponent = None
        while True:
            if self.accept("op", "_"):
                base = self.short_argument()
            elif self.accept("op", "^"):
                exponent = self.short_argument()
            else:
                break
        value = Node("fn", (name, base, self.operand()))
        if exponent is None:
            return value
        if exponent == Node("neg", (_number("1"),)):
            return Node("fn", ("arc" + name, base, value.args[2]))
        return Node("pow", (value, exponent))

    def operand(self) -> Node:
        """What a function is applied to: a bracket, or the factors up to the next function, sign or relation."""
        if self.peek() == ("op", "("):
            self.at += 1
            return self.bracket("(")
        if self.peek() == ("op", "{"):
            return self.group()
        if self.peek().kind == "cmd" and self.peek().text in FUNCTIONS:
            return self.power()
        value = self.signed()
        for _ in range(LONGEST_CHAIN):
            token = self.peek()
            bracket = token.kind == "op" and token.text in ("(", "[", "|")
            if bracket or token.text in FUNCTIONS or not self.starts_factor(token):
                if token == ("op", "/") and self.peek(1).kind == "num":  # \cos 2\pi/7
                    self.at += 1
                    value = Node("div", (value, self.power()))
                    continue
                return value
            value = Node("mul", (value, self.power()))
        raise Unreadable("too_deep")

    def matrix(self, kind: str) -> Node:
        if kind not in (
            "pmatrix",
            "bmatrix",
            "matrix",
            "array",
            "smallmatrix",
            "vmatrix",
            "Bmatrix",
            "cases",
            "aligned",
        ):
            self.fail()
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.accept("op", "&"):
                continue
            if self.accept("op", "newline"):
                rows.append(tuple(row))
                row = []
            elif self.peek().kind == "end":
                self.at += 1
                break
            elif self.accept("cmd", "hline"):
                continue
            else:
                row.append(self.relation())
        rows += [tuple(row)] if row else []
        return Node("det" if kind == "vmatrix" else "matrix", (tuple(rows),))


_END = Token("end", "")
_INEQUALITIES = {"<", ">", "le", "ge", "ne"}
_RELATIONS = _INEQUALITIES | {"=", "approx", "in", "equiv"}
_NAMED = frozenset({"overline", "bar", "hat", "vec", "overrightarrow", "widehat", "tilde", "dot", "ddot"})
_FACTORS = (
    GREEK
    | _NAMED
    | {"frac", "binom", "sqrt", "pi", "infty", "lfloor", "lceil", "langle", "abs", "emptyset", "dots", "sum", "prod"}
)
_FACTORS |= {"reals", "setN", "setZ", "setQ", "setC"} | FUNCTIONS
_CALLED = set("fghFGHPQpq")


def _number(text: str) -> Node:
    return Node("num", (Fraction(text),))


def _sum(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Node("add", tuple(terms))


def _with_unit(value: Node, unit: str) -> Node:
    if value.op == "rel":
        ops, members = value.args
        return Node("rel", (ops, (*members[:-1], Node("unit", (members[-1], unit)))))
    if value.op == "worded":
        return Node("worded", (value.args[0], _with_unit(value.args[1], unit)))
    return Node("unit", (value, unit))


def _flat(node: Node) -> str:
    """A node as a name, for subscripts and arguments of unknown functions."""
    if node.op in ("num", "sym", "const", "text"):
        return str(node.args[0])
    return f"{node.op}(" + ",".join(_flat(arg) if isinstance(arg, Node) else str(arg) for arg in node.args) + ")"


@lru_cache(maxsize=65_536)  # golds are met again with every completion, answers with every group
def parse(text: str) -> Node:
    r"""The tree of an answer: one item, or a "list" of several.

    Raises Unreadable when it is longer than 2,000 characters, nested deeper than 40, or no answer that is known here.
    """
    if len(text) > LONGEST:
        raise Unreadable("too_long")
    money = _MONEY.search(text)
    reader = _Reader(tokens(clean(_MONEY.sub(" ", text) if money else text)))
    items, joined = reader.sequence(())
    if not items:
        raise Unreadable("empty")
    tree = items[0] if len(items) == 1 else Node("list", (tuple(items), joined or ","))
    return _with_unit(tree, money[0].lstrip("\\")) if money and tree.op not in ("list", "unit", "text") else tree
