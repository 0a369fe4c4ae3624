"""What a GRPO run will cost, as a range under stated assumptions, and what a finished one did cost.

A run's work is in four parts: drawing completions, scoring them again without gradients (old and reference
log-probabilities), optimizer passes, and audits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from configs.errors import UsageError
from configs.schema import Architecture, Device, Precision, Price
from evals.cost import (
    ADAPTER,
    BYTES,
    CHECKPOINTED,
    HOUR,
    TRAINING,
    forward_flops,
    kv_bytes,
    peak,
    training_flops,
    weights,
)
from evals.estimate import Estimate, paired_difference
from evals.rollouts import RolloutStore
from evals.runs import load_manifest, load_run, thrown_tokens

End = Literal["cheap", "middle", "dear"]


def between(end: End, cheap: float, dear: float) -> float:
    """One end of a range, or its geometric mean."""
    return {"cheap": cheap, "middle": math.sqrt(cheap * dear), "dear": dear}[end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A number nobody knows before the run: one that makes it cheap, one that makes it dear, and where they are from."""

    what: str
    cheap: float
    dear: float
    why: str

    def at(self, end: End) -> float:
        return between(end, self.cheap, self.dear)


PROMPT_TOKENS = Assumption(
    what="mean prompt, tokens", cheap=100, dear=300, why="a competition problem and its template; fix it with --prompt"
)
COMPLETION_SHARE = Assumption(
    what="mean completion, share of its limit", cheap=0.1, dear=0.5, why="not known before; fix it with --completion"
)
UPDATE_MFU = Assumption(
    what="MFU of passes over whole sequences",
    cheap=0.43,
    dear=0.15,
    why="Llama 3 405B reached 43% at best (arXiv 2407.21783, table 4); the low end is assumed, for small unpacked batches",
)
DECODING = Assumption(
    what="decoding speed, share of the roofline",
    cheap=0.6,
    dear=0.2,
    why="assumed: scheduler, kernels and small batches at the end of a rollout",
)
LAYER = Assumption(
    what="least time of a layer in a decoding step, microseconds",
    cheap=10,
    dear=60,
    why="assumed: kernel launches, with CUDA graphs and without; it decides for small models",
)
WAITING = Assumption(
    what="all time over busy time",
    cheap=1.1,
    dear=2.2,
    why="weight transfer, grading, waiting: static batching wastes up to 54% (Olmo 3, arXiv 2512.13961, section 4.4)",
)
CONCURRENT = 256
"""Sequences that one replica decodes at once, where memory allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How often TRL's GRPO runs over a completion after it is drawn, and at what k."""

    scoring: int
    """Forward passes without gradients: old log-probabilities, and the reference model's when beta is not 0."""
    updates: int
    k: float
    k_hardware: float


def passes(recipe: Mapping[str, Any]) -> Passes:
    """Read from a recipe's own fields what TRL 1.16 does (`_generate_and_score_completions`).

    Old log-probabilities are computed when sampling is by vLLM with importance correction, or when an optimizer step
    falls inside a rollout.
    """
    grpo = recipe["grpo"]
    accumulation = int(grpo.get("gradient_accumulation_steps") or 1)
    iterations = int(grpo.get("num_iterations") or 1)
    every = int(grpo.get("steps_per_generation") or accumulation) * iterations
    corrected = recipe["engine"] == "vllm" and grpo.get("vllm_importance_sampling_correction", True)
    k = ADAPTER if recipe.get("lora") else TRAINING
    return Passes(
        scoring=bool(corrected or accumulation % every) + bool(grpo.get("beta", 0.0)),
        updates=iterations,
        k=k,
        k_hardware=k + (CHECKPOINTED - TRAINING if grpo.get("gradient_checkpointing", True) else 0),
    )


def precision_of(recipe: Mapping[str, Any]) -> Precision:
    """What its matrix products are in."""
    return "bf16" if recipe["grpo"].get("bf16") else "fp16" if recipe["grpo"].get("fp16") else "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Model FLOPs by kind of work. `recomputed` is what checkpointing does twice: time, but no part of MFU."""

    rollout: float
    scoring: float
    update: float
    audit: float
    recomputed: float

    @property
    def total(self) -> float:
        return self.rollout + self.scoring + self.update + self.audit

    def trained_on(self, share: float) -> Work:
        """The work where this share of the tokens that were drawn was trained on."""
        return replace(self, **{name: share * getattr(self, name) for name in ("scoring", "update", "recomputed")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Completions drawn: tokens of prompt and completion by row, each row standing for `each` samples.

    `prefill` is the share of its prompt's pass that a sample bears: 1/n where n samples share one, as engines let them.
    """

    prompt: np.ndarray
    completion: np.ndarray
    prefill: np.ndarray
    each: float = 1

    @classmethod
    def of_means(cls, *, samples: float, sharing: int, prompt: float, completion: float) -> Drawn:
        """All samples as long as the mean one; attention, which grows with the square, comes out a little low."""
        return cls(
            prompt=np.array([prompt]), completion=np.array([completion]), prefill=np.array([1 / sharing]), each=samples
        )

    @classmethod
    def kept(cls, folder: Path) -> Drawn:
        """All rollouts of one folder."""
        return cls.of_parts(RolloutStore(folder).parts())

    @classmethod
    def of_parts(cls, parts: Iterable[Path]) -> Drawn:
        """All rollouts of these parts. Samples of one problem in one part are taken to have shared its prompt's pass."""
        prompt, completion, prefill = [], [], []
        for path in parts:
            table = pq.read_table(path, columns=["problem_id", "prompt_tokens", "completion_tokens"])
            ids = table["problem_id"].combine_chunks().dictionary_encode().indices.to_numpy()
            prompt.append(table["prompt_tokens"].to_numpy())
            completion.append(table["completion_tokens"].to_numpy())
            prefill.append(1 / np.bincount(ids)[ids])
        if not prompt:
            return cls(prompt=np.zeros(0), completion=np.zeros(0), prefill=np.zeros(0))
        return cls(
            prompt=np.concatenate(prompt), completion=np.concatenate(completion), prefill=np.concatenate(prefill)
        )

    @property
    def tokens(self) -> tuple[float, float]:
        """Prompt tokens that were run, and completion tokens."""
        return self.each * float(self.prompt @ self.prefill), self.each * float(self.completion.sum())

    def drawing(self, shape: Architecture) -> float:
        """FLOPs to draw them, prompts shared."""
        whole = self.prompt + self.completion
        alone = forward_flops(shape, whole, start=self.prompt)
        return self.each * float((alone + self.prefill * forward_flops(shape, self.prompt)).sum())

    def training(self, shape: Architecture, k: float) -> float:
        """FLOPs of one pass at k over prompt and completion of every sample; k = 2 is a forward pass."""
        return self.each * float(training_flops(shape, self.prompt + self.completion, k=k).sum())


def grpo_work(shape: Architecture, recipe: Mapping[str, Any], drawn: Drawn, audits: Drawn) -> Work:
    """Model FLOPs of a GRPO run that drew these completions to train on and those to measure by."""
    how = passes(recipe)
    return Work(
        rollout=drawn.drawing(shape),
        scoring=how.scoring * drawn.training(shape, 2),
        update=how.updates * drawn.training(shape, how.k),
        audit=audits.drawing(shape),
        recomputed=how.updates * drawn.training(shape, how.k_hardware - how.k),
    )


# --- before -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A GRPO run to be: counts from its plan, and what is known of lengths (mean tokens, None for the assumed range)."""

    shape: Architecture
    recipe: Mapping[str, Any]
    device: Device
    gpus: int
    rollouts: float
    batches: float
    """How many times the rollouts are drawn, one batch after the other."""
    audit_rollouts: float
    price: Price
    prompt: float | None = None
    completion: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """One end of a plan's range, or its middle. Hours are of one GPU; dollars of all."""

    prompt: float
    completion: float
    work: Work
    gpu_hours: dict[str, float]
    mfu: float
    usd: float

    @property
    def hours(self) -> float:
        return sum(self.gpu_hours.values())


def decoding_seconds(
    shape: Architecture,
    device: Device,
    *,
    gpus: int,
    share: float,
    samples: float,
    prompt: float,
    completion: float,
    layer: float = 0.0,
) -> float:
    """Seconds in which `gpus` GPUs draw `samples` completions in bf16, at the roofline (Williams et al. 2009).

    A replica spans as few GPUs as hold the weights in `share` of their memory; what is left of it holds the KV cache
    and so limits how many sequences run side by side. A step reads the weights and all caches once, or computes one
    token for each, whichever takes longer, and no less than `layer` seconds a layer. Raises UsageError where the weights do not fit.
    """
    memory = share * device.memory_gb * 1e9
    size = weights(shape) * BYTES["bf16"]
    span = 1
    while size > 0.9 * span * memory:
        span *= 2
        if span > gpus:
            raise UsageError(
                f"{size / 1e9:,.0f} GB of weights do not fit in {share:.0%} of {gpus} x {device.name} "
                f"({device.memory_gb:g} GB each); type --gpus {2 ** math.ceil(math.log2(size / 0.9 / memory))}"
            )
    replicas = gpus // span
    each = samples / replicas
    cache = kv_bytes(shape, prompt + completion)
    side_by_side = max(1.0, min(each, CONCURRENT, (span * memory - size) // cache))
    context = prompt + completion / 2
    met = min(1.0, side_by_side * weights(shape, active=True) / weights(shape))  # few tokens leave experts unread
    read = (met * size + side_by_side * kv_bytes(shape, context)) / (span * device.bandwidth_gb_s * 1e9)
    one_token = float(forward_flops(shape, context + 1, start=context))
    compute = side_by_side * one_token / (span * peak(device, "bf16") * 1e12)
    return max(read, compute, shape.layers * layer) * completion * max(1.0, each / side_by_side)


def plan_spending(job: Job) -> tuple[Estimated, Estimated, Estimated]:
    """What a run will take at the cheap end of all assumptions, in their middle, and at the dear end."""
    return _one_end(job, "cheap"), _one_end(job, "middle"), _one_end(job, "dear")


def _one_end(job: Job, end: End) -> Estimated:
    grpo = job.recipe["grpo"]
    prompt = job.prompt or PROMPT_TOKENS.at(end)
    completion = job.completion or COMPLETION_SHARE.at(end) * float(grpo["max_completion_length"])
    sharing = int(grpo["num_generations"])
    drawn = Drawn.of_means(samples=job.rollouts, sharing=sharing, prompt=prompt, completion=completion)
    audits = Drawn.of_means(samples=job.audit_rollouts, sharing=1, prompt=prompt, completion=completion)
    work = grpo_work(job.shape, job.recipe, drawn, audits)
    at_peak = peak(job.device, precision_of(job.recipe)) * 1e12 * HOUR

    def decoding(samples: float) -> float:
        share = float(grpo.get("vllm_gpu_memory_utilization", 0.3))
        seconds = decoding_seconds(
            job.shape,
            job.device,
            gpus=job.gpus,
            share=share,
            samples=samples,
            prompt=prompt,
            completion=completion,
            layer=LAYER.at(end) * 1e-6 * DECODING.at(end),  # a floor is not slower for a poor scheduler
        )
        return seconds * job.gpus / HOUR / DECODING.at(end)

    busy = {
        "drawing": job.batches * decoding(job.rollouts / job.batches),
        "scoring": work.scoring / at_peak / UPDATE_MFU.at(end),
        "updates": (work.update + work.recomputed) / at_peak / UPDATE_MFU.at(end),
        "audits": decoding(job.audit_rollouts),
    }
    hours = {**busy, "waiting": (WAITING.at(end) - 1) * sum(busy.values())}
    total = sum(hours.values())
    return Estimated(
        prompt=prompt,
        completion=completion,
        work=work,
        gpu_hours=hours,
        mfu=work.total / at_peak / total,
        usd=total * between(end, job.price.low, job.price.high),
    )


# --- after --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a run used. `gpus` is how many devices were held for `seconds`, which are 0 until a run is closed.

    `gain` is in [-1, 1], None for a run that is not finished training.
    """

    run: str
    status: str
    precision: Precision
    gpus: int
    gpu_names: tuple[str, ...]
    seconds: float
    split: dict[str, float]
    trained: Drawn
    audited: Drawn
    work: Work
    gain: Estimate | None

    @property
    def gpu_hours(self) -> float:
        return self.gpus * self.seconds / HOUR

    def mfu(self, peak_tflops: float) -> dict[str, float]:
        """Shares of the peak: over all time, and in each phase whose time is known apart.

        Where vLLM draws inside the trainer's step, drawing and updates are one phase.
        """
        work, drawing = self.work, self.work.rollout
        flops = {"update": work.scoring + work.update, "audit": work.audit}
        if self.split.get("rollout"):
            flops["rollout"] = drawing
        else:
            flops["update"] += drawing
        seconds = {"all": self.seconds, **self.split}
        done = {"all": work.total, **flops}
        known = [phase for phase in done if seconds.get(phase)]
        return {phase: done[phase] / (self.gpus * peak_tflops * 1e12 * seconds[phase]) for phase in known}


class _Kept(BaseModel):
    """The part of a manifest that an account needs. What else it says is ignored."""

    settings: dict[str, Any]
    hardware: dict[str, Any]
    seconds: float
    split: dict[str, float]


def account(folder: Path, shape: Architecture) -> Account:
    """Read a run of any status: its kept rollouts are what it drew. Raises UsageError where there is none."""
    about = load_manifest(folder)
    try:
        manifest = _Kept.model_validate_json((folder / "manifest.json").read_text(encoding="utf-8"))
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(f"{folder}/manifest.json is not whole ({field}); name another run") from error
    kept = folder / "rollouts"
    training = about.kind == "grpo"
    audits = [Drawn.kept(path) for path in sorted(kept.glob("*/")) if path.name != "train"] if training else []
    audited = _joined(audits) if training else Drawn.kept(kept)
    trained = Drawn.kept(kept / "train")
    if not trained.prompt.size and not audited.prompt.size:
        raise UsageError(f"{folder} holds no rollouts, so there is nothing to account for; name another run")
    recipe = manifest.settings["recipe"] if training else {"engine": "transformers", "grpo": {}}
    names = tuple(manifest.hardware.get("gpus", ()))
    tokens = float(trained.prompt.sum() + trained.completion.sum())
    used = 1 - thrown_tokens(folder) / tokens if tokens else 1.0
    return Account(
        run=about.run,
        status=about.status,
        precision=precision_of(recipe) if training or not names else "bf16",  # an audit runs in what the weights are in
        gpus=len(names) or int(manifest.settings.get("processes", 1)),
        gpu_names=names,
        seconds=manifest.seconds,
        split=manifest.split,
        trained=trained,
        audited=audited,
        work=grpo_work(shape, recipe, trained, audited).trained_on(used),
        gain=_gain(folder) if training and about.status == "finished" else None,
    )


def _joined(parts: list[Drawn]) -> Drawn:
    empty = [np.zeros(0)]
    return Drawn(
        prompt=np.concatenate(empty + [part.prompt for part in parts]),
        completion=np.concatenate(empty + [part.completion for part in parts]),
        prefill=np.concatenate(empty + [part.prefill for part in parts]),
    )


def _gain(folder: Path) -> Estimate:
    """Pass@1 after less before on the held-out problems, paired by problem."""
    run = load_run(folder)
    before, after = (audit.correct / audit.samples for audit in (run.start, run.end))
    return paired_difference(before, after, same=run.start.questions)


def usd_per_point(usd: Price, gain: Estimate) -> tuple[float, float] | None:
    """Dollars for one point (0.01) of pass@1, from the cheapest money and largest gain to the dearest and smallest.

    None when the gain's interval holds zero: nothing was certainly bought, so it has no price.

    >>> usd_per_point(Price(low=10, high=20), Estimate(value=0.2, low=0.1, high=0.4, n=128))
    (0.25, 2.0)
    """
    if gain.low <= 0:
        return None
    return usd.low / (100 * gain.high), usd.high / (100 * gain.low)
