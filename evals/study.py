"""A study file as jobs: bases by recipes, controls and seeds to train; bases by suites and templates to measure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from configs.errors import UsageError
from configs.load import load_base, names
from configs.schema import AuditGrid, Study
from evals.jobs import Job, whole

WATCHED = ("--recipe", "--set", "--control", "--seed", "--samples", "--limit", "--max-tokens", "--engine", "--shots")
"""Flags a study sets that change what a run is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One audit of a study: a base, a suite, a template, and where it is kept."""

    base: str
    suite: str
    template: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Where things are: the study's folder, the scripts, and a tiny base by name and seed.

    With several `gpus` a training run is started by accelerate, a process for each.
    """

    out: Path
    scripts: Path
    tiny_folder: Callable[[str, int], Path]
    gpus: int = 0

    def plan(self, study: Study, seeds: Sequence[int]) -> list[Job]:
        """All jobs of a study, finished ones too, in an order in which each comes after what it needs."""
        jobs = [job for seed in seeds for job in self._training(study, seed)] + list(self._audits(study))
        used = {name for job in jobs if not job.whole for name in job.needs}
        wanted = [(base, seed) for seed in seeds for base in study.bases]
        wanted += [(base, study.audits.seed) for base in study.bases] if study.audits else []
        return [*self._pretraining([each for each in dict.fromkeys(wanted) if _pretrain(*each) in used]), *jobs]

    def runs(self, study: Study, seeds: Sequence[int]) -> list[Path]:
        """Folders of all training runs, each control after what it controls."""
        arms = product(seeds, study.bases, study.recipes, [None, *study.controls])
        return [self._run(base, recipe, control, seed) for seed, base, recipe, control in arms]

    def cells(self, study: Study) -> list[Cell]:
        """All audits, base by base and suite by suite."""
        if study.audits is None:
            return []
        return [
            Cell(base=base, suite=suite, template=template, folder=self._audit(base, suite, template, study.audits))
            for base, suite, template in product(study.bases, study.audits.suites, study.audits.templates)
        ]

    def _pretraining(self, wanted: Sequence[tuple[str, int]]) -> Iterator[Job]:
        """Tiny bases that share a trunk wait for the first, which makes it."""
        trunk_of: dict[tuple[float, int], str] = {}
        for base, seed in wanted:
            corpus, folder, name = load_base(base).corpus, self.tiny_folder(base, seed), _pretrain(base, seed)
            assert corpus is not None
            first = name if folder.is_dir() else trunk_of.setdefault((corpus.knowledge, seed), name)
            yield Job(
                name=name,
                command=(str(self.scripts / "pretrain.py"), "--base", base, "--seed", str(seed)),
                makes=(folder,),
                needs=() if first == name else (first,),
                log=self._log(name),
            )

    def _training(self, study: Study, seed: int) -> Iterator[Job]:
        launch = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(self.gpus))
        for base, recipe, control in product(study.bases, study.recipes, [None, *study.controls]):
            folder = self._run(base, recipe, control, seed)
            name = f"grpo {folder.name.removesuffix(f'-s{seed}')} s{seed}"
            reward = ("--control", control) if control else ()
            yield Job(
                name=name,
                command=(
                    *(launch if self.gpus > 1 else ()),
                    *(str(self.scripts / "grpo.py"), "--base", base, "--recipe", recipe),
                    *(*reward, "--seed", str(seed), "--out", str(folder)),
                ),
                makes=(folder,),
                needs=_needs(base, seed),
                log=self._log(name),
                resumes=True,
            )

    def _audits(self, study: Study) -> Iterator[Job]:
        """One for a base and a suite: its templates share one load of the weights, and only missing ones are asked."""
        if (grid := study.audits) is None:
            return
        options = {
            "--samples": grid.samples,
            "--limit": grid.limit,
            "--max-tokens": grid.max_tokens,
            "--engine": grid.engine,
            "--shots": grid.shots or None,
        }
        flags = [str(word) for flag, value in options.items() if value is not None for word in (flag, value)]
        for base, suite in product(study.bases, grid.suites):
            folders = {template: self._audit(base, suite, template, grid) for template in grid.templates}
            missing = {name: folder for name, folder in folders.items() if not whole(folder)} or folders
            first = next(iter(missing.values()))
            name = f"audit {slug(base)} {slug(suite)}"
            yield Job(
                name=name,
                command=(
                    *(str(self.scripts / "audit.py"), "--base", base, "--suite", suite),
                    *("--template", ",".join(missing), *flags, "--seed", str(grid.seed)),
                    *("--out", str(first if len(missing) == 1 else first.parent)),
                ),
                makes=tuple(folders.values()),
                needs=_needs(base, grid.seed),
                log=self._log(name),
            )

    def _run(self, base: str, recipe: str, control: str | None, seed: int) -> Path:
        """Named by base and seed; by the recipe too where it is not the base's own, and by the control."""
        own = load_base(base).recipe if base in names("bases") else None
        parts = [slug(base), *([recipe] if recipe != own else []), *([control] if control else []), f"s{seed}"]
        return self.out / "-".join(parts)

    def _audit(self, base: str, suite: str, template: str, grid: AuditGrid) -> Path:
        asked = f"{template}+{grid.shots}shot" if grid.shots else template  # as evals/fewshot.py names it
        return self.out / "audits" / slug(base) / slug(suite) / asked

    def _log(self, name: str) -> Path:
        return self.out / "logs" / f"{name.replace(' ', '-')}.log"


def _pretrain(base: str, seed: int) -> str:
    return f"pretrain {base} s{seed}"


def _needs(base: str, seed: int) -> tuple[str, ...]:
    return (_pretrain(base, seed),) if base in names("bases") and load_base(base).corpus else ()


def slug(name: str) -> str:
    """A base or suite as part of a file's name; paths and hub ids lose their slashes.

    >>> slug("runs/mine/model")
    'runs--mine--model'
    """
    return re.sub(r"[^\w.+-]", "-", name.strip("./").replace("/", "--"))


def refuse_other_settings(job: Job) -> None:
    """Raise UsageError when a folder holds a run that was asked for with other flags than the study now says.

    Without this an edited study would take yesterday's numbers for today's.
    """
    now = _flags(job.command)
    for folder in job.makes:
        path = folder / "manifest.json"
        command = json.loads(path.read_text(encoding="utf-8")).get("command") if path.is_file() else None
        if command is None:
            continue
        before = _flags(command.split())
        if before != now:
            raise UsageError(
                f"{folder} was made with {_told(before - now)}, and the study now says {_told(now - before)}; "
                "choose another --out, or remove that folder"
            )


def _flags(words: Sequence[str]) -> set[tuple[str, str]]:
    return {(flag, value) for flag, value in pairwise(words) if flag in WATCHED}


def _told(flags: set[tuple[str, str]]) -> str:
    return " ".join(f"{flag} {value}" for flag, value in sorted(flags)) or "nothing of the kind"
