"""What rejection fine-tuning keeps, and what it asks, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from baselines.replies import asked_in, keep
from configs.errors import UsageError
from configs.load import load_template
from rewards.suites import ProblemSet
from rewards.types import Problem

QA = load_template("qa")
TEN = ProblemSet(
    name="ten",
    problems=tuple(Problem(id=f"p{i}", question=f"q{i}", answer=str(i)) for i in range(10)),
    bad_gold=("p9",),
)


def row(problem: str, sample: int, completion: str, correct: bool = True, finish: str = "stop") -> dict[str, Any]:
    return {"problem_id": problem, "sample": sample, "completion": completion, "correct": correct, "finish": finish}


def test_only_right_replies_that_ended_are_kept_each_once_and_at_most_so_many_of_a_problem() -> None:
    rows = [
        row("p1", 3, "d"),
        row("p1", 0, "a"),
        row("p1", 1, "a"),
        row("p1", 2, "c"),
        row("p2", 0, "cut", finish="length"),
        row("p3", 0, "wrong", correct=False),
        row("p4", 5, "last"),
    ]
    kept = keep(rows, TEN, QA, most=2)
    assert [(one.prompt, one.completion) for one in kept.examples] == [
        ("Question: q1\nAnswer:", "a"),
        ("Question: q1\nAnswer:", "c"),  # the first two different ones by sample number
        ("Question: q4\nAnswer:", "last"),
    ]
    assert (kept.samples, kept.right, kept.solved) == (7, 5, 2)


def test_a_round_without_a_right_sample_says_what_to_type() -> None:
    with pytest.raises(UsageError, match=r"none of 1 samples of 10 problems of ten .* raise --samples or --problems"):
        keep([row("p1", 0, "x", correct=False)], TEN, QA, most=2)


def test_rounds_ask_one_problem_after_another_and_start_again_when_all_were_asked() -> None:
    rounds = [[one.id for one in asked_in(number, TEN, problems=4, seed=0).problems] for number in (1, 2, 3)]
    assert sorted(rounds[0] + rounds[1] + rounds[2][:1]) == [f"p{i}" for i in range(9)]  # p9 has a bad gold
    assert rounds[2][1:] == rounds[0][:3]
    assert len(asked_in(1, TEN, problems=100, seed=0).problems) == 9
    assert rounds[0] != [one.id for one in asked_in(1, TEN, problems=4, seed=1).problems]
