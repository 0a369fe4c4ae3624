"""The one path from a completion to a verdict: training, audit and regrading all call this."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

from configs.schema import Reading, Template
from rewards.reading import missing, read
from rewards.types import Problem, Verdict
from rewards.verify import accepts_itself, verify

BATCH = 500  # pairs that go to a worker at once


def grade(problem: Problem, completion: str, template: Template, *, reading: Reading) -> Verdict:
    """What the checker saw in one completion. A gold that its own verifier rejects makes every verdict `bad_gold`."""
    start = time.perf_counter()
    answer = read(completion, template, reading)
    if not accepts_itself(problem.answer):
        correct, status, reason = False, "bad_gold", "bad_gold"
    elif answer is None:
        correct, status, reason = False, "no_answer", missing(completion, template, reading)
    else:
        correct, status, reason = verify(problem.answer, answer, form=problem.form)
    milliseconds = 1000 * (time.perf_counter() - start)
    return Verdict(answer=answer, correct=correct, status=status, reason=reason, milliseconds=milliseconds)


def grade_many(
    pairs: Iterable[tuple[Problem, str]], template: Template, *, reading: Reading, workers: int = 1
) -> Iterator[Verdict]:
    """The verdicts of many (problem, completion) in order, at flat memory. No completion can hold up the others for long.

    With several workers the pairs are graded in that many processes, a few batches ahead of the reader.
    """
    one = partial(_grade_batch, template=template, reading=reading)
    rest = iter(pairs)
    batches = iter(lambda: list(islice(rest, BATCH)), [])
    if workers == 1:
        for batch in batches:
            yield from one(batch)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(one, batch) for batch in islice(batches, 2 * workers)]
        while running:
            verdicts = running.pop(0).result()
            running += [pool.submit(one, batch) for batch in islice(batches, 1)]
            yield from verdicts


def _grade_batch(pairs: Iterable[tuple[Problem, str]], template: Template, reading: Reading) -> list[Verdict]:
    return [grade(problem, completion, template, reading=reading) for problem, completion in pairs]
