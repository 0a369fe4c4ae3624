"""Are two written answers the same number, word or expression?

Plain answers (integers, decimals, fractions, percentages, words: most golds there are) are decided here by exact
arithmetic, in microseconds. The rest goes to math-verify in one worker process per process, killed when it is over
its time. No signal is set, so this works in any thread and after a fork.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import threading
from fractions import Fraction
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

VERIFIER_VERSION = "1"  # goes up with every change that can change a verdict
LIMIT_SECONDS = 1.0  # wall time of one comparison in the worker
GOLD_SECONDS = 10.0  # the same for a gold checked against itself when data loads: no model waits, so be patient
START_SECONDS = 60.0
LONGEST = 2_000  # characters of an answer that are still read

Outcome = tuple[bool, Literal["graded", "unparsable", "timeout"]]

_FRAME = re.compile(r"\$\$(.*)\$\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\]", re.DOTALL)
_THOUSANDS = re.compile("(?<=[0-9])(?:\\{,\\}|\\\\,|\\\\ |[,~ \u00a0\u2009\u202f])(?=[0-9]{3}(?![0-9]))")
_SPACING = re.compile("(?<!\\\\)\\\\[;:, ]|\\\\q?quad(?![a-zA-Z])|[~\u00a0\u2009\u202f]")
_LOOSE_SPACE = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf)\{([^{}]*)\}")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]*")
_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
_RATIONAL = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<whole>[0-9]+)?\\frac\{{(?P<over>[+-]?{_NUMBER})\}}\{{(?P<under>{_NUMBER})\}}"
    rf"|(?P<top>{_NUMBER})(?:/(?P<bottom>{_NUMBER}))?)(?P<percent>\\?%)?"
)
_ARGUMENT = r"(\\[a-zA-Z]+|[0-9a-zA-Z])"  # TeX takes one token where braces are left out: \frac34, \sqrt7
_BRACES = [
    (re.compile(rf"\\frac\s*{_ARGUMENT}"), r"\\frac{\1}"),
    (re.compile(rf"\\frac\s*(\{{[^{{}}]*\}})\s*{_ARGUMENT}"), r"\\frac\1{\2}"),
    (re.compile(rf"\\sqrt\s*{_ARGUMENT}"), r"\\sqrt{\1}"),
]


def normal(text: str) -> str:
    """The same answer in one spelling: no frame, no spacing commands, all braces. Nothing is evaluated.

    >>> normal(r"$\\dfrac34.$")
    '\\\\frac{3}{4}'
    """
    text = " ".join(text.split()).rstrip(".").strip()
    if frame := _FRAME.fullmatch(text):
        text = next(group for group in frame.groups() if group is not None)
    text = re.sub(r"\\(?:left|right)(?![a-zA-Z])\.?", "", text.replace(r"\$", "").replace("$", "").replace(r"\!", ""))
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", text).replace("\u2212", "-")
    text = re.sub(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})$|°$", "", text.strip().rstrip("."))
    text = _SPACING.sub(" ", _THOUSANDS.sub(",", text))
    for pattern, braced in _BRACES:
        text = pattern.sub(braced, text)
    return _LOOSE_SPACE.sub("", text.strip())


def rational(text: str) -> Fraction | None:
    """The exact value of a plain number in normal spelling; None for anything else. A percentage is its hundredth part.

    >>> rational("1,234"), rational(r"-\\frac{1}{2}"), rational("50%")
    (Fraction(1234, 1), Fraction(-1, 2), Fraction(1, 2))
    """
    if not (found := _RATIONAL.fullmatch(text)):
        return None
    names = (("over", "top"), ("under", "bottom"))
    top, bottom = (Fraction((found[one] or found[other] or "1").replace(",", "")) for one, other in names)
    if bottom == 0 or (found["whole"] and top < 0):
        return None
    value = Fraction(found["whole"] or 0) + top / bottom
    return (-value if found["sign"] == "-" else value) / (100 if found["percent"] else 1)


def _words(text: str, *, bare: bool) -> str | None:
    """The words of an answer that is text. `bare` also takes words that no text command marks as such."""
    plain = _TEXT.sub(r"\1", text).strip(" .()\"'")
    if not _WORDS.fullmatch(plain) or (len(plain) == 1 and not plain.isupper()):
        return None
    marked = _TEXT.fullmatch(text) is not None or len(plain) == 1 or len(plain) > 3  # xyz may be a product, even isn't
    return (plain if len(plain) == 1 else " ".join(plain.lower().split())) if bare or marked else None


def plain(gold: str, answer: str) -> bool | None:
    """Whether two answers in normal spelling are the same, where exact arithmetic or words can tell; None where not."""
    left, right = rational(gold), rational(answer)
    if left is not None and right is not None:
        return left == right
    if (words := _words(gold, bare=False)) is not None:
        return words == _words(answer, bare=True)
    return True if gold == answer else None


def verify(gold: str, answer: str) -> Outcome:
    """Whether `answer` says what `gold` says, and how that was found.

    `unparsable`: longer than 2,000 characters, or neither plain nor LaTeX that math-verify can read. `timeout`: over
    1 s or 2 GiB. Two plain numbers must be exactly equal: 0.333 is not 1/3, and 50 is not 50% (but 0.5 is).

    >>> verify(r"\\frac34", "0.75")
    (True, 'graded')
    """
    if max(len(gold), len(answer)) > LONGEST or not answer.strip():
        return False, "unparsable"
    return _verify(gold, answer)


@lru_cache(maxsize=65_536)  # a group's completions share few distinct answers
def _verify(gold: str, answer: str) -> Outcome:
    gold, answer = normal(gold), normal(answer)
    same = plain(gold, answer)
    return _MATH_VERIFY.compare(gold, answer, LIMIT_SECONDS) if same is None else (same, "graded")


@lru_cache(maxsize=65_536)
def accepts_itself(gold: str) -> bool:
    """Whether this gold can be graded against: it is plain, or math-verify parses it and finds it equal to itself.

    Stricter than `verify(gold, gold)`, which is right for any text at all.
    """
    if len(gold) > LONGEST or not (text := normal(gold)):
        return False
    if rational(text) is not None or _words(text, bare=False) is not None:
        return True
    return _MATH_VERIFY.compare(text, text, GOLD_SECONDS)[0]


class _MathVerify:
    """One worker process, started at the first question, replaced after a kill, never shared across a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def compare(self, gold: str, answer: str, seconds: float) -> Outcome:
        """Ask the worker; whatever doesn't come back in time, or ends the worker, is a timeout."""
        reply = b""
        with self.lock:
            try:
                process = self.process if self.process and self.process.poll() is None else self._start()
                assert process.stdin
                process.stdin.write(json.dumps([gold, answer]).encode() + b"\n")
                reply = self._read(process, seconds)
            except BrokenPipeError:
                pass
            finally:  # after an interrupt too: a late reply must not answer the next question
                if not reply:
                    self.stop()
        return reply == b"1", "unparsable" if reply == b"u" else "graded" if reply else "timeout"

    def _start(self) -> subprocess.Popen[bytes]:
        # -P keeps this folder off the worker's path: its types.py would stand in for the standard library's.
        self.stop()
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        if self._read(self.process, START_SECONDS) != b"r":
            raise RuntimeError("the worker of math-verify did not start; try: python -c 'import math_verify'")
        return self.process

    @staticmethod
    def _read(process: subprocess.Popen[bytes], seconds: float) -> bytes:
        assert process.stdout
        return process.stdout.read(1) or b"" if wait([process.stdout.fileno()], seconds) else b""

    def stop(self) -> None:
        """Kill the worker, if there is one, and wait until it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self._close(self.process)
            self.process = None

    def forget(self) -> None:
        """In a forked child: worker and lock are the parent's, so close our copies of its pipes and start afresh."""
        if self.process:
            self._close(self.process)
            self.process.returncode = 0  # not ours to wait for
        self.__init__()

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


_MATH_VERIFY = _MathVerify()
os.register_at_fork(after_in_child=_MATH_VERIFY.forget)
atexit.register(_MATH_VERIFY.stop)
