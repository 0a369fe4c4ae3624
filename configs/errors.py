"""The one error a user can fix by typing something else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """What the user asked for cannot be done as asked; the message says what to type instead. Scripts exit with 2."""


def nearest(wrong: str, right: Iterable[str]) -> str:
    """The end of an error message: the closest known names, or all of them when none is close.

    >>> nearest("qwen2.5-7", ["qwen2.5-7b", "olmo-3-7b"])
    'did you mean qwen2.5-7b?'
    """
    names = sorted(right)
    close = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(names)}"
