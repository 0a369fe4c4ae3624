"""A run's cost before and after: against hand-worked batches, run times that were published, and a folder made by hand."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import UsageError
from configs.load import load_base, load_device, load_recipe
from configs.schema import Architecture, Price
from evals.cost import forward_flops, training_flops
from evals.estimate import Estimate
from evals.rollouts import RolloutStore
from evals.spending import Drawn, Job, account, decoding_seconds, grpo_work, passes, plan_spending, usd_per_point

ROOT = Path(__file__).parents[2]
Script = Callable[..., subprocess.CompletedProcess[str]]


def shape_of(name: str) -> Architecture:
    shape = load_base(name).architecture
    assert shape is not None
    return shape


def job_of(base: str, recipe: str, device: str, *, gpus: int, rollouts: float, batches: float) -> Job:
    return Job(
        shape=shape_of(base),
        recipe=load_recipe(recipe).model_dump(),
        device=load_device(device),
        gpus=gpus,
        rollouts=rollouts,
        batches=batches,
        audit_rollouts=10_000,
        price=Price(low=2, high=2),
    )


def test_passes_are_those_that_trl_makes() -> None:
    r1 = passes(load_recipe("r1-zero").model_dump())
    assert (r1.scoring, r1.updates, r1.k, r1.k_hardware) == (2, 1, 6, 8)  # old by vLLM's correction, reference by beta
    assert passes(load_recipe("dr-grpo").model_dump()).scoring == 1  # no KL, so no reference
    assert passes(load_recipe("tiny").model_dump()).scoring == 0
    assert passes(load_recipe("tiny").model_dump()).k_hardware == 6
    inside = {"engine": "transformers", "grpo": {"gradient_accumulation_steps": 2, "steps_per_generation": 4}}
    assert passes(inside).scoring == 1
    assert passes({**inside, "lora": {"r": 8}}).k == 4


def test_work_of_two_samples_that_share_a_prompt_is_worked_out_by_hand() -> None:
    shape = shape_of("tiny-latent")
    drawn = Drawn(prompt=np.array([10, 10]), completion=np.array([4, 7]), prefill=np.array([0.5, 0.5]))
    nothing = Drawn(prompt=np.zeros(0), completion=np.zeros(0), prefill=np.zeros(0))
    work = grpo_work(shape, load_recipe("tiny").model_dump(), drawn, nothing)
    once = forward_flops(shape, 10)
    assert work.rollout == pytest.approx(float(forward_flops(shape, 14) + forward_flops(shape, 17) - once))
    assert work.update == pytest.approx(float(training_flops(shape, 14) + training_flops(shape, 17)))
    assert (work.scoring, work.audit, work.recomputed) == (0, 0, 0)
    assert drawn.tokens == (10, 11)
    means = Drawn.of_means(samples=2, sharing=2, prompt=10, completion=5.5)
    assert means.drawing(shape) == pytest.approx(work.rollout, rel=1e-2)


def test_plans_hold_the_run_times_that_were_published() -> None:
    """SimpleRL-Zoo: 7B, 100 rollouts of 1,024 x 8, 15 h on 16 H100. Dr. GRPO: 27 h on 8 A100 of 40 GB."""
    zoo = plan_spending(job_of("qwen2.5-7b", "simplerl-zoo", "h100", gpus=8, rollouts=819_200, batches=100))
    assert zoo[0].hours < 16 * 15 < zoo[2].hours
    assert 1 / 3 < zoo[1].hours / (16 * 15) < 3
    drg = plan_spending(job_of("qwen2.5-math-7b", "dr-grpo", "a100", gpus=8, rollouts=204_800, batches=200))
    assert drg[0].hours < 8 * 27 < drg[2].hours


def test_a_plan_grows_as_its_parts_do() -> None:
    one = plan_spending(job_of("qwen2.5-7b", "r1-zero", "h100", gpus=8, rollouts=102_400, batches=200))
    two = plan_spending(job_of("qwen2.5-7b", "r1-zero", "h100", gpus=8, rollouts=204_800, batches=400))
    for single, double in zip(one, two, strict=True):
        assert double.work.update == pytest.approx(2 * single.work.update)
        assert single.usd == pytest.approx(2 * single.hours)
        assert 0 < single.mfu < 0.5
    assert one[0].hours < one[1].hours < one[2].hours


def test_decoding_reads_the_weights_once_a_step() -> None:
    """One short sequence: 15.2 GB of bf16 weights at 3,350 GB/s is 4.5 ms a token, whatever the arithmetic takes."""
    seconds = decoding_seconds(
        shape_of("qwen2.5-7b"), load_device("h100"), gpus=1, share=0.9, samples=1, prompt=10, completion=100
    )
    assert seconds == pytest.approx(100 * 7.615e9 * 2 / 3350e9, rel=1e-2)
    floor = decoding_seconds(
        shape_of("qwen2.5-7b"), load_device("h100"), gpus=1, share=0.9, samples=1, prompt=10, completion=100, layer=1e-3
    )
    assert floor == pytest.approx(100 * 28 * 1e-3)
    with pytest.raises(UsageError, match=r"do not fit in 40% of 8 x h100.*--gpus 64"):
        decoding_seconds(
            shape_of("deepseek-v3-base"), load_device("h100"), gpus=8, share=0.4, samples=64, prompt=10, completion=100
        )


def test_a_gain_inside_the_noise_has_no_price() -> None:
    usd = Price(low=10, high=20)
    assert usd_per_point(usd, Estimate(value=0.01, low=-0.01, high=0.03, n=50)) is None
    assert usd_per_point(usd, Estimate(value=-0.1, low=-0.2, high=-0.05, n=50)) is None
    found = usd_per_point(usd, Estimate(value=0.2, low=0.1, high=0.4, n=50))
    assert found is not None
    assert math.isclose(found[0], 0.25)
    assert math.isclose(found[1], 2.0)


def made_run(folder: Path, **changes: Any) -> Path:
    """A killed run on two H100s, one hour in, that drew eight completions of 90 tokens on prompts of 10."""
    manifest = {
        "run": folder.name,
        "kind": "grpo",
        "status": "interrupted",
        "settings": {
            "base": "qwen2.5-7b",
            "origin": "Qwen/Qwen2.5-7B",
            "recipe": load_recipe("r1-zero").model_dump(),
            "processes": 2,
        },
        "hardware": {"gpus": ["NVIDIA H100 80GB HBM3"] * 2},
        "seconds": 3600.0,
        "split": {"rollout": 1800.0, "update": 1500.0},
        **changes,
    }
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    row = {"problem_id": "a/test/0", "prompt_tokens": 10, "completion_tokens": 90, "completion": "", "step": 1}
    RolloutStore(folder / "rollouts" / "train").append([{**row, "sample": sample} for sample in range(8)])
    return folder


def test_a_killed_run_is_accounted_for_by_what_it_drew(tmp_path: Path) -> None:
    shape = shape_of("qwen2.5-7b")
    found = account(made_run(tmp_path / "run"), shape)
    assert (found.gpu_hours, found.status, found.gain) == (2.0, "interrupted", None)
    assert found.trained.tokens == (10, 720)
    assert found.work.update == pytest.approx(float(8 * training_flops(shape, 100)))
    assert found.work.scoring == pytest.approx(float(2 * 8 * forward_flops(shape, 100)))


def test_mfu_is_model_flops_over_what_the_devices_could_have_done(tmp_path: Path) -> None:
    found = account(made_run(tmp_path / "run"), shape_of("qwen2.5-7b"))
    shares = found.mfu(989.4)
    assert shares["all"] == pytest.approx(found.work.total / (2 * 3600 * 989.4e12))
    assert shares["rollout"] == pytest.approx(found.work.rollout / (2 * 1800 * 989.4e12))
    assert "audit" not in shares  # its time is not known
    inside = account(made_run(tmp_path / "vllm", split={"update": 3000.0}), shape_of("qwen2.5-7b")).mfu(989.4)
    assert inside["update"] == pytest.approx(found.work.total / (2 * 3000 * 989.4e12))


def test_a_run_that_is_not_closed_has_no_price_yet(script: Script, tmp_path: Path) -> None:
    done = script("cost", "--run", made_run(tmp_path / "run", status="running", seconds=0.0))
    assert done.returncode == 0, done.stderr
    assert "has not written down its time yet" in done.stdout
    broken = made_run(tmp_path / "cut", split=None)
    done = script("cost", "--run", broken)
    assert done.returncode == 2
    assert "not whole (split)" in done.stderr


def test_an_audit_is_accounted_for_without_a_gain(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "audit", kind="audit", status="finished")
    (folder / "rollouts" / "train" / "part-000000.parquet").rename(folder / "rollouts" / "part-000000.parquet")
    found = account(folder, shape_of("qwen2.5-7b"))
    assert (found.gain, found.work.update, found.audited.tokens) == (None, 0, (10, 720))


def test_the_script_accounts_plans_and_lists_claims(script: Script, tmp_path: Path) -> None:
    done = script("cost", "--run", made_run(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "3.98 to 10" in done.stdout  # two hours at 1.99 to 5 dollars
    assert "only a finished training run" in done.stdout
    done = script("cost", "--base", "qwen2.5-7b", "--recipe", "r1-zero", "--gpus", 8, "--device", "h100")
    assert done.returncode == 0, done.stderr
    for part in ("fp8 7.62", "57,344", "102,400", "GPU hours", "stated assumptions", "Llama 3 405B reached"):
        assert part in done.stdout
    done = script("cost", "--claims")
    assert done.returncode == 0, done.stderr
    assert "$5.328M" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name what to cost"),
        (("--base", "qwen2.5-7"), "did you mean"),
        (("--base", "qwen2.5-7b", "--device", "h10"), "did you mean"),
        (("--base", "qwen2.5-7b", "--gpus", "0"), "--gpus takes a number above 0"),
        (("--base", "qwen2.5-7b", "--price", "-1"), "--price takes dollars"),
        (
            ("--base", "qwen2.5-7b", "--recipe", "r1-zero", "--gpus", "1", "--set", "grpo.num_generations=7"),
            "groups of 7",
        ),
        (("--base", "deepseek-v3-base", "--gpus", "8"), "do not fit"),
        (("--run", "nowhere"), "not a run folder"),
    ],
)
def test_a_wrong_command_says_what_to_type(script: Script, arguments: tuple[str, ...], told: str) -> None:
    done = script("cost", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_rollouts_is_refused(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run")
    (folder / "rollouts" / "train" / "part-000000.parquet").unlink()
    with pytest.raises(UsageError, match="holds no rollouts"):
        account(folder, shape_of("qwen2.5-7b"))
