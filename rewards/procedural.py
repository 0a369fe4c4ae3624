"""Problems made by a rule: the same on every machine, with a held-out share."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

from configs.errors import UsageError

HELD_OUT = 8  # one unordered pair in eight is for testing


def in_test_split(a: int, b: int) -> bool:
    """Whether the unordered pair {a, b} is held out, so that 347+285 and 285+347 are always on the same side.

    A corpus that a model is pretrained on must leave these pairs out too.
    """
    pair = f"{min(a, b)}+{max(a, b)}"
    return hashlib.sha256(pair.encode()).digest()[0] % HELD_OUT == 0


def sums(split: Literal["train", "test"], size: int, seed: int) -> list[tuple[str, str]]:
    """`size` different questions "347+285=?" and their answers: two numbers of 100..899 with a sum of at most 999.

    No unordered pair comes twice. Raises UsageError when the split holds fewer than `size` pairs.

    >>> all(eval(question[:-2]) == int(answer) for question, answer in sums("test", 9, seed=0))
    True
    """
    pairs = [(a, b) for a in range(100, 500) for b in range(a, 1000 - a) if in_test_split(a, b) == (split == "test")]
    if size > len(pairs):
        raise UsageError(f"sums has {len(pairs)} pairs in its {split} split; size: {size} is more than that")
    rng = random.Random(seed)
    drawn = rng.sample(pairs, size)
    return [(f"{x}+{y}=?", str(x + y)) for x, y in (pair if rng.random() < 0.5 else pair[::-1] for pair in drawn)]
