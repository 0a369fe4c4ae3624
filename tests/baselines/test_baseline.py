"""scripts/baseline.py as it is typed: what a run leaves, that rounds go on, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from configs.cli import run
from configs.load import load_template
from evals.fewshot import worked_reply
from rewards.types import Problem
from scripts.baseline import main

SMALL = ("--set", "audit.problems=6", "--set", "audit.samples=4")


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Questions whose answer is always 7, which a base can learn in a few steps; and one set without solutions."""
    folder = tmp_path_factory.mktemp("suites")

    def written(name: str, numbers: range, **more: str) -> Path:
        rows = [{"id": f"{name}/{n}", "problem": f"{n}+0*{n}+7-{n}=?", "answer": "7", **more} for n in numbers]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder / f"{name}.jsonl"

    return {
        "train": written("train", range(10, 26), solution=r"\boxed{7}"),
        "held": written("held", range(30, 36)),
        "bare": written("bare", range(40, 46)),
    }


@pytest.fixture(scope="module")
def typed(short_base: Path, suites: dict[str, Path]) -> Any:
    """Type a command; gives the exit code."""

    def call(kind: str, *more: object, train: str = "train", held: str = "held") -> int:
        given = () if "--base" in more else ("--base", short_base)
        suite = ("--suite", suites[train], "--eval-suite", suites[held])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["baseline.py", *map(str, (kind, *given, *suite, *SMALL, *more))])
            return run(main)

    return call


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def sft(typed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sft") / "cold"
    more = ("--set", "sft.per_device_train_batch_size=16", "--set", "sft.num_train_epochs=15")
    assert typed("sft", "--out", out, *more, "--set", "sft.learning_rate=5e-3") == 0
    return out


def test_an_sft_run_says_all_there_is_to_know(sft: Path) -> None:
    about = read(sft / "manifest.json")
    assert (about["kind"], about["status"], about["steps"], about["examples"]) == ("sft", "finished", 15, 16)
    assert [row["step"] for row in map(json.loads, (sft / "metrics.jsonl").open())] == list(range(1, 16))
    assert [row["step"] for row in map(json.loads, (sft / "heldout.jsonl").open())] == [0, 15]
    start, end = (read(sft / f"audit-{name}.json") for name in ("start", "end"))
    rates = [[one["correct"] / 4 for one in audit["problems"]] for audit in (start, end)]
    assert about["gain"]["value"] == pytest.approx((sum(rates[1]) - sum(rates[0])) / 6)
    assert about["gain"]["low"] > 0.2
    reply = worked_reply(load_template("qa"), Problem(id="", question="", answer="7", solution=r"\boxed{7}"))
    assert about["budget"]["loss_tokens"] == 15 * 16 * (len(reply) + 1)
    assert about["budget"]["sampled_tokens"] == 0


def test_rounds_of_rejection_go_on_where_they_stopped_and_come_to_the_same(
    typed: Any, sft: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rejection"
    command = (
        "rejection",
        "--base",
        sft / "model",
        "--template",
        "qa",
        "--recipe",
        "tiny",
        "--sft",
        "tiny",
        "--out",
        out,
    )
    command += ("--problems", 8, "--samples", 4, "--keep", 2)
    assert typed(*command) == 0
    assert f"--base {out}/model --recipe tiny --template qa" in " ".join(capsys.readouterr().out.split())
    about, end = read(out / "manifest.json"), read(out / "audit-end.json")
    assert about["base"] == "cold"  # named after its run, not after the folder model that every run has
    rounds = about["rounds"]
    assert [(one["round"], one["samples"]) for one in rounds] == [(1, 32), (2, 32)]
    assert all(1 <= one["examples"] <= min(one["right"], 2 * one["solved"]) for one in rounds)
    assert about["budget"]["sampled_tokens"] == sum(one["sampled_tokens"] for one in rounds) <= 64 * 28
    asked = [{one["id"] for one in read(out / f"audit-samples-{number}.json")["problems"]} for number in (1, 2)]
    assert not asked[0] & asked[1]
    card = (out / "model" / "README.md").read_text()
    assert "rejection fine-tuning on its own right answers" in card
    assert f"{about['budget']['sampled_tokens']:,} tokens sampled" in card

    first = (out / "rounds" / "1" / "model" / "model.safetensors").stat().st_mtime_ns
    for name in ("audit-end.json", "rollouts/audit-end", "model"):  # as if killed in the second round
        (out / name).rename(tmp_path / name.replace("/", "-"))
    assert typed(*command) == 2
    assert "add --resume" in capsys.readouterr().err
    assert typed(*command, "--resume") == 0
    assert read(out / "audit-end.json") == end
    assert (out / "rounds" / "1" / "model" / "model.safetensors").stat().st_mtime_ns == first
    assert read(out / "manifest.json")["rounds"] == rounds


def test_a_vote_over_a_runs_kept_rollouts_is_the_vote_over_its_own(
    typed: Any, sft: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("vote", "--out", tmp_path / "own") == 0
    assert typed("vote", "--out", tmp_path / "kept", "--from", sft) == 0
    own, kept = (read(tmp_path / name / "vote.json") for name in ("own", "kept"))
    assert own == kept
    assert [row["k"] for row in own["budgets"]] == [1, 2, 4]
    end = read(tmp_path / "own" / "audit-end.json")
    assert [one["samples"] for one in end["problems"]] == [1] * 6
    assert typed("vote", "--out", tmp_path / "more", "--from", sft, "--samples", 5) == 2
    assert "has 4 samples a problem; lower --samples from 5" in capsys.readouterr().err
    assert typed("vote", "--out", tmp_path / "other", "--from", sft, "--set", "grpo.temperature=0.5") == 2
    assert "differs in sampling.temperature (1.0, and 0.5 here)" in capsys.readouterr().err


def test_few_shot_is_measured_beside_zero_shot(typed: Any, tmp_path: Path) -> None:
    assert typed("few-shot", "--shots", 2, "--out", tmp_path / "few") == 0
    names = [read(tmp_path / "few" / f"audit-{name}.json")["template"] for name in ("start", "end")]
    assert names == ["qa", "qa+2shot"]
    assert read(tmp_path / "few" / "manifest.json")["gain"]["n"] == 6


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("sft", "--shots", 2), "sft has no --shots; it takes --examples, --sft"),
        (("sft", "--examples", 17), "has 16 worked solutions; lower --examples from 17"),
        (("sft", "--set", "sft.learning_rat=1"), "did you mean"),
        (("few-shot", "--set", "sft.learning_rate=1"), "no block 'sft'"),
        (("vote", "--samples", 1), "a vote needs at least --samples 2"),
        (("vote", "--samples", 0), "--samples takes 1 or more"),
        (("rejection", "--samples", 2, "--keep", 3), "--samples 2 cannot give --keep 3"),
        (
            ("rejection", "--problems", 4, "--samples", 1, "--keep", 1, "--set", "grpo.max_completion_length=1"),
            "none of 4",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_type(
    typed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[Any, ...], words: str
) -> None:
    assert typed(*command, "--out", tmp_path / "run") == 2
    assert words in capsys.readouterr().err
    assert (tmp_path / "run").exists() == ("none of" in words)  # what can be known beforehand takes no folder


def test_problems_that_measure_must_be_held_out_and_solutions_must_be_there(
    typed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("sft", "--out", tmp_path / "run", held="train") == 2
    assert "16 problems of" in (told := capsys.readouterr().err)
    assert "must be held out" in told
    assert typed("sft", "--out", tmp_path / "run", train="bare") == 2
    assert "has no worked solutions" in capsys.readouterr().err


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    typed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("rejection", "--problems", 10, "--out", tmp_path / "run", "--dry-run") == 0
    assert "320 completions, at most 8,960 tokens" in capsys.readouterr().out  # 2 rounds x 10 problems x 16
    assert not (tmp_path / "run").exists()
