"""Dynamic sampling: what is drawn, kept, thrown away and counted; and that a resumed run goes on where it was."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_plan import plan_of as numbers_of
from test_train import BATCH, lines, plan_of, rollouts, timeless

from configs.errors import UsageError
from rl.plan import MOST
from rl.resample import Resampler, in_order, teaches


def test_every_problem_is_asked_once_an_epoch_from_whatever_place_one_starts() -> None:
    ids = [f"p/{n}" for n in range(7)]
    whole = in_order(ids, seed=3, start=0, count=21)
    epochs = [whole[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == ids for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert in_order(ids, seed=3, start=5, count=4) == whole[5:9]


class Dealt:
    """Stands in for rollouts: group n of the run is mixed where `mixed` says so."""

    def __init__(self, mixed: list[bool]) -> None:
        self.mixed, self.asked = iter(mixed), 0

    def drawn(self, prompts: list[str], *, step: int, first: int) -> list[dict[str, Any]]:
        assert first == self.asked
        self.asked += len(prompts)
        return [{"sample": first + place} for place in range(len(prompts))]

    def graded(self, drawn: list[dict[str, Any]], ids: list[str], *, step: int) -> list[dict[str, Any]]:
        mixed = [next(self.mixed) for _ in ids[::2]]
        return [
            {"problem_id": id, "reward": float(mixed[place // 2] and place % 2), "sample": one["sample"]}
            for place, (id, one) in enumerate(zip(ids, drawn, strict=True))
        ]


def test_a_batch_is_filled_by_hand_worked_rounds() -> None:
    rows = {f"p/{n}": {"prompt": "?", "problem_id": f"p/{n}"} for n in range(50)}
    dealt: Any = Dealt([True, False, False, True, False, True, True])  # rounds of 4, of 2 and of 1
    resampler = Resampler(rows, dealt, group_size=2, seed=0, drawn=11)
    asked = in_order(list(rows), seed=0, start=11, count=7)
    filled = resampler.fill(0, 4)
    assert [row["problem_id"] for row in filled[::2]] == [asked[place] for place in (0, 3, 5, 6)]
    assert [row["problem_id"] for row in dealt.thrown[::2]] == [asked[place] for place in (1, 2, 4)]
    assert sorted(one["sample"] for one in [*dealt.chosen, *dealt.thrown]) == list(range(14))
    assert resampler.drawn == 11 + 7

    hopeless: Any = Dealt([True] + [False] * 1000)
    filled = Resampler(rows, hopeless, group_size=2, seed=0, drawn=0).fill(0, 4)
    assert hopeless.asked == MOST * 4 * 2  # then the batch takes what there is
    assert (len(filled), len(hopeless.thrown)) == (8, MOST * 8 - 8)
    assert {row["reward"] for row in hopeless.thrown} == {0.0}


def test_what_is_thrown_away_is_kept_and_counted_and_a_resumed_run_draws_the_same(
    short_base: Path, tmp_path: Path
) -> None:
    from rewards.suites import load_problems
    from rl.train import train

    settings = {
        "sampler": "resample",
        "grpo__save_steps": 1,
        "grpo__num_generations": 2,
        "audit__samples": 2,
        "audit__every": 0,
    }
    sets = load_problems("sums"), load_problems("sums-train")
    whole = plan_of(short_base, tmp_path / "whole", **settings)  # half of all pairs of coins are alike
    train(whole, *sets, resume=False)
    kept, metrics = rollouts(whole.out), lines(whole.out / "metrics.jsonl")
    tokens = 0
    for row in metrics:
        mine = [each for each in kept if each["step"] == row["step"]]
        groups = [mine[start : start + 2] for start in range(0, len(mine), 2)]
        teaching = [group for group in groups if len({each["reward"] for each in group}) > 1]
        assert [each["sample"] for each in mine] == list(range(len(mine)))
        assert len(teaching) == BATCH // 2
        assert len(groups) > BATCH // 2  # or nothing was thrown away and this says little
        assert (row["resampled/groups"], row["frac_reward_zero_std"]) == (len(groups), 0.0)
        assert row["informative/drawn"] == pytest.approx(len(teaching) / len(groups))
        drawn = sum(each["prompt_tokens"] + each["completion_tokens"] for each in mine)
        trained = [each for group in teaching for each in group]
        used = sum(each["prompt_tokens"] + each["completion_tokens"] for each in trained)
        tokens += drawn
        assert (row["num_tokens"], row["resampled/thrown_tokens"]) == (tokens, drawn - used)
        assert row["accuracy"] == pytest.approx(sum(each["correct"] for each in mine) / len(mine))
        assert row["reward"] == pytest.approx(0.5)
    asked = [each["problem_id"] for each in kept][::2]
    assert len(set(asked)) == len(asked)  # in order through the set, over all steps

    shutil.copytree(whole.out, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "checkpoint-4")  # the third step's is left
    killed = plan_of(short_base, tmp_path / "killed", **settings)
    train(killed, *sets, resume=True)
    assert rollouts(killed.out) == kept
    assert timeless(lines(killed.out / "metrics.jsonl")) == timeless(metrics)
    weights = [(run.out / "model/model.safetensors").read_bytes() for run in (whole, killed)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("count", "engine"), [(2, "transformers"), (1, "vllm")])
def test_where_groups_cannot_be_looked_at_first_it_is_refused(count: int, engine: str) -> None:
    plan = numbers_of(count=count)
    recipe = plan.recipe.model_copy(update={"sampler": "resample", "engine": engine})
    with pytest.raises(UsageError, match="sampler=posterior"):
        dataclasses.replace(plan, recipe=recipe).check()


@pytest.mark.parametrize(
    ("rewards", "different"),
    [
        ([0.0, 1.0], True),
        ([1.0, 1.0], False),
        ([None, 1.0], False),
        ([float("nan"), 0.0, 1.0], True),
        ([None, None], False),
    ],
)
def test_a_group_teaches_by_the_rewards_that_were_paid(rewards: list[float | None], different: bool) -> None:
    assert teaches(rewards) is different
