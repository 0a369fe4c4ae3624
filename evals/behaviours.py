"""What a base does besides being right or wrong: how it ends, whether it checks itself, writes code, or changes script.

Each behaviour is a yes or no of one completion, by one stated rule, so that base rates can be compared across bases. They
describe text and nothing else: a phrase of self-checking is not a check.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rewards.reading import END_OF_TURN, RUN_ON

_SELF_CHECK = re.compile(
    r"\b(?:wait|hold on|let me (?:re-?check|double[- ]check|verify|re-?think|re-?consider|try again)|let's (?:check|verify|double[- ]check)"
    r"|(?:re|double[- ]?)check(?:ing)? (?:this|that|the|my|our)|i made a mistake|that(?:'s| is) (?:not right|wrong)|to verify)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```|^\s*(?:def \w+\(|import \w+|from \w+ import |print\(|for \w+ in )", re.MULTILINE)
_OTHER_SCRIPT = re.compile(
    r"[\u0400-\u04ff\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
LOOP = 3
"""How often the last words of a completion must stand in a row for a loop."""


def loops(text: str) -> bool:
    """Whether the text ends in one passage of 1 to 200 characters, with a letter or digit in it, `LOOP` times and more.

    >>> loops("so 12, so 12, so 12, "), loops("1 + 1 = 2")
    (True, False)
    """
    tail = text[-1000:]
    for size in range(1, min(200, len(tail) // LOOP) + 1):
        passage = tail[-size:]
        if tail.endswith(passage * LOOP) and len(passage * LOOP) >= 12 and any(letter.isalnum() for letter in passage):
            return True
    return False


def _runs_on(row: dict[str, Any]) -> bool:
    text = row["completion"]
    return "\n" in text and any(marker in text for marker in RUN_ON)


def _goes_on(row: dict[str, Any]) -> bool:
    text = row["completion"]
    return "<" in text and any(0 <= text.find(marker) < len(text) - len(marker) for marker in END_OF_TURN)


BEHAVIOURS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "runs_on": _runs_on,
    "goes_on_behind_an_end_token": _goes_on,
    "loops": lambda row: row["finish"] == "length" and loops(row["completion"]),
    "boxes": lambda row: "\\boxed" in row["completion"],
    "self_check": lambda row: _SELF_CHECK.search(row["completion"]) is not None,
    "code": lambda row: _CODE.search(row["completion"]) is not None,
    "other_script": lambda row: _OTHER_SCRIPT.search(row["completion"]) is not None,
}
"""runs_on: asks itself a next question. goes_on_behind_an_end_token: writes behind one that did not stop it. loops: cut at
the limit while repeating itself. boxes: writes a box. self_check, code, other_script: holds such a phrase, code, or a letter
of a script that is neither Latin nor Greek."""
