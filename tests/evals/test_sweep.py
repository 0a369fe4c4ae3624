"""A sweep of templates names the best one and says from which others these problems can tell it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.sweep import sweep, sweep_table, verdict


def audit_of(correct: list[int], samples: int = 4) -> dict[str, Any]:
    share = {"value": sum(correct) / len(correct) / samples, "low": 0.0, "high": 1.0, "n": len(correct)}
    return {
        "pass_at_k": {"read": {"1": share}, "lenient": {"1": share}},
        "problems": [{"id": str(i), "samples": samples, "correct": count} for i, count in enumerate(correct)],
        **dict.fromkeys(("answer_rate", "stop_rate", "context_overflow"), share),
    }


def test_the_best_is_named_and_the_others_stand_behind_it_by_problem() -> None:
    best = [4, 3, 2, 1] * 20
    audits = {
        "far": audit_of([0] * 80),
        "best": audit_of(best),
        "near": audit_of([best[79 - i] for i in range(79)] + [0]),  # as good on the whole, on other problems
    }
    found = sweep(audits)
    assert found["best"] == "best"
    behind = {name: facts["behind_best"] for name, facts in found["templates"].items()}
    assert behind["best"] is None
    assert behind["far"]["value"] == pytest.approx(2.5 / 4)
    assert behind["far"]["low"] > 0.5
    assert behind["near"]["low"] < 0 < behind["near"]["high"]
    assert "best template by pass@1: best" in verdict(found)
    assert verdict(found).endswith("not told apart from it by these problems (~): near")
    assert {row[0]: row[3][-1:] for row in sweep_table(found, {})} == {"best": "", "near": "~", "far": ")"}
    assert [row[0] for row in sweep_table(found, {"long": "too long"})] == ["best", "near", "far", "long"]
    assert verdict(sweep({"far": audits["far"]})) == "no template got one sample right"


def test_a_question_asked_twice_tells_two_templates_apart_no_better_than_once() -> None:
    once = {"best": audit_of([4, 3, 2, 1] * 5), "other": audit_of([2, 2, 2, 1] * 5)}
    twice = {name: audit_of([one["correct"] for one in audit["problems"]] * 2) for name, audit in once.items()}
    for audit in twice.values():
        for number, one in enumerate(audit["problems"]):
            one["question"] = str(number % 20)
    assert sweep(twice)["templates"]["other"]["behind_best"] == pytest.approx(
        sweep(once)["templates"]["other"]["behind_best"] | {"n": 40}
    )


def test_the_script_sweeps_in_one_load_and_leaves_out_what_does_not_fit(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    arguments = ["--base", short_base, "--suite", "sums", "--limit", 16, "--samples", 2, "--max-tokens", 28]
    arguments += ["--template", "qa,none,orz", "--out", tmp_path / "swept"]
    done = script("audit", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("no prompt leaves") == 1
    facts = json.loads((tmp_path / "swept" / "sweep.json").read_text())
    assert facts["templates"].keys() == {"qa", "none"}
    for name in ("qa", "none"):
        audit = json.loads((tmp_path / "swept" / name / "audit.json").read_text())
        assert audit["template"] == name
        assert audit["pass_at_k"]["read"]["1"] == facts["templates"][name]["read"]
        assert json.loads((tmp_path / "swept" / name / "manifest.json").read_text())["status"] == "finished"
    rows = (tmp_path / "swept" / "qa" / "rollouts").stat().st_mtime_ns
    again = script("audit", *arguments)
    assert again.returncode == 0
    assert (tmp_path / "swept" / "qa" / "rollouts").stat().st_mtime_ns == rows  # nothing was drawn twice

    wrong = script("audit", *arguments[:-4], "--template", "qa,nona", "--out", tmp_path / "other")
    assert wrong.returncode == 2
    assert "did you mean none" in wrong.stderr
