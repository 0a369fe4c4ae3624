"""Training end to end, through the real script: what it leaves, that it can be killed, and that TRL's numbers are ours."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
STEPS, GROUP, BATCH = 4, 4, 16
SMALL = {
    "reward": "random",  # a base this small is never right; a coin gives groups with something to learn from
    "grpo.max_steps": STEPS,
    "grpo.per_device_train_batch_size": BATCH,
    "grpo.num_generations": GROUP,
    "grpo.save_steps": 2,
    "audit.problems": 8,
    "audit.samples": 4,
    "audit.signal_problems": 4,
    "audit.every": 2,
    "audit.every_problems": 4,
    "audit.every_samples": 2,
}


def flags(**changes: object) -> list[str]:
    merged = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
    return [part for key, value in merged.items() for part in ("--set", f"{key}={value}")]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rollouts(out: Path) -> list[dict[str, Any]]:
    parts = sorted((out / "rollouts" / "train").glob("part-*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return sorted(rows, key=lambda row: (row["step"], row["sample"]))


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "step_time" and "seconds" not in key} for row in rows]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def moved(before: Path, after: Path) -> float:
    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    assert old.keys() == new.keys()
    return max(float(np.abs(old[key] - new[key]).max()) for key in old)


@pytest.fixture(scope="module")
def finished(short_base: Path, script: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that nobody disturbed."""
    out = tmp_path_factory.mktemp("grpo") / "whole"
    done = script("grpo", "--base", short_base, "--out", out, *flags())
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_a_run_leaves_a_folder_that_says_all_there_is_to_know(finished: Path, short_base: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["training_rollouts"] == STEPS * BATCH
    assert manifest["groups_per_step"] == BATCH // GROUP
    assert {"audit", "rollout", "grading", "update"} <= manifest["split"].keys()
    assert sum(manifest["split"].values()) <= manifest["seconds"]
    assert [row["step"] for row in lines(finished / "metrics.jsonl")] == [1, 2, 3, 4]
    assert [row["step"] for row in lines(finished / "heldout.jsonl")] == [0, 2, 4]
    for name, problems, samples in [("start", 8, 4), ("signal", 4, GROUP), ("end", 8, 4)]:
        audit = json.loads((finished / f"audit-{name}.json").read_text())
        assert [each["samples"] for each in audit["problems"]] == [samples] * problems
    assert len(rollouts(finished)) == STEPS * BATCH
    assert moved(short_base, finished / "model") > 1e-5
    card = ModelCard.load(finished / "model" / "README.md")
    assert card.data.tags == ["grpo", "trl"]
    assert f"{STEPS * BATCH} completions" in card.text


def test_the_trained_model_is_a_base_again(finished: Path, script: Callable[..., Any], tmp_path: Path) -> None:
    done = script(
        "audit",
        "--base",
        finished / "model",
        "--suite",
        "sums",
        "--template",
        "qa",
        "--limit",
        8,
        "--samples",
        4,
        "--max-tokens",
        28,
        "--out",
        tmp_path / "audit",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads((tmp_path / "audit" / "audit.json").read_text())
    end = json.loads((finished / "audit-end.json").read_text())
    for same in ("pass_at_k", "maj_at_k", "status", "stop_rate", "completion_tokens", "problems"):
        assert again[same] == end[same], same  # the audit at the end of training is the audit of its folder


def check_metrics(out: Path) -> None:
    """What a run logged, where all of a step's rollouts are trained on, against its kept rollouts."""
    kept = rollouts(out)
    for row in lines(out / "metrics.jsonl"):
        mine = [each for each in kept if each["step"] == row["step"]]
        groups = [mine[start : start + GROUP] for start in range(0, BATCH, GROUP)]
        assert all(len({each["problem_id"] for each in group}) == 1 for group in groups)
        rewards = np.array([[each["reward"] for each in group] for group in groups])
        assert row["frac_reward_zero_std"] == np.mean([len(set(group)) == 1 for group in rewards.tolist()])
        assert row["informative/drawn"] == pytest.approx(1 - row["frac_reward_zero_std"])
        assert 0 <= row["informative/expected"] <= 1
        assert row["reward"] == pytest.approx(rewards.mean())
        assert row["accuracy"] == np.mean([each["correct"] for each in mine])
        assert row["stop_rate"] == np.mean([each["finish"] == "stop" for each in mine])
        assert row["completions/clipped_ratio"] == pytest.approx(1 - row["stop_rate"])
        assert row["completions/mean_length"] == np.mean([each["completion_tokens"] for each in mine])


def test_trl_logs_what_the_kept_rollouts_say(finished: Path) -> None:
    check_metrics(finished)


def test_the_seconds_of_all_steps_by_kind_are_the_time_that_went_by(finished: Path) -> None:
    steps = lines(finished / "metrics.jsonl")
    kinds = ("update", "rollout", "grading", "audit")
    for before, after in itertools.pairwise(steps):
        took = sum(after.get(f"{kind}_seconds", 0.0) for kind in kinds)
        assert took == pytest.approx(after["seconds"] - before["seconds"], abs=0.03)  # each is rounded
    assert all(row["rollout_seconds"] > 0 and row["update_seconds"] > 0 for row in steps)
    assert [row["step"] for row in steps if "audit_seconds" in row] == [2]  # after step 4 training is over


def plan_of(base: Path, out: Path, seed: int = 0, **changes: Any) -> Any:
    """The plan that the script makes of these arguments, for runs within this process."""
    from configs.load import load_recipe, load_template
    from configs.overrides import apply_overrides
    from rl.plan import Plan

    beside = {key: changes.pop(key) for key in ("budget_tokens", "budget_hours") if key in changes}
    return Plan(
        base=base.name,
        origin=str(base),
        revision=None,
        stop_token_ids=[256],
        parameters=None,
        context_length=512,
        recipe=apply_overrides(load_recipe("tiny"), flags(**changes)[1::2]),
        template=load_template("qa"),
        suite="sums",
        train_suite="sums-train",
        seed=seed,
        out=out,
        processes=1,
        **beside,
    )


def group_advantages(reward_PG: np.ndarray) -> np.ndarray:
    """Reward above the group's mean, in units of the group's sample standard deviation (DeepSeekMath, eq. of GRPO)."""
    mean, spread = reward_PG.mean(1, keepdims=True), reward_PG.std(1, ddof=1, keepdims=True)
    return (reward_PG - mean) / (spread + 1e-4)


def test_trl_advantages_are_the_group_formula(
    short_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import GRPOTrainer

    from rewards.suites import load_problems
    from rl.train import train

    seen: list[np.ndarray] = []
    original = GRPOTrainer._generate_and_score_completions

    def listen(self: Any, inputs: Any) -> Any:
        out = original(self, inputs)
        seen.append(out["advantages"].cpu().numpy())
        return out

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", listen)
    plan = plan_of(short_base, tmp_path / "run", seed=5, grpo__max_steps=3)
    train(plan, load_problems("sums"), load_problems("sums-train"), resume=False)
    kept = rollouts(plan.out)
    assert len(seen) == 3
    for step, advantages in enumerate(seen, start=1):
        rewards = np.array([each["reward"] for each in kept if each["step"] == step]).reshape(-1, GROUP)
        np.testing.assert_allclose(advantages.reshape(-1, GROUP), group_advantages(rewards), rtol=1e-4, atol=1e-6)
    assert np.abs(seen[0]).max() > 0.4  # a coin in groups of four: some group is mixed


def killed_at(command: list[str], sign: Path, cwd: Path) -> int:
    """Start a process, SIGKILL it as soon as `sign` can be read as JSON; returns its exit status."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < give_up:
        try:
            json.loads(sign.read_text())
            break
        except (OSError, json.JSONDecodeError):
            time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.parametrize("sign", ["checkpoints/checkpoint-2/trainer_state.json", "audit-signal.json"])
def test_a_killed_and_resumed_run_equals_an_undisturbed_one_to_the_bit(
    sign: str, finished: Path, short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    arguments = ["--base", str(short_base), "--out", str(out), *flags()]
    assert killed_at([sys.executable, str(ROOT / "scripts" / "grpo.py"), *arguments], out / sign, tmp_path) == -9
    assert json.loads((out / "manifest.json").read_text())["status"] == "running"
    if "checkpoint" not in sign:  # the point is a kill before the first checkpoint
        assert not list(out.glob("checkpoints/*/trainer_state.json"))
        (out / "heldout.jsonl").write_text((finished / "heldout.jsonl").read_text().splitlines()[0] + "\n")
    done = script("grpo", *arguments, "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    assert timeless(lines(out / "metrics.jsonl")) == timeless(lines(finished / "metrics.jsonl"))
    assert rollouts(out) == rollouts(finished)
    assert lines(out / "heldout.jsonl") == lines(finished / "heldout.jsonl")
    assert (out / "model/model.safetensors").read_bytes() == (finished / "model/model.safetensors").read_bytes()
    for name in ("start", "signal", "end"):
        assert (out / f"audit-{name}.json").read_text() == (finished / f"audit-{name}.json").read_text()
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["status"], manifest["starts"]) == ("finished", 2)


def spent(rows: list[dict[str, Any]], step: int) -> int:
    """Tokens of prompts and completions up to a step, counted in what was kept."""
    return sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows if row["step"] <= step)


def test_a_budget_of_tokens_ends_a_killed_run_at_the_step_that_reaches_it(
    finished: Path, short_base: Path, tmp_path: Path
) -> None:
    from rewards.suites import load_problems
    from rl.train import train

    rows, metrics = rollouts(finished), timeless(lines(finished / "metrics.jsonl"))
    assert [row["num_tokens"] for row in metrics] == [spent(rows, step) for step in range(1, STEPS + 1)]
    assert json.loads((finished / "manifest.json").read_text())["stopped_by"] == "steps"

    out, budget = tmp_path / "bound", spent(rows, 3)  # reached to the token
    settings = flags(grpo__max_steps=1000, grpo__save_steps=2)
    command = [
        sys.executable,
        str(ROOT / "scripts" / "grpo.py"),
        "--base",
        str(short_base),
        "--out",
        str(out),
        *settings,
    ]
    sign = out / "checkpoints/checkpoint-2/trainer_state.json"
    assert killed_at([*command, "--budget-tokens", str(budget)], sign, tmp_path) == -9
    logged = lines(out / "metrics.jsonl")[-1]["seconds"]
    plan = plan_of(short_base, out, grpo__max_steps=1000, grpo__save_steps=2, budget_tokens=budget)
    for _ in range(2):  # the second time nothing is left to do, and nothing is done
        train(plan, load_problems("sums"), load_problems("sums-train"), resume=True)
        manifest = json.loads((out / "manifest.json").read_text())
        assert (manifest["stopped_by"], manifest["trained_steps"], manifest["trained_tokens"]) == ("tokens", 3, budget)
        assert rollouts(out) == [row for row in rows if row["step"] <= 3]
    assert timeless(lines(out / "metrics.jsonl")) == metrics[:3]
    assert lines(out / "metrics.jsonl")[-1]["seconds"] > logged  # what the killed process spent is not forgotten
    assert json.loads((out / "audit-end.json").read_text())["step"] == 3
    assert (out / "checkpoints/checkpoint-3/trainer_state.json").is_file()  # though only even steps are due


def test_what_the_posterior_asks_is_the_same_after_a_kill_and_in_every_process(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    settings = flags(sampler="posterior", grpo__save_steps=1)
    whole, killed, two = (tmp_path / name for name in ("whole", "killed", "two"))
    done = script("grpo", "--base", short_base, "--out", whole, *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    asked = [row["problem_id"] for row in rollouts(whole)]
    assert all(len(set(asked[first : first + GROUP])) == 1 for first in range(0, len(asked), GROUP))
    check_metrics(whole)

    arguments = ["--base", str(short_base), "--out", str(killed), *settings]
    sign = killed / "checkpoints/checkpoint-2/trainer_state.json"
    assert killed_at([sys.executable, str(ROOT / "scripts" / "grpo.py"), *arguments], sign, tmp_path) == -9
    done = script("grpo", *arguments, "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    assert rollouts(killed) == rollouts(whole)
    assert timeless(lines(killed / "metrics.jsonl")) == timeless(lines(whole / "metrics.jsonl"))

    halves = flags(sampler="posterior", grpo__max_steps=1, grpo__per_device_train_batch_size=BATCH // 2)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29518"]
    command = [sys.executable, *launch, ROOT / "scripts" / "grpo.py", "--base", short_base, "--out", two, *halves]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [row["problem_id"] for row in rollouts(two)] == asked[:BATCH]


def test_a_base_without_an_edge_says_what_to_type(short_base: Path, script: Callable[..., Any], tmp_path: Path) -> None:
    done = script("grpo", "--base", short_base, "--out", tmp_path / "edge", *flags(sampler="edge"))
    assert done.returncode == 2
    assert "--set audit.signal_problems=N to audit more, or --set sampler=posterior" in done.stderr


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(
    finished: Path, short_base: Path, script: Callable[..., Any]
) -> None:
    before = {
        name: text
        for name, text in contents(finished).items()
        if name.startswith(("heldout", "metrics", "audit", "rollouts", "model/"))
        and name != "model/generation_config.json"  # says 256 one time and [256] the other
        and name != "model/README.md"  # says how long it took, both times together
    }
    done = script("grpo", "--base", short_base, "--out", finished, *flags(), "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    after = contents(finished)
    assert {name: after.get(name) for name in before} == before
    assert json.loads((finished / "manifest.json").read_text())["status"] == "finished"


def test_a_set_that_is_smaller_than_a_rollout_is_refused_where_trl_would_end_well_after_nothing(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text(
        "".join(json.dumps({"id": i, "problem": f"1{i}+2{i}=?", "answer": str(30 + 2 * i)}) + "\n" for i in range(3))
    )
    done = script("grpo", "--base", short_base, "--out", tmp_path / "run", *flags(), "--suite", few)
    assert done.returncode == 2
    assert "3 problems of" in done.stderr
    assert "fewer than the 4 that one rollout asks" in done.stderr


def test_a_second_start_into_the_same_folder_is_refused_and_loses_nothing(
    finished: Path, short_base: Path, script: Callable[..., Any]
) -> None:
    before = contents(finished)
    again = script("grpo", "--base", short_base, "--out", finished, *flags())
    other = script("grpo", "--base", short_base, "--out", finished, *flags(grpo__learning_rate="1e-5"), "--resume")
    assert (again.returncode, other.returncode) == (2, 2)
    assert "--resume" in again.stderr
    assert "recipe" in other.stderr
    assert contents(finished) == before


def test_an_adapter_is_merged_into_an_ordinary_model_folder(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "lora"
    done = script("grpo", "--base", short_base, "--out", out, "--lora", *flags(grpo__max_steps=1, audit__every=0))
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list((out / "model").glob("adapter*"))
    assert moved(short_base, out / "model") > 1e-6
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(out / "model")
    ids = AutoTokenizer.from_pretrained(out / "model")("Question: 123+456=?\nAnswer:", return_tensors="pt")
    assert model(**ids).logits.shape[-1] == 258


WRONG = [
    (["--base", "tiny-latnt"], "tiny-latent"),
    (["--recipe", "tinny"], "tiny"),
    (["--suite", "sums-trian"], "sums-train"),
    (["--eval-suite", "sumz"], "sums"),
    (["--template", "qwen-bxed"], "qwen-boxed"),
    (["--set", "grpo.learning_rat=1e-5"], "learning_rate"),
    (["--set", "audit.problem=3"], "audit.problem"),
    (["--set", "reward=corectness"], "correctness"),
    (["--set", "grpo.max_steps"], "key=value"),
    (["--set", "grpo.num_generations=3"], "divide"),
]


def test_a_wrong_name_ends_at_once_with_the_right_one(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    for wrong, right in WRONG:
        began = time.perf_counter()
        known = [] if "--base" in wrong else ["--base", short_base]
        done = script("grpo", *known, "--out", tmp_path / "none", *flags(), *wrong)
        assert done.returncode == 2, (wrong, done.stderr[-500:])
        assert right in done.stderr, (wrong, done.stderr[-500:])
        assert "Traceback" not in done.stderr
        assert time.perf_counter() - began < 5, wrong
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_dry_run_prints_the_plan_and_loads_no_torch(known: bool, short_base: Path, tmp_path: Path) -> None:
    base, numbers = ("qwen2.5-7b", []) if known else (str(short_base), flags())
    code = f"""
import runpy, sys
sys.argv = ["grpo.py", "--base", {base!r}, "--dry-run", *{numbers!r}]
try:
    runpy.run_path({str(ROOT / "scripts" / "grpo.py")!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
assert not {{"torch", "transformers", "trl", "datasets"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nothing was loaded" in done.stdout
    if not known:
        assert "4 x 4 = 16 completions" in done.stdout
    assert not list(tmp_path.iterdir())
