"""Are two written answers the same number, expression, set, or words?

Everything is decided here, in this process and thread, without signals, workers or evaluation of what the text says:
the answer is read into a tree (rewards/latex.py) whose size is bounded, and trees are compared by arithmetic whose cost
is bounded (rewards/values.py, rewards/equal.py). So there is nothing to time out, and a bomb costs what its length does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from rewards import words
from rewards.equal import same
from rewards.form import worked_out
from rewards.latex import LONGEST, Node, parse
from rewards.spelling import Unreadable, balanced
from rewards.values import exact

VERIFIER_VERSION = "2"  # goes up with every change that can change a verdict

Form = Literal["any", "final", "aime"]
"""What an answer must look like beside being equal: `final` wants a literal where the gold is one, `aime` 0 to 999."""
FORMS: tuple[Form, ...] = get_args(Form)


class Comparison(NamedTuple):
    """Whether an answer says what the gold says, how that was found, and whether it is worked out as asked."""

    correct: bool
    status: Literal["graded", "unparsable"]
    reason: str
    """equal, different or not_in_form; or why nothing could be read: empty, syntax, too_long, too_deep, too_big, undefined."""


_EQUAL = Comparison(True, "graded", "equal")
_DIFFERENT = Comparison(False, "graded", "different")
_AIME = re.compile(r"\d{1,3}", re.ASCII)
_LETTERS = re.compile(r"[A-Za-z]{3,}")


def verify(gold: str, answer: str, *, form: Form = "any") -> Comparison:
    """Whether `answer` says what `gold` says. Bounded in time by the length of the two; never raises.

    Two plain numbers must be exactly equal: 0.333 is not 1/3, and 50 is not 50% (but 0.5 is). A unit on one side only is
    no difference. With form "final" a gold that is a literal number wants one, not 2^5+3.

    >>> verify(r"\\frac34", "0.75")
    Comparison(correct=True, status='graded', reason='equal')
    """
    if gold.isascii() and answer.isascii() and gold.isdigit() and answer.isdigit() and form != "aime":
        return _EQUAL if gold.lstrip("0") == answer.lstrip("0") else _DIFFERENT
    return _verify(gold, answer, form)


@lru_cache(maxsize=65_536)  # a group's completions share few distinct answers
def _verify(gold: str, answer: str, form: Form) -> Comparison:
    if len(answer) > LONGEST or len(gold) > LONGEST:
        return Comparison(False, "unparsable", "too_long")
    if not answer.strip():
        return Comparison(False, "unparsable", "empty")
    try:
        equal = _same(gold, answer)
    except Unreadable as error:
        return Comparison(False, "unparsable", error.reason)
    if equal and not in_form(gold, answer, form):
        return Comparison(False, "graded", "not_in_form")
    return _EQUAL if equal else _DIFFERENT


def _same(gold: str, answer: str) -> bool:
    """Whether two texts say the same, by the first reading that fits the gold: time, date, choice, maths, words."""
    for reading in (words.clock, words.date):
        if (wanted := reading(gold)) is not None:
            found = reading(answer)
            return found is not None and _agree(wanted, found)
    lettered = words.choice(answer)
    if len(gold_key := words.key(gold)) == 1 and gold_key.isalpha() and lettered:
        return gold_key.upper() == lettered[0]
    if lettered and lettered[1] and not words.choice(gold):
        answer = lettered[1]
    if _LETTERS.fullmatch(gold.strip()) and _LETTERS.fullmatch(answer.strip()):
        return _same_text(gold, answer)  # letters in a row are a word or a name: anagrams differ
    return _same_maths(gold, answer)


def _agree(wanted: tuple[int | str, ...], found: tuple[int | str, ...]) -> bool:
    # What only one of them says (a.m. or p.m., the year) is no difference.
    *rest, half = wanted
    *other, other_half = found
    return rest == other and (half == other_half or not half or not other_half)


def _same_text(gold: str, answer: str) -> bool:
    return words.key(gold) == words.key(answer)


def _same_maths(gold: str, answer: str) -> bool:
    try:
        wanted = _tree(gold)
    except Unreadable:
        return bool(words.key(gold)) and _same_text(gold, answer) and _same_signs(gold, answer)
    try:
        found = _tree(answer)
    except Unreadable:
        if wanted.op in ("text", "worded") and _same_text(gold, answer):
            return True
        raise
    if "text" in (wanted.op, found.op) or "worded" in (wanted.op, found.op):
        return (wanted.op == found.op == "text" and _same_text(gold, answer)) or same(wanted, found)
    return same(wanted, found)


def _same_signs(gold: str, answer: str) -> bool:
    one, two = (" ".join(re.sub(r"[${}]", "", text).split()).strip(".") for text in (gold, answer))
    return one == two


def _tree(text: str) -> Node:
    if any(letter.isalpha() for letter in text) and (letters := words.key(text)).isalpha():
        number = words.spelled_out(text)
        return parse(words.PHRASES.get(letters, text) if number is None else str(number))
    return parse(text)


def in_form(gold: str, answer: str, form: Form) -> bool:
    """Whether a right answer is also written as asked.

    "final": it is worked out as far as the gold (see rewards/form.py), so that copying an unevaluated formula out of the
    question pays nothing. "aime": it is an integer from 0 to 999 in digits.
    """
    if form == "any":
        return True
    if form == "aime":
        return _AIME.fullmatch(answer.strip(" $.\n")) is not None
    try:
        return worked_out(_tree(gold), _tree(answer))
    except Unreadable:
        return True


@lru_cache(maxsize=65_536)
def accepts_itself(gold: str) -> bool:
    """Whether this gold can be graded against: not empty, not too long, balanced, and not worth infinity or nothing."""
    if gold.isascii() and gold.isdigit():
        return True
    if len(gold) > LONGEST or not gold.strip() or not verify(gold, gold).correct:
        return False
    try:
        exact(_tree(gold))
    except Unreadable as error:
        if error.reason == "syntax":
            return balanced(gold) and any(letter.isalnum() for letter in gold)
        return error.reason == "too_big"  # 2019! is compared as it is written
    return True
