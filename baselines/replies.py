"""Replies worth imitating: worked solutions, and a base's own right answers.

Rejection fine-tuning goes as RAFT (Dong et al. 2023, arXiv 2304.06767): each round samples from the model as it then is,
keeps what the verifier accepts, and goes on training from that model. Nothing is learnt from wrong answers; that is what
GRPO adds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from configs.errors import UsageError
from configs.schema import Template
from evals.fewshot import worked_reply
from rewards.suites import ProblemSet

COLUMNS = ["problem_id", "sample", "completion", "correct", "finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt as the engine asks it, and the reply to imitate, without its end token."""

    prompt: str
    completion: str


def worked_examples(problems: ProblemSet, template: Template) -> list[Example]:
    """Every problem that has a solution, worked in the form the template reads.

    Raises UsageError for a set without solutions.
    """
    usable = [one for one in problems.problems if one.solution and one.id not in problems.bad_gold]
    if not usable:
        raise UsageError(
            f"{problems.name} has no worked solutions to imitate; choose a --suite that has them (gsm8k-train, "
            "math-train, sums-train, or a .jsonl with a field solution), or type: baseline.py rejection"
        )
    return [Example(prompt=template.ask(one.question), completion=worked_reply(template, one)) for one in usable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one round keeps of its samples."""

    examples: list[Example]
    samples: int
    right: int
    """Samples that were right and had ended by themselves."""
    solved: int
    """Problems with such a sample."""


def asked_in(number: int, train: ProblemSet, *, problems: int, seed: int) -> ProblemSet:
    """The problems of round `number`, counted from 1: the next ones of a shuffled set, from its start when it is through."""
    usable = [one for one in train.problems if one.id not in train.bad_gold]
    random.Random(seed).shuffle(usable)
    first = (number - 1) * problems
    drawn = [usable[place % len(usable)] for place in range(first, first + min(problems, len(usable)))]
    return ProblemSet(name=train.name, problems=tuple(drawn), bad_gold=())


def keep(rows: Iterable[dict[str, Any]], asked: ProblemSet, template: Template, *, most: int) -> Kept:
    """Right completions that ended by themselves, at most `most` different ones of a problem, first drawn first.

    More of the easy problems than of the hard ones are right; `most` is what keeps them from being all that is learnt.
    Raises UsageError when there is none.
    """
    found: dict[str, dict[str, None]] = {problem.id: {} for problem in asked.problems}
    samples = right = 0
    for row in sorted(rows, key=lambda row: row["sample"]):
        samples += 1
        if row["correct"] and row["finish"] == "stop":
            right += 1
            found[row["problem_id"]][row["completion"]] = None
    if not right:
        raise UsageError(
            f"none of {samples} samples of {len(found)} problems of {asked.name} is right and ended by itself, so there is "
            "nothing to imitate; raise --samples or --problems, choose an easier --suite, or start from: baseline.py sft (another --out)"
        )
    prompts = {problem.id: template.ask(problem.question) for problem in asked.problems}
    examples = [
        Example(prompt=prompts[id], completion=text) for id, texts in found.items() for text in list(texts)[:most]
    ]
    return Kept(examples=examples, samples=samples, right=right, solved=sum(map(bool, found.values())))
