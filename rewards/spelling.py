r"""The words of the answer's language: every spelling of one thing (`\dfrac`, `½`, `\,`, `1 234`) becomes one token.

Nothing is evaluated here and the work is linear in the length of the text. rewards/latex.py builds trees of the tokens.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple


class Unreadable(ValueError):  # noqa: N818  the answer's fault, not an error of the program
    """No answer could be read from this text. Its `reason` goes into the verdict."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Token(NamedTuple):
    """Kinds: num, rep (a repeating decimal), sci (3e5), base, let (a symbol), word, cmd (TeX), begin, end, op."""

    kind: str
    text: str


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":", 1) for pair in text.split())


# Unicode in its TeX spelling; marks that print nothing are dropped.
_COMMANDS = _pairs(
    r"√:\sqrt π:\pi ∞:\infty ×:\times ÷:\div ·:\cdot ⋅:\cdot ≤:\le ≥:\ge ≠:\ne ≈:\approx ±:\pm ∓:\mp ∪:\cup ∩:\cap"
    r" ∈:\in ∅:\emptyset ∖:\setminus ⟨:\langle ⟩:\rangle α:\alpha β:\beta γ:\gamma θ:\theta λ:\lambda φ:\phi ω:\omega"
)
_FRACTIONS = _pairs("½:1/2 ⅓:1/3 ⅔:2/3 ¼:1/4 ¾:3/4 ⅕:1/5 ⅖:2/5 ⅗:3/5 ⅘:4/5 ⅙:1/6 ⅚:5/6 ⅛:1/8 ⅜:3/8 ⅝:5/8 ⅞:7/8")
_UNPRINTED = "\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNICODE = (
    {sign: command + " " for sign, command in _COMMANDS.items()}
    | {sign: rf"\frac{{{value[0]}}}{{{value[2]}}}" for sign, value in _FRACTIONS.items()}
    | dict.fromkeys(_UNPRINTED, "")
    | dict.fromkeys("\u00a0\u2002\u2003\u2005\u2009\u200a\u202f", r"\,")
    | dict.fromkeys("\u2212\u2010\u2011\u2013", "-")
    | {sign: f"^{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    | {sign: f"_{{{digit}}}" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")}
    | {"°": r"^{\circ}", "ℝ": r"\mathbb{R}", "’": "'", "′": "'", "⁄": "/", "∕": "/", "，": ",", "。": "."}
)
_TRANSLATE = str.maketrans(_UNICODE)

_GROUPED = re.compile(r"(?<![\d.])(\d{1,3})((?:(?:\{,\}|,?\\[,;:!] ?|\\ |~| )\d{3})+)(?!\d)")
_MIXED = re.compile(r"(?<![\d.,/^_{}])(\d+)(?:\s|\\[ ,;])+(\d+)\s*/\s*(\d+)(?![\d.])")
_DROPPED = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])\s*\.?"
    r"|\\(?:(?:display|text|script)style|(?:no)?limits|q?quad|(?:math)?strut|(?:thin|en|)space|[lL]arge|bf|rm|it)(?![a-zA-Z])"
    r"|\\[hv](?:space|skip)\*?\s*\{[^{}]*\}|\\(?:[vh]?phantom|label|tag|(?:text)?color)(?:\s*\{[^{}]*\}|(?![a-zA-Z]))"
    r"|(?<!\\)\\[,;:! ()\[\]]|(?<!\\)\$|~|_\{\s*\}"
)
_BOLD = re.compile(r"(?<![\w)}*])\*\*([^*]+)\*\*(?![\w(*])")
_BASES = _pairs("two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 twelve:12 sixteen:16")
_BASE = rf"\(?(\d{{1,2}}|{'|'.join(_BASES)})\)?"
_BASED = re.compile(
    r"(?<![\w.\\{^])(?:\\(?:text|mathrm|mathtt)\s*\{\s*|\(\s*)?"
    r"(?=[A-F]*\d|[A-F]{2})([0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)\s*[})]?\s*"
    rf"(?:_\s*\{{\s*\\(?:text|mathrm)\s*\{{\s*{_BASE}\s*\}}\s*\}}|_\s*\{{\s*{_BASE}\s*\}}|_\s*{_BASE}(?!\w|\.\d)"
    rf"|,?\s*(?:\\text\s*\{{)?\s*\(?\s*(?:in\s+)?base[\s~-]*\}}?\s*{_BASE}(?!\w|\.\d)\s*\)?\s*\}}?)"
)
_ROOT = re.compile(r"√\s*(?:(\d+(?:\.\d+)?)|\(([^()]*)\))")
_DECORATION = re.compile(
    r"(\\\\)\[[\d.]+ ?(?:pt|em|ex|mm|cm)\]|\b(?:np|math)\.(?=[a-z])"
)  # row spacing; Python's name for a function
_DIGITS_IN_TEXT = re.compile(r"(?<=[\dA-F])\\(?:text|mathrm)\s*\{([0-9A-F]+)\}(?=[\w\s]*_)")
_UNIT = r"(?:[kcmnµμ]?m|[km]?g|[kMG]?Hz|[kmM]?[JWVNL]|[km]?mol|k?Pa|ml|s|h|A|K|C|F|T|mph)(?:\s*\^\s*\{?-?\d\}?)?"
_UNIT_TAIL = re.compile(rf"(?<=[\d)}}])(?:\s|\\[,; ]|~)+({_UNIT}(?:\s*(?:/|\\cdot)\s*{_UNIT})?)[.\s]*$")
_BARE_LETTER = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")

_TEXT_COMMANDS = _names(
    "text textbf textit textrm textsf texttt textnormal textup textsc emph mbox hbox mathrm operatorname mathsf mathtt"
)
_FONT_COMMANDS = _names(
    "mathbf mathit mathnormal boldsymbol bm mathcal mathfrak pmb bold underline boxed fbox framebox ensuremath"
)
_SAME = _pairs(
    "dfrac:frac tfrac:frac cfrac:frac dbinom:binom tbinom:binom leq:le leqslant:le leqq:le geq:ge geqslant:ge geqq:ge neq:ne"
    " lt:< gt:> simeq:approx cong:approx sim:approx land:and wedge:and lor:or vee:or times:* cdot:* ast:* div:/ colon::"
    " lbrace:{ rbrace:} lbrack:[ rbrack:] lvert:| rvert:| vert:| mid:| backslash:setminus varnothing:emptyset bigcup:cup"
    " bigcap:cap infin:infty degree:circ varphi:phi varepsilon:epsilon vartheta:theta tg:tan ctg:cot arctg:arctan R:reals"
    " ldots:dots cdots:dots dotsc:dots dotsb:dots vdots:dots prime:'"
)
_SIGNS = {"<=": "le", "=<": "le", ">=": "ge", "!=": "ne", "==": "=", "**": "^"}
FUNCTIONS = _names(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth ln log exp gcd lcm max min lg det"
    " asin acos atan sgn"
)
GREEK = _names(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega Gamma"
    " Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar nabla partial imath jmath aleph mho odot triangle square"
    " star bullet dagger clubsuit heartsuit diamondsuit spadesuit angle perp parallel"
)
_SPELLED_OUT = _names("pi sqrt infinity inf binom theta alpha beta phi omega lambda abs")
_SHORT_WORDS = _names(  # runs of up to three letters that are words or units, not products of symbols
    "cm mm km kg mg ft mi hr lb oz ml sq no or is to of as it and yes the not odd per day lbs hrs for all any one two six ten"
    " are has was way men mod mph inch feet nan pm am mol gal yd yds usd box cat dog red tie win"
)
_TOKEN = re.compile(
    r"\\base\{(?P<base>[0-9A-F.]+:\d+)\}"
    r"|(?P<rep>\d*\.(?:\d*(?:\\(?:overline|bar)\s*(?:\{\s*\d+\s*\}|\d)|\\dot\s*\{?\d\}?(?:\d*\\dot\s*\{?\d\}?)?)|\d*\(\d+\)))"
    r"|(?P<sci>(?:\d+(?:\.\d+)?|\.\d+)[eE][+-]?\d+(?![\w.]))"
    r"|(?P<num>\d+(?:\.\d+|\.(?=/))?|\.\d+)"
    r"|\\(?P<cmd>[a-zA-Z]+)\*?|(?P<esc>\\.)"
    r"|(?P<alpha>[a-zA-Z]+(?:['-][a-zA-Z]{2,})*)"
    r"|(?P<dots>\.{2,})|(?P<two><=|>=|!=|==|\*\*|=<)"
    r"|(?P<space>\s+)|(?P<op>.)",
    re.DOTALL,
)
_OPENING = re.compile(r"\s*\{")
_ENVIRONMENT = re.compile(r"\s*\{([a-zA-Z]+)\*?\}(?:\s*\{[clr|\s]*\})?")
_BLACKBOARD = re.compile(r"\s*\{?\s*([A-Z])\s*\}?")
_COMMA_RUN = re.compile(r"(?:,\d+)+(?:\.\d+)?")
_COMMA_GROUP = re.compile(r"(?:,\d{3})+(?:\.\d+)?")
_DIGIT_DOT = re.compile(r"\\dot\s*\{?(\d)\}?")


def clean(text: str) -> str:
    r"""The text without what only dresses it: Unicode in TeX spelling, thousands joined, frames and spacing gone."""
    if not text.isascii():
        text = _ROOT.sub(r"\\sqrt{\1\2}", text.replace("¢", r"\text{ cents}"))
        text = unicodedata.normalize("NFKC", text.translate(_TRANSLATE))
    text = " ".join(text.split())  # so that no pattern meets more than one space in a row
    text = _DIGITS_IN_TEXT.sub(r"\1", _BOLD.sub(r"\1", _DECORATION.sub(lambda found: found[1] or "", text)))
    text = _GROUPED.sub(lambda found: found[1] + re.sub(r"\D", "", found[2]), _MIXED.sub(r"\1\\frac{\2}{\3}", text))
    text = _BASED.sub(_with_base, text)
    if (tail := _UNIT_TAIL.search(text)) and not _BARE_LETTER.search(text, 0, tail.start()):
        text = text[: tail.start()] + rf"\text{{ {tail[1]}}}"
    text = _DROPPED.sub(" ", text).strip().rstrip(" .\\")
    outer = min(len(text) - len(text.lstrip("{")), len(text) - len(text.rstrip("}")))
    return text[outer : len(text) - outer] if outer and balanced(text[outer : len(text) - outer]) else text


def balanced(text: str) -> bool:
    r"""Whether every brace that opens closes; \{ and \} are printed and do neither."""
    depth = 0
    for character in re.sub(r"\\[{}]", "", text):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _with_base(found: re.Match[str]) -> str:
    written = next(group for group in found.groups()[1:] if group)
    base, digits = int(_BASES.get(written, written)), found[1].upper()
    if not 2 <= base <= 16 or any(int(digit, 16) >= base for digit in digits if digit != "."):
        return found[0]  # no numeral of that base: E_{1} is a name
    return rf"\base{{{digits}:{base}}}"


def repeating(text: str) -> Fraction:
    r"""The value of a repeating decimal: the digits that repeat over as many nines, shifted behind the fixed ones.

    >>> repeating(r"0.1\overline{6}"), repeating("0.(3)")
    (Fraction(1, 6), Fraction(1, 3))
    """
    whole, _, rest = text.partition(".")
    if dotted := _DIGIT_DOT.search(rest):
        fixed, again = rest[: dotted.start()], _DIGIT_DOT.sub(r"\1", rest[dotted.start() :])
    else:
        fixed, again = re.split(r"\D+", rest, maxsplit=1)
    again = re.sub(r"\D", "", again)
    return Fraction(f"{whole or 0}.{fixed or 0}") + Fraction(int(again), 10 ** len(fixed) * (10 ** len(again) - 1))


def tokens(text: str) -> list[Token]:
    """The tokens of a cleaned text. Raises Unreadable at an environment or alphabet that is not closed."""
    return _Tokenizer(text).run()


class _Tokenizer:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.found = text, 0, list[Token]()
        self.prose = False
        self.braces: list[tuple[bool, bool]] = []  # for each open brace: prose before it, and is it a text command's
        self.brackets = 0  # a comma between digits inside brackets is no thousands separator

    def run(self) -> list[Token]:
        while self.at < len(self.text):
            match = _TOKEN.match(self.text, self.at)
            assert match
            assert match.lastgroup
            self.at = match.end()
            getattr(self, "_" + match.lastgroup)(match[match.lastgroup])
        return self.found

    def _add(self, kind: str, text: str) -> None:
        self.found.append(Token(kind, text))

    def _num(self, text: str) -> None:
        run = _COMMA_RUN.match(self.text, self.at)
        first = self.text[self.at - len(text) - 1 : self.at - len(text)] != ","  # 27,54,108 is a list throughout
        if (
            run
            and first
            and not self.brackets
            and len(text) <= 3
            and "." not in text
            and _COMMA_GROUP.fullmatch(run[0])
        ):
            text, self.at = text + run[0].replace(",", ""), run.end()
        self._add("num", text)

    def _base(self, text: str) -> None:
        self._add("base", text)

    def _rep(self, text: str) -> None:
        self._add("rep", text)

    def _sci(self, text: str) -> None:
        self._add("sci", text)

    def _space(self, text: str) -> None:
        pass

    def _dots(self, text: str) -> None:
        self._add("cmd", "dots")

    def _two(self, text: str) -> None:
        self._add("op", _SIGNS[text])

    def _alpha(self, run: str) -> None:
        """A run of letters: a word in running text or where it is one, else symbols side by side."""
        after_subscript = bool(self.found) and self.found[-1] == Token("op", "_")
        if self.prose and run not in ("i", "e"):
            self._add("word", run)
        elif run in FUNCTIONS or run in _SPELLED_OUT:
            self._add("cmd", {"infinity": "infty", "inf": "infty"}.get(run, run))
        elif not after_subscript and (
            len(run) > 3 or run in _SHORT_WORDS or (len(run) == 3 and run.lower() in _SHORT_WORDS)
        ):
            self._add("word", run)
        else:
            self.found += [Token("let", letter) for letter in run if letter.isalpha()]

    def _cmd(self, name: str) -> None:
        name = _SAME.get(name, name)
        if name in _TEXT_COMMANDS:
            if opening := _OPENING.match(self.text, self.at):
                self.at = opening.end()
                self.braces.append((self.prose, True))
                self.prose = True
        elif name in ("begin", "end"):
            self._add(name, self._argument(_ENVIRONMENT))
        elif name == "mathbb":
            letter = self._argument(_BLACKBOARD)
            self._add("cmd", "reals" if letter == "R" else f"set{letter}")
        elif len(name) <= 1 or name in ("le", "ge", "ne", "approx", "setminus"):
            self._add("op", name)
        elif name not in _FONT_COMMANDS:
            self._add("word" if name in ("and", "or") else "cmd", name)

    def _argument(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            raise Unreadable("syntax")
        self.at = found.end()
        return found[1]

    def _esc(self, text: str) -> None:
        sign = {"\\": "newline", "{": "lset", "}": "rset"}.get(text[1], text[1])
        self.brackets += (sign == "lset") - (sign == "rset")
        self._add("op", sign)

    def _op(self, sign: str) -> None:
        if sign == "{":
            self.braces.append((self.prose, False))
        elif sign == "}" and self.braces:
            self.prose, of_text = self.braces.pop()
            if of_text:  # a text command's braces say nothing themselves
                return
        self.brackets += (sign in "([") - (sign in ")]")
        self._add("op", sign)
