"""Problems made by a rule: the same on every machine, with a held-out share."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal

from configs.errors import UsageError

HELD_OUT = 8  # one unordered pair in eight is for testing


def in_test_split(a: int, b: int) -> bool:
    """Whether the unordered pair {a, b} is held out, so that 347+285 and 285+347 are always on the same side.

    A corpus that a model is pretrained on must leave these pairs out too.
    """
    return _digest(a, b)[0] % HELD_OUT == 0


def _digest(a: int, b: int) -> bytes:
    """Of the unordered pair."""
    return hashlib.sha256(f"{min(a, b)}+{max(a, b)}".encode()).digest()


def worked(a: int, b: int) -> str:
    """The column sums of two numbers of as many digits as their sum, carry included, units first; then the answer in a box.

    >>> worked(347, 285)
    '12,13,06 \\\\boxed{632}'
    """
    columns, carry = [], 0
    for place in range(len(str(a))):
        column = a // 10**place % 10 + b // 10**place % 10 + carry
        columns.append(f"{column:02d}")
        carry = column // 10
    return f"{','.join(columns)} \\boxed{{{a + b}}}"


def solution(question: str) -> str:
    """The worked solution of a question that `sums` made.

    >>> solution("12+35=?")
    '07,04 \\\\boxed{47}'
    """
    a, b = question.removesuffix("=?").split("+")
    return worked(int(a), int(b))


def sums(
    split: Literal["train", "test"], size: int, seed: int, *, digits: Sequence[int] = (3,)
) -> list[tuple[str, str, str]]:
    """`size` different questions "347+285=?" with their answers and numbers of digits, as many of each in `digits`.

    Both numbers have that many digits and so has their sum, and neither starts with a 9. No unordered pair comes twice.
    Raises UsageError when the split holds fewer than `size` pairs.

    >>> all(eval(question[:-2]) == int(answer) for question, answer, _ in sums("test", 9, seed=0))
    True
    """
    rng = random.Random(seed)
    drawn: list[tuple[str, str, str]] = []
    for index, count in enumerate(digits):
        wanted = size // len(digits) + (index < size % len(digits))
        for a, b in _pairs(count, split, wanted, rng):
            x, y = (a, b) if rng.random() < 0.5 else (b, a)
            drawn.append((f"{x}+{y}=?", str(x + y), str(count)))
    if len(digits) > 1:
        rng.shuffle(drawn)
    return drawn


def asked_sums(split: Literal["train", "test"], size: int, seed: int, *, digits: int) -> list[tuple[str, str, str]]:
    """`size` different questions "What is 8 + 5?" with their answers and numbers of digits: any numbers of so many digits.

    Half of the unordered pairs are held out, as there are only 55 of one digit; each is asked in one order.
    Raises UsageError when the split holds fewer than `size` pairs.

    >>> asked_sums("train", 1, seed=0, digits=1)
    [('What is 6 + 7?', '13', '1')]
    """
    rng = random.Random(seed)
    numbers = range(10 ** (digits - 1) if digits > 1 else 0, 10**digits)
    shuffled = sorted(((a, b) for a in numbers for b in numbers if a <= b), key=lambda pair: _digest(*pair))
    half = len(shuffled) // 2
    pairs = shuffled[:half] if split == "test" else shuffled[half:]
    if size > len(pairs):
        raise UsageError(f"asked-sums has {len(pairs)} pairs in its {split} split; size: {size} is more than that")
    drawn = [rng.sample(pair, 2) for pair in rng.sample(pairs, size)]
    return [(f"What is {a} + {b}?", str(a + b), str(digits)) for a, b in drawn]


def _pairs(digits: int, split: str, wanted: int, rng: random.Random) -> list[tuple[int, int]]:
    low, high = 10 ** (digits - 1), 10**digits
    if digits > 3:  # too many to list: draw until there are enough
        found: dict[tuple[int, int], None] = {}
        while len(found) < wanted:
            a, b = sorted((rng.randrange(low, high - low), rng.randrange(low, high - low)))
            if a + b < high and in_test_split(a, b) == (split == "test"):
                found[a, b] = None
        return list(found)
    pairs = [
        (a, b) for a in range(low, high // 2) for b in range(a, high - a) if in_test_split(a, b) == (split == "test")
    ]
    if wanted > len(pairs):
        raise UsageError(f"sums has {len(pairs)} pairs in its {split} split; size: {wanted} is more than that")
    return rng.sample(pairs, wanted)
