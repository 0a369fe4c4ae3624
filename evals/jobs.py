"""Jobs that wait for one another, started through a launcher; what each has made on disk says how far it is.

Nothing is believed of a process but that it ended: a job has succeeded when everything it makes is whole.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal, Protocol

from evals.manifest import only_one, write_json
from evals.runs import load_manifest

PROMPT = "$ "
ERROR = re.compile(r"^(?:error|[\w.]*(?:Error|Exception)): .*$", re.MULTILINE)
"""What our scripts say to the user, or the end of a traceback."""

State = Literal["missing", "running", "unfinished", "failed", "finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One script in a process of its own; starts when the jobs it `needs` (by name) have succeeded.

    `command` is what comes after the interpreter. `makes` are run folders or a model folder.
    A `resumes` job is given --resume once its folder holds a manifest.
    """

    name: str
    command: tuple[str, ...]
    makes: tuple[Path, ...]
    log: Path
    needs: tuple[str, ...] = ()
    resumes: bool = False

    @property
    def whole(self) -> bool:
        return all(whole(folder) for folder in self.makes)

    def arguments(self) -> list[str]:
        """The command as it must be typed now: whether there is something to resume is known at the start only."""
        held = self.resumes and any((folder / "manifest.json").is_file() for folder in self.makes)
        return [*self.command, *(["--resume"] if held else [])]

    def open_log(self, arguments: Sequence[str]) -> IO[bytes]:
        """The log, to add to; each attempt begins with its command."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        log = self.log.open("ab")
        log.write(f"\n{PROMPT}{shlex.join(['python', *arguments])}\n".encode())
        log.flush()
        return log

    def failure(self) -> str | None:
        """None when all it makes is whole; else the last error of its last attempt, or what is not finished."""
        missing = [folder.name for folder in self.makes if not whole(folder)]
        if not missing:
            return None
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        errors = ERROR.findall(text.rpartition(f"\n{PROMPT}")[2])
        return errors[-1] if errors else f"it ended without finishing {', '.join(missing)}"


def whole(folder: Path) -> bool:
    """Whether a run is finished, or a model folder (which is renamed into place whole) there."""
    if (folder / "manifest.json").is_file():
        return load_manifest(folder).status == "finished"
    return (folder / "config.json").is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was last started for a job. `id` is a process or a Slurm job, `created` the process's birth.

    `began` is in seconds since the epoch. `ended` is set when its end was seen.
    """

    launcher: str
    id: str
    created: float | None
    began: float
    ended: bool = False


class Running(Protocol):
    """A job that was started, perhaps by an earlier study."""

    record: Record

    def ended(self) -> bool: ...

    def leave(self) -> None:
        """The study is interrupted: a process on this machine ends, a job in Slurm's queue goes on."""


class Launcher(Protocol):
    def start(self, job: Job) -> Running: ...


class Records:
    """A file for each job that was started, so that a study that was killed finds its jobs again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, job: Job) -> Path:
        return self.folder / f"{job.log.stem}.json"

    def read(self, job: Job) -> Record | None:
        path = self.path(job)
        return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def write(self, job: Job, record: Record) -> None:
        write_json(self.path(job), asdict(record))

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Hold this folder; it is let go of when the process ends, however it ends. Raises UsageError when it is held."""
        busy = f"another study is at work in {self.folder.parent}; wait for it, or choose another --out"
        with only_one(self.folder, busy):
            yield


def state_of(job: Job, record: Record | None, *, alive: bool) -> State:
    """How far a job is, from what lies on disk and whether what was started for it still runs."""
    if alive:
        return "running"
    if job.whole:
        return "finished"
    manifests = [load_manifest(folder) for folder in job.makes if (folder / "manifest.json").is_file()]
    if (record and record.ended) or any(manifest.status == "failed" for manifest in manifests):
        return "failed"
    return "unfinished" if manifests else "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that is over: why it failed, or None. `seconds` are since its start, or since it was put in the queue."""

    job: Job
    failure: str | None
    seconds: float


def run_jobs(
    jobs: Sequence[Job],
    launcher: Launcher,
    *,
    slots: int,
    records: Records,
    alive: Mapping[str, Running],
    tick: Callable[[list[Job]], None],
    wait: float = 0.2,
) -> Iterator[Ended]:
    """Run jobs in order of the list, `slots` at a time; yields each as it ends, `tick` sees those that run.

    Those of `alive` (by name) run already and are waited for, not started again. A job whose need failed fails
    without being started; all others go on.
    """
    waiting = [job for job in jobs if job.name not in alive]
    running = [(job, alive[job.name]) for job in jobs if job.name in alive]
    failed: set[str] = set()
    try:
        while waiting or running:
            for job in list(waiting):
                if lost := sorted(failed & set(job.needs)):
                    waiting.remove(job)
                    failed.add(job.name)
                    yield Ended(job=job, failure=f"it needs {lost[0]}, which failed", seconds=0.0)
                    continue
                open_needs = {one.name for one in waiting} | {one.name for one, _ in running}
                if len(running) < slots and not open_needs & set(job.needs):
                    waiting.remove(job)
                    running.append((job, launcher.start(job)))
                    records.write(job, running[-1][1].record)
            for job, process in list(running):
                if not process.ended():
                    continue
                running.remove((job, process))
                record = process.record
                records.write(job, replace(record, ended=True))
                if failure := job.failure():
                    failed.add(job.name)
                yield Ended(job=job, failure=failure, seconds=time.time() - record.began)
            tick([job for job, _ in running])
            if running:
                time.sleep(wait)
    finally:
        for _, process in running:
            process.leave()
