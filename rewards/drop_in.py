"""The verifier for other programs: a reward function for TRL, and math-verify's `parse` and `verify`.

from rewards.drop_in import accuracy_reward     # GRPOTrainer(reward_funcs=accuracy_reward, ...)
from rewards.drop_in import parse, verify       # in place of: from math_verify import parse, verify
"""

from __future__ import annotations

import re
from typing import Any

from rewards import verify as own
from rewards.latex import LONGEST
from rewards.reading import boxed, last_number, spoken, stated
from rewards.verify import accepts_itself


def accuracy_reward(
    completions: list[str] | list[list[dict[str, str]]],
    solution: list[str] | None = None,
    answer: list[str] | None = None,
    **columns: Any,
) -> list[float | None]:
    r"""1 where the last box of a completion holds the gold, 0 where not, None (no reward) where the gold is no good.

    The gold is the data set's `solution` or `answer` column: an answer as it is, with or without $ or \boxed{} around
    it. Completions are texts or chats. Safe in any thread or process, and bounded in time. Raises TypeError without gold.
    """
    golds = solution if solution is not None else answer
    if golds is None:
        raise TypeError("accuracy_reward needs the data set's column 'solution' or 'answer'; rename your gold's column")
    texts = [each if isinstance(each, str) else each[-1]["content"] for each in completions]
    return [_reward(boxed(gold) or gold, text) for gold, text in zip(golds, texts, strict=True)]


def _reward(gold: str, text: str) -> float | None:
    if not accepts_itself(gold):
        return None
    said = spoken(text)
    found = boxed(said) if said is not None else None
    return float(found is not None and own.verify(gold, found).correct)


_MATHS = re.compile(rf"\$\$?([^$]{{1,{LONGEST}}})\$|\\[(\[]((?:(?!\\[()\[\]]).){{1,{LONGEST}}})\\[)\]]", re.DOTALL)


def parse(text: str, *ignored: Any, **options: Any) -> list[str]:
    r"""The answer in a text as a list of at most one, for `verify`.

    What is stated as the answer, else the last formula between dollar signs or \( \), else the last number, else all of it.

    >>> parse(r"$\frac12$"), parse("it is 3, so the answer is 4."), parse("even")
    (['\\frac12'], ['4'], ['even'])
    """
    formulas = [one or other for one, other in _MATHS.findall(text)]
    found = stated(text) or (formulas[-1] if formulas else last_number(text)) or text
    return [found.strip()] if found.strip() else []


def verify(gold: str | list[str], target: str | list[str], *ignored: Any, **options: Any) -> bool:
    """Whether any parsed target says what any parsed gold says; math-verify's options are accepted and not needed."""
    golds, targets = ([each] if isinstance(each, str) else each for each in (gold, target))
    return any(own.verify(one, other).correct for one in golds for other in targets)
