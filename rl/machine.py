"""What the machine must have for a run: versions, disk, memory, hours. Estimates are notes; only a full disk stops."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

from configs.errors import UsageError
from configs.load import load_device
from configs.schema import Device
from evals.cost import activation_bytes, device_of, training_bytes, weights
from evals.spending import Job, plan_spending, precision_of
from rl.files import Files, shape_of
from rl.plan import Plan, spread

PINNED = ("torch", "transformers", "trl", "accelerate", "peft", "vllm")
CHECKPOINTS = 3
"""Kept at once: two, and the one being written."""
WEIGHT, ADAM = 4, 8
"""Bytes a weight of its two moments in float32."""

Verdict = Literal["ok", "note", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `note` is worth reading; `stop` means that the run cannot work."""

    what: str
    found: str
    verdict: Verdict = "ok"


def pins(root: Path) -> dict[str, str]:
    """Versions that were tested together, by package: requirements.txt, and vLLM's from pyproject.toml."""
    text = "".join(path.read_text(encoding="utf-8") for path in (root / "requirements.txt", root / "pyproject.toml"))
    found = re.findall(r"^\W*([A-Za-z0-9_-]+)==([0-9][^\s\"']*)", text, flags=re.MULTILINE)
    found += re.findall(r"\"(vllm)==([0-9.]+)\"", text)
    return {name: version for name, version in found if name in PINNED}


def versions(plan: Plan, root: Path) -> Check:
    if not (root / "requirements.txt").is_file():
        return Check(what="versions", found="")
    others = []
    for name, tested in sorted(pins(root).items()):
        if name == "vllm" and plan.recipe.engine != "vllm":
            continue
        here = _installed(name)
        if here is None or here.split("+")[0] != tested:
            others.append(f"{name} {here or 'is not installed'} (tested: {tested})")
    if others:
        return Check(what="versions", found=", ".join(others), verdict="note")
    return Check(what="versions", found="those that were tested together")


def _installed(name: str) -> str | None:
    for package in (name, f"{name}-cpu"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def _parameters(plan: Plan, files: Files) -> float | None:
    shape = shape_of(plan, files)
    return plan.parameters or (float(weights(shape)) if shape else None)


def disk(plan: Plan, files: Files) -> Check:
    """Room for the checkpoints that are kept at once and for the trained model."""
    parameters = _parameters(plan, files)
    if parameters is None:
        return Check(what="disk", found="")
    model = parameters * (2 if plan.recipe.grpo.get("bf16") else 4)
    needed = model if plan.recipe.lora else CHECKPOINTS * (WEIGHT + ADAM) * parameters + model
    place = next(one for one in (plan.out.absolute(), *plan.out.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(place).free
    kept = sum(path.stat().st_size for path in (plan.out / "checkpoints").rglob("*") if path.is_file())
    needed = max(0.0, needed - kept)  # a resumed run has some of them already
    told = f"{needed / 1e9:,.2f} GB for checkpoints and model, {free / 1e9:,.1f} GB free in {place}"
    if needed > free:
        elsewhere = plan.recipe.engine == "vllm" and not gpus()  # planned here, to be run where the GPUs are
        return Check(what="disk", found=f"{told}; choose another --out", verdict="note" if elsewhere else "stop")
    return Check(what="disk", found=told)


def gpus() -> list[tuple[str, float]]:
    """Name and memory, in 10^9 bytes, of every GPU that the driver lists; none where there is no driver."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line] if done.returncode == 0 else []
    return [(name.strip(), float(size) * 2**20 / 1e9) for name, size in rows if size.strip().isdigit()]


def memory(plan: Plan, files: Files) -> Check:
    """What a device must hold at the longest: an estimate, so it never stops a run."""
    parameters, shape, grpo = _parameters(plan, files), shape_of(plan, files), plan.recipe.grpo
    if parameters is None:
        return Check(what="memory a device", found="")
    held = training_bytes(parameters, precision_of(plan.recipe.model_dump()), master=bool(grpo.get("bf16")))
    state = 0.0 if plan.recipe.lora else held.gradients + held.optimizer
    needed = held.weights / (plan.processes if spread() == "all" else 1)
    needed += state / (1 if spread() == "nothing" else plan.processes)
    parts = [f"weights{'' if plan.recipe.lora else ', gradients, Adam'} {needed / 1e9:,.2f}"]
    if shape:
        tokens = int(grpo["per_device_train_batch_size"]) * float(grpo["max_completion_length"])
        active = activation_bytes(
            shape, tokens, precision_of(plan.recipe.model_dump()), checkpointed=bool(grpo.get("gradient_checkpointing"))
        )
        needed += active
        parts.append(f"activations {active / 1e9:,.2f}")
    here = gpus()
    room = min((size for _, size in here), default=psutil.virtual_memory().total / 1e9)
    if here and plan.recipe.engine == "vllm" and grpo.get("vllm_mode", "colocate") == "colocate":
        share = float(grpo.get("vllm_gpu_memory_utilization", 0.3)) * room
        needed += share * 1e9
        parts.append(f"vLLM's share {share:,.0f}")
    told = f"{needed / 1e9:,.2f} GB ({', '.join(parts)})"
    device = f"{here[0][0]} of {room:,.0f} GB" if here else f"no GPU here; this machine's memory is {room:,.0f} GB"
    if needed > room * 1e9:
        advice = "spread it (configs/accelerate/fsdp2.yaml), add --lora, or lower grpo.per_device_train_batch_size"
        return Check(what="memory a device", found=f"{told}; {device}: does not fit; {advice}", verdict="note")
    return Check(what="memory a device", found=f"{told}; {device}")


def hours(plan: Plan, files: Files) -> Check:
    """GPU hours and dollars as scripts/cost.py states them; by an H100 where no known GPU is here."""
    shape, known = shape_of(plan, files), device_of([name for name, _ in gpus()])
    if shape is None or plan.recipe.engine != "vllm":
        return Check(what="hours, dollars", found="")
    device: Device = known or load_device("h100")
    job = Job(
        shape=shape,
        recipe=plan.recipe.model_dump(),
        device=device,
        gpus=plan.processes,
        rollouts=plan.rollouts,
        batches=plan.rollouts / plan.completions_per_rollout,
        audit_rollouts=plan.audit_rollouts,
        price=device.usd_per_hour,
    )
    try:
        cheap, _, dear = plan_spending(job)
    except UsageError as error:
        return Check(what="hours, dollars", found=str(error), verdict="note")
    wall = sorted(one.hours / plan.processes for one in (cheap, dear))
    money = sorted(one.usd for one in (cheap, dear))
    found = (
        f"{wall[0]:,.1f} to {wall[1]:,.1f} hours, {money[0]:,.0f} to {money[1]:,.0f} dollars on {plan.processes} x {device.name}"
        f"{'' if known else ' (none here)'}; scripts/cost.py has the assumptions"
    )
    return Check(what="hours, dollars", found=found)
