"""Units of measure behind a value: their spellings, and what two of them have to do with each other."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

# unit -> (dimension, size in the dimension's own unit), with the spellings of each
_SPELLINGS = {
    ("length", 1): "m meter metre",
    ("length", Fraction(1, 100)): "cm centimeter centimetre",
    ("length", Fraction(1, 1000)): "mm millimeter millimetre",
    ("length", 1000): "km kilometer kilometre",
    ("length", Fraction(254, 10000)): "in inch inche inches",
    ("length", Fraction(3048, 10000)): "ft foot feet",
    ("length", Fraction(9144, 10000)): "yd yard",
    ("length", Fraction(1609344, 1000)): "mi mile",
    ("time", 1): "s sec second",
    ("time", 60): "min minute",
    ("time", 3600): "h hr hour",
    ("time", 86400): "day",
    ("time", 604800): "week",
    ("months", 1): "month",
    ("months", 12): "yr year",
    ("mass", 1): "g gram gramme",
    ("mass", 1000): "kg kilogram kilo",
    ("mass", Fraction(1, 1000)): "mg milligram",
    ("mass", Fraction(45359237, 100000)): "lb lbs pound",
    ("mass", Fraction(45359237, 1600000)): "oz ounce",
    ("volume", 1): "l liter litre",
    ("volume", Fraction(1, 1000)): "ml milliliter millilitre",
    ("money", 1): "dollar usd $ buck",
    ("money", Fraction(1, 100)): "cent penny pennies ¢",
    ("angle", 1): "degree deg °",
    ("turn", 1): "radian rad",
    ("force", 1): "n newton",
    ("energy", 1): "j joule",
    ("power", 1): "w watt",
    ("tension", 1): "v volt",
    ("current", 1): "a ampere amp",
    ("frequency", 1): "hz hertz",
    ("euro", 1): "euro €",
    ("pound sterling", 1): "£ quid",
    ("unit", 1): "unit",
}
_UNITS = {spelling: key for key, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_MULTIPLIERS = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3}
_WORD = re.compile(r"[a-zA-Z$€£°¢]+|-?\d+|[/^]")

Dimensions = tuple[tuple[str, int], ...] | None


@lru_cache(maxsize=4_096)
def dimension(unit: str) -> tuple[Fraction, Dimensions]:
    """Size and dimension of a unit such as "cm ^ 2" or "miles per hour"; dimension None where a word isn't known.

    A multiplier such as "million" has the dimension ().

    >>> dimension("square feet") == dimension("ft ^ 2")
    True
    """
    words = _WORD.findall(unit)
    size, dimensions, known = Fraction(1), {}, True
    sign, coming, last = 1, 1, ""
    for index, word in enumerate(words):
        word = word.lower() if len(word) > 1 or word not in "ACFKTM" else word
        if word in ("per", "/"):
            sign = -1
        elif word == "^":
            continue
        elif word.lstrip("-").isdigit():
            if index and words[index - 1] == "^" and last:
                size, dimensions = _times(size, dimensions, last, sign * (int(word) - 1))
            else:
                known = False
        elif word in _MULTIPLIERS or word.rstrip("s") in _MULTIPLIERS:
            size *= _MULTIPLIERS.get(word) or _MULTIPLIERS[word.rstrip("s")]
        elif word in _POWERS:
            if word.endswith("d") and last:
                size, dimensions = _times(size, dimensions, last, sign * (_POWERS[word] - 1))
            else:
                coming = _POWERS[word]
        elif name := next((each for each in (word, word.rstrip("s")) if each in _UNITS), None):
            size, dimensions = _times(size, dimensions, name, sign * coming)
            last, coming = name, 1
        elif word == "mph":
            size, dimensions = _times(*_times(size, dimensions, "mile", 1), "hour", -1)
        else:
            known = False
    if not known and not dimensions and size == 1:
        return size, None
    return size, tuple(sorted((name, power) for name, power in dimensions.items() if power)) if known else None


def _times(size: Fraction, dimensions: dict[str, int], unit: str, power: int) -> tuple[Fraction, dict[str, int]]:
    name, factor = _UNITS[unit]
    if abs(power) > 12:
        return size, dimensions
    return size * Fraction(factor) ** power, dimensions | {name: dimensions.get(name, 0) + power}
