"""The verifier beside math-verify and TRL's accuracy_reward, on this folder's cases and attacks. Prints a table.

Run from the project's root: python -m tests.rewards.side_by_side. The others are called in the main thread, where their
time limits work; an answer cut off by them counts as refused.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import math_verify
from trl.rewards import accuracy_reward as trl_reward

from rewards.drop_in import accuracy_reward
from rewards.verify import _verify
from tests.rewards.attacks import ATTACKS

Grader = Callable[[str, str], bool]


def ours(gold: str, completion: str) -> bool:
    """This project's."""
    return accuracy_reward([completion], solution=[gold]) == [1.0]


def trl_plain(gold: str, completion: str) -> bool:
    """TRL's, with the gold as data sets store it."""
    return trl_reward([[{"content": completion}]], solution=[gold]) == [1.0]


def trl_wrapped(gold: str, completion: str) -> bool:
    """TRL's, with the gold between dollar signs."""
    return trl_plain(f"${gold}$", completion)


def math_verify_default(gold: str, completion: str) -> bool:
    """math-verify with its own settings."""
    return math_verify.verify(math_verify.parse(f"${gold}$"), math_verify.parse(completion))


GRADERS: dict[str, Grader] = {
    "this project": ours,
    "TRL, gold as stored": trl_plain,
    "TRL, gold in $": trl_wrapped,
    "math-verify": math_verify_default,
}


def main() -> None:
    """Measure each grader on the boxed cases (strict, form any), then on the attacks."""
    logging.disable(logging.CRITICAL)
    rows = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").open(encoding="utf-8")]
    rows = [row for row in rows if "final_form" not in row and row.get("template", "none") == "none"]
    rows = [row for row in rows if row.get("reading", "strict") == "strict"]
    cases = [
        (row["gold"], row["completion"] if "completion" in row else rf"So \boxed{{{row['answer']}}}.", row["right"])
        for row in rows
    ]
    print(f"{len(cases)} cases, {len(ATTACKS)} attacks")
    print(f"{'':22}{'right':>8}{'false neg':>11}{'false pos':>11}{'per second':>12}{'attacks':>9}{'over 1 s':>10}")
    for name, grader in GRADERS.items():
        _verify.cache_clear()
        start = time.perf_counter()
        said = [grader(gold, completion) for gold, completion, _ in cases]
        rate = len(cases) / (time.perf_counter() - start)
        missed = sum(right and not verdict for verdict, (_, _, right) in zip(said, cases, strict=True))
        paid = sum(verdict and not right for verdict, (_, _, right) in zip(said, cases, strict=True))
        held, slow = 0, 0
        for _, gold, completion, right, _ in ATTACKS:
            start = time.perf_counter()
            try:
                verdict = grader(gold, completion)
            except (MemoryError, RecursionError, ValueError, OverflowError):
                verdict = None
            seconds = time.perf_counter() - start
            slow += seconds > 1
            held += verdict == right and seconds <= 1
        right = 1 - (missed + paid) / len(cases)
        print(
            f"{name:22}{right:>8.3f}{missed:>11}{paid:>11}{rate:>12.0f}{held / len(ATTACKS):>9.3f}{slow:>10}",
            flush=True,
        )


if __name__ == "__main__":
    main()
