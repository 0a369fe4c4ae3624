"""What a base does besides being right or wrong: how it ends, whether it checks itself, writes code, or changes script.

Each behaviour is a yes or no of one completion, by one stated rule, so that base rates can be compared across bases. They
describe text and nothing else: a phrase of self-checking is not a check. The patterns are RE2's, which Arrow runs over
whole columns in time linear in the text.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from evals.rollouts import pc
from rewards.reading import END_OF_TURN, RUN_ON


def _any_of(texts: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, texts))


PATTERNS = {
    "runs_on": _any_of(RUN_ON),
    "goes_on_behind_an_end_token": f"(?s)(?:{_any_of(END_OF_TURN)}).",
    "boxes": r"\\boxed",
    "self_check": (
        r"(?i)\b(?:wait|hold on|let me (?:re-?check|double[- ]check|verify|re-?think|re-?consider|try again)"
        r"|let's (?:check|verify|double[- ]check)|(?:re|double[- ]?)check(?:ing)? (?:this|that|the|my|our)"
        r"|i made a mistake|that(?:'s| is) (?:not right|wrong)|to verify)\b"
    ),
    "code": r"(?m)```|^\s*(?:def \w+\(|import \w+|from \w+ import |print\(|for \w+ in )",
    "other_script": (
        r"[\p{Cyrillic}\p{Hebrew}\p{Arabic}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Telugu}\p{Thai}\p{Hiragana}\p{Katakana}"
        r"\p{Han}\p{Hangul}]"
    ),
}
"""runs_on: asks itself a next question. goes_on_behind_an_end_token: writes behind one that did not stop it. boxes: writes
a box. self_check, code, other_script: holds such a phrase, code, or a letter of a script that is neither Latin nor Greek."""

NAMES = (*PATTERNS, "loops")
"""loops: cut at the limit while repeating itself."""

LOOP = 3
"""How often the last words of a completion must stand in a row for a loop."""
TAIL = 1000  # characters in which a loop is looked for
PERIOD = 200  # characters of the longest passage that makes one
SHORTEST = 12  # characters of all its repetitions


def behaviours(completion: pa.ChunkedArray, finish: pa.ChunkedArray) -> dict[str, np.ndarray]:
    """For each behaviour the completions that show it."""
    shown = {name: pc.match_substring_regex(completion, pattern).to_numpy() for name, pattern in PATTERNS.items()}
    cut = pc.equal(finish, "length")
    loop = np.zeros(len(completion), dtype=bool)
    loop[cut.to_numpy()] = [
        loops(tail) for tail in pc.utf8_slice_codeunits(completion.filter(cut), start=-TAIL).to_pylist()
    ]
    return {**shown, "loops": loop}


def loops(text: str) -> bool:
    """Whether the text ends in one passage of 1 to 200 characters, with a letter or digit in it, `LOOP` times and more.

    >>> loops("so 12, so 12, so 12, "), loops("1 + 1 = 2")
    (True, False)
    """
    tail = text[-TAIL:]
    end = tail[-SHORTEST // LOOP :]  # stands one period earlier too, however short the period is
    place = len(tail) - len(end)
    at = place
    while (at := tail.rfind(end, max(0, place - PERIOD), at + len(end) - 1)) >= 0:
        passage = tail[at - place :]
        repeated = passage * max(LOOP, -(-SHORTEST // len(passage)))
        if tail.endswith(repeated) and any(letter.isalnum() for letter in passage):
            return True
    return False
