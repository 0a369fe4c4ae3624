"""Votes against counting: every subset of the samples, and curves worked out by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from baselines.vote import ballots, best_of_k, curve, elected, rows_by_problem
from configs.errors import UsageError
from evals.rollouts import RolloutStore
from rewards.suites import ProblemSet
from rewards.types import Problem

TWO = ProblemSet(
    name="two", problems=tuple(Problem(id=f"p{i}", question=f"q{i}", answer="1") for i in (0, 1)), bad_gold=()
)
SAMPLES = {
    "p0": [("1", -4.0), ("2", -2.0), ("1", -6.0), (None, -0.1)],  # mean per token: -2, -1, -3 and no answer
    "p1": [("2", -8.0), ("1", -2.0), ("2", -6.0), ("2", -4.0)],
}


def store(folder: Path, samples: dict[str, list[tuple[str | None, float]]]) -> RolloutStore:
    kept = RolloutStore(folder)
    for id, drawn in samples.items():
        kept.append(
            [
                {
                    "problem_id": id,
                    "sample": at,
                    "completion": str(answer),
                    "completion_tokens": 2,
                    "answer": answer,
                    "correct": answer == "1",
                    "logprob": logprob,
                }
                for at, (answer, logprob) in reversed(list(enumerate(drawn)))
            ]
        )
    return kept


@pytest.mark.parametrize("levels", [3, 1000])  # with many equal scores, and with none
def test_best_of_k_is_what_drawing_every_subset_gives(levels: int) -> None:
    rng = np.random.default_rng(levels)
    for _ in range(20):
        score, correct = rng.integers(levels, size=6) - 10.0, rng.random(6) < 0.5
        for k in range(1, 7):
            wins = []
            for drawn in map(list, itertools.combinations(range(6), k)):
                wins.append(correct[drawn][score[drawn] == score[drawn].max()].mean())  # equal scores share
            assert best_of_k(score, correct, k) == pytest.approx(np.mean(wins))


def test_a_curve_is_what_a_pencil_gives(tmp_path: Path) -> None:
    rows = {row["k"]: row for row in curve(ballots(store(tmp_path, SAMPLES), TWO, samples=4), seed=0)}
    assert list(rows) == [1, 2, 4]
    assert [row["tokens_per_problem"] for row in rows.values()] == [2, 4, 8]
    for name in ("majority", "likeliest", "oracle"):  # one sample: 2 of 4 and 1 of 4
        assert rows[1][name]["value"] == pytest.approx(3 / 8)
        assert rows[1][f"{name}_gain"]["value"] == pytest.approx(0)
    assert rows[4]["majority"]["value"] == pytest.approx(1 / 2)  # 1 has two of three votes; 2 has three of four
    assert rows[4]["oracle"]["value"] == 1
    assert rows[4]["likeliest"]["value"] == pytest.approx(1 / 2)  # p0: the wrong 2 at -1; p1: the right 1 at -1
    # pairs of p0: {0,1} 2, {0,2} 1, {0,3} 1, {1,2} 2, {1,3} 2, {2,3} 1; of p1 half hold the right sample, the likeliest
    assert rows[2]["likeliest"]["value"] == pytest.approx((3 / 6 + 3 / 6) / 2)
    assert rows[2]["oracle"]["value"] == pytest.approx((5 / 6 + 3 / 6) / 2)
    assert rows[4]["oracle_gain"]["value"] == pytest.approx(1 - 3 / 8)


def test_a_sample_without_an_answer_is_never_the_best_however_likely(tmp_path: Path) -> None:
    found = ballots(store(tmp_path, SAMPLES), TWO, samples=4)
    assert found.score[0, 3] == -np.inf
    nothing = store(tmp_path / "none", {id: [(None, -1.0), (None, -2.0)] for id in SAMPLES})
    last = curve(ballots(nothing, TWO, samples=2), seed=0)[-1]
    assert [last[name]["value"] for name in ("majority", "likeliest", "oracle")] == [0, 0, 0]


def test_without_log_probabilities_the_likeliest_is_not_known(tmp_path: Path) -> None:
    silent = {id: [(answer, float("nan")) for answer, _ in drawn] for id, drawn in SAMPLES.items()}
    rows = curve(ballots(store(tmp_path, silent), TWO, samples=4), seed=0)
    assert all(row["likeliest"] is None and row["likeliest_gain"] is None for row in rows)
    assert rows[-1]["majority"]["value"] == pytest.approx(1 / 2)


def test_the_elected_sample_is_the_first_of_the_most_frequent_answer(tmp_path: Path) -> None:
    kept = rows_by_problem(store(tmp_path, SAMPLES | {"p2": [(None, -1.0), ("3", -1.0), ("4", -1.0)]}), 4)
    assert {id: (elected(rows)["sample"], elected(rows)["answer"]) for id, rows in kept.items()} == {
        "p0": (0, "1"),
        "p1": (0, "2"),
        "p2": (1, "3"),  # a tie goes to the answer that came first
    }
    assert elected(kept["p2"][:1])["answer"] is None


def test_too_few_samples_say_what_to_do_and_more_are_not_counted(tmp_path: Path) -> None:
    kept = store(tmp_path, SAMPLES)
    with pytest.raises(UsageError, match="fewer than 5 samples of 2 problems; lower --samples"):
        ballots(kept, TWO, samples=5)
    assert ballots(kept, TWO, samples=2).correct.tolist() == [[True, False], [False, True]]
