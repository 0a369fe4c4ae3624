"""Several processes do what one does: the same global batch, the same loss, the same weights; and the launch configs load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from safetensors.numpy import load_file
from test_plan import plan_of as numbers_of
from test_train import BATCH, GROUP, ROOT, flags, lines, moved, plan_of, rollouts

from configs.errors import UsageError
from configs.overrides import LORA

CONFIGS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
TWO = {"grpo__max_steps": 2, "grpo__optim": "sgd", "grpo__learning_rate": 0.1, "grpo__save_steps": 1, "audit__every": 1}
"""Plain gradient descent: Adam divides a gradient of rounding error by itself."""


@pytest.fixture(scope="module")
def alone(short_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps in one process."""
    from rewards.suites import load_problems
    from rl.train import train

    plan = plan_of(short_base, tmp_path_factory.mktemp("alone") / "run", **TWO)
    train(plan, load_problems("sums"), load_problems("sums-train"), resume=False)
    return plan.out


def launched(options: list[object], out: Path, base: Path, cwd: Path, *more: object) -> None:
    """The same steps in two processes, half a batch each."""
    settings = flags(**TWO, grpo__per_device_train_batch_size=BATCH // 2)
    launcher = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--mixed_precision", "no", *options]
    command = [sys.executable, *launcher, ROOT / "scripts" / "grpo.py", "--base", base, "--out", out, *settings, *more]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def data_parallel(short_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ddp") / "run"
    launched(["--multi_gpu", "--main_process_port", "29517"], out, short_base, out.parent, "--budget-hours", "24")
    return out


@pytest.fixture(scope="module")
def fully_sharded(short_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fsdp") / "run"
    spread_over_two(out, short_base)
    return out


def spread_over_two(out: Path, base: Path, *more: object) -> None:
    config = ["--config_file", ROOT / "configs/accelerate/fsdp2.yaml", "--main_process_port", "29516"]
    launched([*config, Path(__file__).with_name("fsdp_on_cpu.py")], out, base, out.parent, *more)


@pytest.mark.parametrize("kind", ["data_parallel", "fully_sharded"])
def test_two_processes_do_what_one_does(
    kind: str, alone: Path, short_base: Path, request: pytest.FixtureRequest
) -> None:
    two = request.getfixturevalue(kind)
    manifest = json.loads((two / "manifest.json").read_text())
    assert (manifest["status"], manifest["settings"]["processes"]) == ("finished", 2)  # accelerate did start two
    assert len(list((two / "rollouts/train").glob("*.parquet"))) == 2 * 2
    mine, theirs = rollouts(alone), rollouts(two)
    assert [row["sample"] for row in theirs] == [*range(BATCH), *range(BATCH)]
    for one, other in zip(mine, theirs, strict=True):
        assert one.pop("logprob") == pytest.approx(other.pop("logprob"), abs=1e-4)
        assert one == other  # asked alike, drawn alike, paid alike
    groups = [row["problem_id"] for row in theirs if row["step"] == 1]
    assert all(groups.count(one) == GROUP for one in groups)
    for one, other in zip(lines(alone / "metrics.jsonl"), lines(two / "metrics.jsonl"), strict=True):
        for key in ("loss", "grad_norm", "entropy", "reward", "reward_std", "frac_reward_zero_std", "num_tokens"):
            assert one[key] == pytest.approx(other[key], rel=1e-5, abs=1e-7), key
    weights, others = (load_file(run / "model/model.safetensors") for run in (alone, two))
    apart = max(float(np.abs(weights[key] - others[key]).max()) for key in weights)
    assert moved(short_base, alone / "model") > 1e-3
    assert apart < 1e-6
    assert lines(alone / "heldout.jsonl") == lines(two / "heldout.jsonl")  # also that of the step between
    for name in ("start", "signal", "end"):  # each process drew half of the problems
        assert len(list((two / f"rollouts/audit-{name}").glob("part-*-1.parquet"))) >= 1
        one, other = (json.loads((run / f"audit-{name}.json").read_text()) for run in (alone, two))
        assert one["problems"] == other["problems"]
        assert one["mean_token_logprob"]["value"] == pytest.approx(other["mean_token_logprob"]["value"], abs=1e-5)


def test_spread_weights_are_loaded_when_only_the_last_audit_was_left_to_do(
    fully_sharded: Path, short_base: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "run"
    shutil.copytree(fully_sharded, killed)
    for name in ("audit-end.json", "model/model.safetensors"):
        (killed / name).unlink()
    shutil.rmtree(killed / "rollouts/audit-end")
    spread_over_two(killed, short_base, "--resume")
    assert lines(killed / "metrics.jsonl") == lines(fully_sharded / "metrics.jsonl")  # no step more
    ends = [json.loads((run / "audit-end.json").read_text()) for run in (killed, fully_sharded)]
    assert ends[0] == ends[1]
    weights = [(run / "model/model.safetensors").read_bytes() for run in (killed, fully_sharded)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_launch_config_is_taken_by_accelerate(config: Path) -> None:
    read = load_config_from_file(str(config))
    assert not read.use_cpu
    parser = launch_command_parser()
    arguments, defaults, _ = _validate_launch_command(
        parser.parse_args(["--config_file", str(config), "scripts/grpo.py", "--base", "qwen2.5-7b"])
    )
    assert defaults is not None
    assert (arguments.num_processes, arguments.num_machines) == (read.num_processes, read.num_machines)
    assert arguments.mixed_precision == "bf16"
    assert arguments.training_script_args == ["--base", "qwen2.5-7b"]
    kind = {
        "one-gpu": "",
        "zero2": "use_deepspeed",
        "zero3": "use_deepspeed",
        "fsdp2": "use_fsdp",
        "two-nodes": "multi_gpu",
    }
    on = [flag for flag in ("multi_gpu", "use_fsdp", "use_deepspeed") if getattr(arguments, flag)]
    assert on == [name for name in [kind[config.stem]] if name]


@pytest.mark.parametrize(
    ("announced", "spread"),
    [
        ({}, False),
        ({"ACCELERATE_USE_FSDP": "true"}, True),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, True),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, False),
    ],
)
def test_an_adapter_is_refused_where_weights_are_spread(
    announced: dict[str, str], spread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in announced.items():
        monkeypatch.setenv(name, value)
    plan = numbers_of(lora=LORA)
    if not spread:
        plan.check()
        return
    with pytest.raises(UsageError, match=r"zero2\.yaml"):
        plan.check()


def test_a_model_on_the_meta_device_takes_part_and_keeps_nothing() -> None:
    import torch

    from rl.sharding import refresh

    def tied() -> torch.nn.Module:
        model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
        model[1].weight = model[0].weight
        return model

    spread, whole, nothing = tied(), tied(), tied().to("meta")
    assert len(list(nothing.parameters())) > len(list(spread.parameters()))  # the tie is lost on the way
    refresh(whole, spread)
    refresh(nothing, spread)
    assert torch.equal(whole[1].weight, spread[0].weight)
    assert all(parameter.is_meta for parameter in nothing.parameters())
