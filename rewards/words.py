"""Answers in running text: words, letters of a choice, numbers spelled out, clock times and dates."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"\\(?:text|mbox|math)[a-z]*(?![a-zA-Z])|\\[a-zA-Z]+|\\.")
_FILLER = re.compile(
    r"^(?:therefore|thus|so|hence|final|the|an|a|it|he|she|they|we|is|are|was|be|answer|result|value|option|choice|letter|number"
    r"|correct|must|would|will|equals?|about|approximately|roughly|exactly|on|at|in)\b[\s,:]*"
)
_CHOICE = re.compile(
    r"\s*(?:\\(?:text|textbf|textrm|mathrm|mathbf|mbox|bf|rm)\s*\{?\s*)*(?:(?:option|choice|answer)\s+)?"
    r"(?:\(\s*([A-Ja-j])\s*\)|([A-J])\s*[).:])\s*\}*(?:\\(?:quad|qquad|[ ,;:!])|[\s~.:])*(.*)",
    re.DOTALL | re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*(?:([ap])\.?\s?m\.?)?|(\d{1,2})\s*([ap])\.?\s?m\.?", re.IGNORECASE
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_MONTH_FIRST = re.compile(rf"{_MONTH}\s+{_DAY}(?:\s*,?\s*(\d{{4}}))?", re.IGNORECASE)
_DAY_FIRST = re.compile(rf"{_DAY}\s+(?:of\s+)?{_MONTH}(?:\s*,?\s*(\d{{4}}))?", re.IGNORECASE)
_MONTH_AND_YEAR = re.compile(rf"{_MONTH}\s*,?\s*(\d{{4}})", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


PHRASES = {
    **dict.fromkeys(["allrealnumbers", "allreals", "realnumbers", "allrealx", "allrealvalues"], r"\mathbb{R}"),
    **dict.fromkeys(
        ["nosolution", "nosolutions", "norealsolution", "norealsolutions", "emptyset", "nullset"], r"\emptyset"
    ),
    "onehalf": "1/2",
    "half": "1/2",
    "onethird": "1/3",
    "twothirds": "2/3",
    "onequarter": "1/4",
    "onefourth": "1/4",
    "threequarters": "3/4",
    "threefourths": "3/4",
    "onefifth": "1/5",
    "onesixth": "1/6",
    "oneeighth": "1/8",
}
"""What some words say in maths, by their `key`."""


def plain(text: str) -> str:
    """The text without TeX, in lower case, with single spaces."""
    bare = _COMMAND.sub(lambda found: " " if not found[0][1:].isalpha() else "", text.replace(r"\!", ""))
    return " ".join(re.sub(r"[{}$~]", " ", bare).lower().split()).strip(" .!\"'`*")


def key(text: str) -> str:
    """What two answers in words must have in common: their letters and digits, fillers such as "the answer is" aside.

    >>> key(r"\\text{The answer is Even.}") == key("even")
    True
    """
    words = plain(text)
    while (shorter := _FILLER.sub("", words)) and shorter != words:
        words = shorter
    return re.sub(r"[\s,'\"().:;!?_-]", "", words)


def choice(text: str) -> tuple[str, str] | None:
    r"""The letter of a choice and what stands behind it: of \textbf{(B)} 42, ("B", "42"). None where no letter leads."""
    found = _CHOICE.fullmatch(text.strip().strip("$").strip())
    if not found or re.match(r"(?:or|and|,|;|&)", found[3]):  # (B) or (C) leaves it open
        return None
    return (found[1] or found[2]).upper(), found[3].strip(" }$")


def spelled_out(text: str) -> int | None:
    """The number below 1,000 that words spell: "forty-two" is 42.

    >>> spelled_out("one hundred and seven")
    107
    """
    words = [word for word in re.split(r"[\s-]+", plain(text)) if word != "and"]
    if not 0 < len(words) <= 5:
        return None
    total, last = 0, 1000
    for word in words:
        if word in _ONES and last > (9 if last < 100 else 19):
            total, last = total + _ONES.index(word), _ONES.index(word)
        elif word in _TENS and last > 99:
            total, last = total + 10 * (_TENS.index(word) + 2), 20
        elif word == "hundred" and 0 < total < 10:
            total, last = total * 100, 100
        else:
            return None
    return total


def clock(text: str) -> tuple[int, int, int, str] | None:
    """Hour, minute, second and "a", "p" or "" of a time of day; 15:30 is 3:30 p.m. None for anything else."""
    words = re.sub(r"\s*:\s*", ":", re.sub(r"^(?:at|it is)\s+", "", plain(text)))
    if not (found := _CLOCK.fullmatch(words)):
        return None
    hour, half = int(found[1] or found[5]), (found[4] or found[6] or "").lower()
    if hour > 24 or (half and not 0 < hour <= 12):
        return None
    if hour > 12 and not half:
        hour, half = hour - 12, "p"
    return hour, int(found[2] or 0), int(found[3] or 0), half


def date(text: str) -> tuple[int, int, int] | None:
    """Month, day and year (0 where none is said) of a date; None for anything else."""
    words = re.sub(r"^(?:on|it is)\s+", "", plain(text))
    if found := _MONTH_FIRST.fullmatch(words):
        return _MONTHS.index(found[1][:3]) + 1, int(found[2]), int(found[3] or 0)
    if found := _DAY_FIRST.fullmatch(words):
        return _MONTHS.index(found[2][:3]) + 1, int(found[1]), int(found[3] or 0)
    if found := _MONTH_AND_YEAR.fullmatch(words):
        return _MONTHS.index(found[1][:3]) + 1, 0, int(found[2])
    if found := _ISO.fullmatch(words):
        return int(found[2]), int(found[3]), int(found[1])
    return None
