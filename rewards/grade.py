"""The one path from a completion to a verdict: training, audit and regrading all call this."""

from __future__ import annotations

import time

from configs.schema import Reading, Template
from rewards.reading import read
from rewards.types import Problem, Verdict
from rewards.verify import accepts_itself, verify


def grade(problem: Problem, completion: str, template: Template, *, reading: Reading) -> Verdict:
    """What the checker saw in one completion. A gold that its own verifier rejects makes every verdict `bad_gold`.

    `milliseconds` is wall time, a kill and restart of the verifier's process included.
    """
    start = time.perf_counter()
    answer = read(completion, template, reading)
    if not accepts_itself(problem.answer):
        correct, status = False, "bad_gold"
    elif answer is None:
        correct, status = False, "no_answer"
    else:
        correct, status = verify(problem.answer, answer)
    return Verdict(answer=answer, correct=correct, status=status, milliseconds=1000 * (time.perf_counter() - start))
