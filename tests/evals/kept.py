"""Run folders of `synthetic` that kept rollouts too, with the words a test gives them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import Changes, Fate, write_run

from configs.load import load_template
from evals.rollouts import RolloutStore
from rewards.suites import load_problems

Say = Callable[[np.random.Generator, int, bool], tuple[str, str | None]]
"""A completion and the answer read out of it, for problem number and whether it is to be right."""


def sums_suite(path: Path, problems: int) -> dict[str, Any]:
    """Write a problem set whose problem i asks for i + i; as audits refer to it."""
    rows = [{"id": f"sums-test/{i}", "problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(problems)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": str(path), "fingerprint": load_problems(str(path)).fingerprint, "problems": problems}


def box(rng: np.random.Generator, problem: int, right: bool) -> tuple[str, str | None]:
    value = str(2 * problem if right else 2 * problem + 1)
    return f" {problem} and {problem} make {value}. \\boxed{{{value}}}", value


def write_kept(root: Path, fate: Fate, suite: dict[str, Any], *, say: Say = box, samples: int = 4) -> Path:
    """One run whose audits kept `samples` rollouts of each problem, of which a share of about the fate's is right."""
    template = load_template("qa").model_dump()
    settings = {"settings": {"template": template, "suite": suite["name"], "recipe": {"grpo": {}}}}
    folder = write_run(
        root, fate, problems=suite["problems"], changes=Changes(manifest=settings, audit={"suite": suite})
    )
    rng = np.random.default_rng(0)
    for name, rate in (("start", fate.start), ("end", fate.end)):
        rows = [
            kept_row(i, sample, *say(rng, i, right := bool(rng.random() < rate)), right=right)
            for i in range(suite["problems"])
            for sample in range(samples)
        ]
        RolloutStore(folder / "rollouts" / f"audit-{name}").append(rows)
    return folder


def kept_row(problem: int, sample: int, completion: str, answer: str | None, *, right: bool) -> dict[str, Any]:
    return {
        "problem_id": f"sums-test/{problem}",
        "sample": sample,
        "completion": completion,
        "prompt_tokens": 9,
        "completion_tokens": len(completion) // 4,
        "finish": "stop" if len(completion) % 2 else "length",
        "logprob": -1.5,
        "seed": 7,
        "answer": answer,
        "correct": right,
        "status": "graded" if answer else "no_answer",
        "reason": ("equal" if right else "different") if answer else "no_answer",
        "lenient_correct": right,
        "reward": None,
        "step": None,
    }


def keep_training(folder: Path, tokens: Sequence[int], each: int = 2) -> None:
    """Keep training rollouts: `each` of tokens[i] completion tokens at step i + 1."""
    store = RolloutStore(folder / "rollouts" / "train")
    for step, count in enumerate(tokens, start=1):
        store.append([{"step": step, "prompt_tokens": 3, "completion_tokens": count}] * each)
