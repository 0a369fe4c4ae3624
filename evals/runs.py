"""Run folders read back: what a finished training run, or a lone audit, left on disk.

Reads files only; nothing here knows how they were made. Keys a reader does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from configs.errors import UsageError
from configs.schema import Reading
from evals.arms import labels
from evals.estimate import Estimate
from evals.rollouts import RolloutStore

BASELINES = ("few-shot", "vote", "sft", "rejection")
"""Kinds of runs that stand beside RL in a comparison."""


THROWN = "resampled/thrown_tokens"
"""What a step's row of metrics.jsonl calls the tokens that were drawn for it and not trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRef:
    """A problem set by name, and by the fingerprint of the problems actually used."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions were drawn. `max_tokens` counts completion tokens."""

    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCount:
    """One audited problem: samples drawn, and how many were right by the audit's `reading` and by the lenient one.

    Problems that ask the same share the fingerprint `question`; audits written before it was kept have none.
    """

    id: str
    samples: int
    correct: int
    lenient: int
    question: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAtK:
    read: dict[int, Estimate]
    lenient: dict[int, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAudit:
    """What one audit measured. Rates are in [0, 1]; `forecast` is the informative-group share by group size."""

    base: str
    step: int
    suite: SuiteRef
    template: str
    reading: Reading
    sampling: Sampling
    verifier: str
    pass_at_k: PassAtK
    maj_at_k: dict[int, Estimate]
    status: dict[str, int]
    stop_rate: Estimate
    truncation_rate: Estimate
    answer_rate: Estimate
    completion_tokens: dict[str, float]
    forecast: dict[int, Estimate]
    problems: tuple[ProblemCount, ...]
    behaviours: dict[str, Estimate] = field(default_factory=dict)
    mean_token_logprob: Estimate | None = None
    """None where a server sent no log-probabilities, and in audits written before it was kept."""
    mean_completion_tokens: Estimate | None = None

    @property
    def by_id(self) -> list[ProblemCount]:
        """The problems in the order of their ids, in which all audits of one suite pair up."""
        return sorted(self.problems, key=lambda each: each.id)

    @property
    def correct(self) -> np.ndarray:
        """Right samples of each problem, in the order of `by_id`, under the audit's own reading."""
        return np.array([each.correct for each in self.by_id])

    @property
    def samples(self) -> np.ndarray:
        return np.array([each.samples for each in self.by_id])

    @property
    def questions(self) -> list[str]:
        """What each problem asks, in the order of `by_id`: `same` of `evals.estimate`. Its own id where none was kept."""
        return [each.question or each.id for each in self.by_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Pass@1 on held-out problems after `step` optimizer steps."""

    step: int
    pass_at_1: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What every run folder says of itself."""

    run: str
    kind: str
    status: str
    """`finished`, or why not: `running`, `interrupted`, `failed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoManifest(Manifest):
    """A training run's settings. `seconds` is wall time, `split` the part of it spent in each phase."""

    base: str
    recipe: str
    seed: int
    template: str
    suite: SuiteRef
    train_suite: SuiteRef
    sampling: Sampling
    verifier: str
    control_of: str | None = None
    """The recipe whose reward was replaced, if this run is a control."""
    sampler: str = "uniform"
    """Which problems were asked: as they come, or those that teach."""
    group_size: int
    groups_per_step: int
    seconds: float
    split: dict[str, float]
    hardware: dict[str, Any] = field(default_factory=dict)
    """`gpus` names each device that was held, as its driver calls it; none on a CPU."""
    settings: dict[str, Any] = field(default_factory=dict)
    """All that was chosen, the whole recipe among it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Tokens a method used, audits aside: of completions drawn, and those the optimizer read, prompts included."""

    sampled_tokens: int
    training_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineManifest(Manifest):
    """What RL is held against; `kind` says what was done instead of it (`scripts/baseline.py` makes them)."""

    base: str
    seed: int
    seconds: float
    budget: Budget
    gain: Estimate
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A finished baseline. The end of a vote is one elected answer a problem, that of few-shot has another template."""

    folder: Path
    manifest: BaselineManifest
    start: SavedAudit
    end: SavedAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished GRPO run: its audits before and after on held-out problems, and before on training problems."""

    folder: Path
    manifest: GrpoManifest
    start: SavedAudit
    end: SavedAudit
    signal: SavedAudit
    heldout: tuple[HeldOut, ...]
    metrics: tuple[dict[str, Any], ...]
    """TRL's rows, one per optimizer step, under TRL's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A run left out of a comparison, and the status that is the reason."""

    name: str
    status: str


def load_run(folder: Path) -> Run:
    """One finished GRPO run. Another kind, another status, or a missing or malformed file is a UsageError."""
    about = load_manifest(folder)
    if about.kind != "grpo":
        raise UsageError(f"{folder} holds a run of kind {about.kind!r}; name a folder of a training run (kind 'grpo')")
    if about.status != "finished":
        raise UsageError(f"{folder} is {about.status}; finish it with scripts/grpo.py --resume, or leave it out")
    run = Run(
        folder=folder,
        manifest=_read(GrpoManifest, folder / "manifest.json"),
        start=_read(SavedAudit, folder / "audit-start.json"),
        end=_read(SavedAudit, folder / "audit-end.json"),
        signal=_read(SavedAudit, folder / "audit-signal.json"),
        heldout=tuple(_read_lines(HeldOut, folder / "heldout.jsonl")),
        metrics=tuple(_read_lines(dict[str, Any], folder / "metrics.jsonl")),
    )
    _refuse_differences(_protocol(run.start), f"{about.run} (start)", _protocol(run.end), f"{about.run} (end)")
    # the forecast speaks of training, so its audit must have asked as training did
    _refuse_differences(_asking(run.manifest), f"{about.run} (training)", _asking(run.signal), f"{about.run} (signal)")
    return run


def load_runs(folders: Sequence[Path]) -> tuple[list[Run], list[Unfinished]]:
    """All finished runs, in the order given, and those left out because they are running, interrupted or failed.

    No finished run at all, the same run twice, or runs that cannot be laid over one another: a UsageError.
    """
    abouts = [load_manifest(folder) for folder in folders]
    unfinished = [Unfinished(name=about.run, status=about.status) for about in abouts if about.status != "finished"]
    runs = [load_run(folder) for folder, about in zip(folders, abouts, strict=True) if about.status == "finished"]
    if not runs:
        listed = ", ".join(f"{each.name} is {each.status}" for each in unfinished)
        raise UsageError(f"no finished run to compare: {listed or 'no run given'}")
    check_comparable(runs)
    return runs, unfinished


def load_baselines(folders: Sequence[Path], beside: Run) -> tuple[list[Baseline], list[Unfinished]]:
    """Finished baselines that were measured as `beside` was, of any base, and those left out because they are not finished.

    Raises UsageError for one that was measured otherwise, naming the field.
    """
    loaded, unfinished = [], []
    for folder in folders:
        about = load_manifest(folder)
        if about.status != "finished":
            unfinished.append(Unfinished(name=about.run, status=about.status))
            continue
        one = load_baseline(folder)
        protocol, name = _protocol(beside.start), beside.manifest.run
        _refuse_differences(protocol, name, _protocol(one.start), one.manifest.run)
        if one.manifest.kind == "few-shot":  # the examples are its template
            del protocol["template"]
        _refuse_differences(protocol, name, _protocol(one.end), f"{one.manifest.run} (end)")
        loaded.append(one)
    return loaded, unfinished


def load_baseline(folder: Path) -> Baseline:
    """One finished baseline. A missing or malformed file is a UsageError."""
    return Baseline(
        folder=folder,
        manifest=_read(BaselineManifest, folder / "manifest.json"),
        start=_read(SavedAudit, folder / "audit-start.json"),
        end=_read(SavedAudit, folder / "audit-end.json"),
    )


def spent(folder: Path) -> Budget | None:
    """What a GRPO run used, from its kept training rollouts; None where none are kept."""
    drawn = tokens_by_step(folder)
    if not drawn:
        return None
    prompt, completion = (sum(tokens) for tokens in zip(*drawn.values(), strict=True))
    times = iterations(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["settings"])
    return Budget(sampled_tokens=completion, training_tokens=times * (prompt + completion - thrown_tokens(folder)))


def iterations(settings: Mapping[str, Any]) -> int:
    """How often the optimizer reads each rollout, by a GRPO run's settings."""
    return int(settings.get("recipe", {}).get("grpo", {}).get("num_iterations") or 1)


def thrown_tokens(folder: Path) -> int:
    """Tokens, prompts included, that `sampler: resample` drew and did not train on, by the run's metrics."""
    path = folder / "metrics.jsonl"
    rows = _read_lines(dict[str, Any], path) if path.is_file() else ()
    return round(sum(row.get(THROWN, 0) for row in rows))


def tokens_by_step(folder: Path) -> dict[int, tuple[int, int]]:
    """Tokens of prompts and of completions that were drawn for each optimizer step, from the kept training rollouts."""
    sums: dict[int, tuple[int, int]] = {}
    for batch in RolloutStore(folder / "rollouts" / "train").batches(["step", "prompt_tokens", "completion_tokens"]):
        steps, place = np.unique(batch["step"].to_numpy(), return_inverse=True)
        columns = [np.bincount(place, batch[name].to_numpy()) for name in ("prompt_tokens", "completion_tokens")]
        for step, prompt, completion in zip(steps, *columns, strict=True):
            before = sums.get(int(step), (0, 0))
            sums[int(step)] = before[0] + int(prompt), before[1] + int(completion)
    return sums


def load_audit(folder: Path) -> SavedAudit:
    """The audit of a standalone audit folder (`scripts/audit.py` makes one)."""
    about = load_manifest(folder)
    if about.kind != "audit":
        raise UsageError(f"{folder} holds a run of kind {about.kind!r}, not an audit; name an audit's folder")
    return _read(SavedAudit, folder / "audit.json")


def load_manifest(folder: Path) -> Manifest:
    """What every run folder says first: its name, kind and status."""
    if not (folder / "manifest.json").is_file():
        inside = sorted(path.parent for path in folder.glob("*/manifest.json"))
        hint = f"; the runs are inside, type {folder}/*" if inside else ""
        raise UsageError(f"{folder} is not a run folder (it has no manifest.json){hint}")
    return _read(Manifest, folder / "manifest.json")


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs that were measured differently, naming the field and the two runs."""
    label = labels(runs)
    seen: dict[tuple[str, int], Run] = {}
    firsts: dict[str, Run] = {}
    for run in runs:
        _refuse_differences(_protocol(runs[0].start), runs[0].manifest.run, _protocol(run.start), run.manifest.run)
        twin = seen.setdefault((label(run), run.manifest.seed), run)
        if twin is not run:
            raise UsageError(
                f"{twin.folder} and {run.folder} are both seed {run.manifest.seed} of {run.manifest.base} "
                f"under {run.manifest.recipe}; name one of them"
            )
        first = firsts.setdefault(label(run), run)
        for name in ("group_size", "groups_per_step"):
            mine, theirs = getattr(first.manifest, name), getattr(run.manifest, name)
            _refuse_differences({name: mine}, first.manifest.run, {name: theirs}, run.manifest.run)


def _asking(record: SavedAudit | GrpoManifest) -> dict[str, object]:
    return {
        "template": record.template,
        "sampling.temperature": record.sampling.temperature,
        "sampling.top_p": record.sampling.top_p,
        "sampling.max_tokens": record.sampling.max_tokens,
        "verifier": record.verifier,
    }


def _protocol(audit: SavedAudit) -> dict[str, object]:
    """All that must agree before two scores may stand side by side."""
    return {
        "suite.name": audit.suite.name,
        "suite.fingerprint": audit.suite.fingerprint,
        **_asking(audit),
        "reading": audit.reading,
        "problems": sorted(each.id for each in audit.problems),
    }


def _refuse_differences(mine: dict[str, object], my_name: str, theirs: dict[str, object], their_name: str) -> None:
    for name, value in mine.items():
        if theirs[name] != value:
            told = "" if isinstance(value, list) else f" ({value!r} and {theirs[name]!r})"
            raise UsageError(
                f"{my_name} and {their_name} differ in {name}{told}: their scores cannot be compared; "
                "compare runs that agree, or measure one of them again"
            )


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _read(kind: Any, path: Path) -> Any:
    return _parse(kind, _text(path), str(path))


def _read_lines(kind: Any, path: Path) -> list[Any]:
    lines = [line for line in _text(path).splitlines() if line.strip()]
    return [_parse(kind, line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _text(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"{path.parent} has no {path.name}: the run is incomplete; run it again, or leave it out")
    return path.read_text(encoding="utf-8")


def _parse(kind: Any, text: str, where: str) -> Any:
    """JSON text as `kind`. Goes through json.loads, which also takes the NaN that TRL may log."""
    try:
        return _adapter(kind).validate_python(json.loads(text))
    except json.JSONDecodeError as error:
        raise UsageError(f"{where} is not JSON ({error.msg})") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {field}: {first['msg'].lower()}") from error
