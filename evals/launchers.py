"""Where the jobs of a study run: processes of this machine, or Slurm through submitit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from configs.errors import UsageError
from configs.schema import Slurm
from evals.jobs import Job, Record, Running

if TYPE_CHECKING:
    import submitit

ASK_EVERY = 15.0
"""Seconds between two looks into Slurm's queue."""

TIMES = 20
"""How often a job that is out of time goes on by itself: one that never gets to its next checkpoint must end."""

PATIENCE = 5.0
"""Seconds that a process has to end by itself before it is killed."""


class Process:
    """A process of this machine, perhaps one that an earlier study started."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def ended(self) -> bool:
        return self._process() is None

    def leave(self) -> None:
        """End it and all below it: what it has on disk is whole, and goes on when the study does."""
        if (process := self._process()) is None:
            return
        family = [process, *process.children(recursive=True)]
        for one in family:
            _quietly(one.terminate)
        for one in psutil.wait_procs(family, timeout=PATIENCE)[1]:
            _quietly(one.kill)

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(int(self.record.id))
            same = process.create_time() == self.record.created
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def _quietly(act: Any) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return


def _record(launcher: str, pid: int) -> Record:
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # over already
        created = None
    return Record(launcher=launcher, id=str(pid), created=created, began=time.time())


class LocalLauncher:
    """Processes side by side on this machine."""

    def start(self, job: Job) -> Running:
        """One thread each: a tiny model gains nothing from a second, and two busy pairs slow one another."""
        arguments = job.arguments()
        with job.open_log(arguments) as log:
            started = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        return _Child(_record("local", started.pid), started)


class _Child(Process):
    """A process of our own, which must be reaped."""

    def __init__(self, record: Record, started: subprocess.Popen[bytes]) -> None:
        super().__init__(record)
        self.started = started

    def ended(self) -> bool:
        return self.started.poll() is not None


@dataclass(frozen=True, slots=True)
class Task:
    """A job as submitit sends it to a node; what it prints is added to the job's log."""

    job: Job

    def __call__(self) -> None:
        """Run it there. Raises RuntimeError when it ends without having made what it makes."""
        arguments = self.job.arguments()
        with self.job.open_log(arguments) as log:
            # Slurm warns every process of a job; the warning is for submitit, and would end the script
            command = [sys.executable, *arguments]
            subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_unwarned)
        if failure := self.job.failure():
            raise RuntimeError(f"{self.job.name}: {failure}")

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Warned of the end of its time or of preemption: the same again, which goes on from what is on disk."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _unwarned() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


class Queue:
    """This user's jobs in Slurm, asked for all at once and seldom: squeue answers on clusters without accounting too."""

    def __init__(self) -> None:
        self.asked = float("-inf")
        self.known: frozenset[str] | None = None

    def look(self) -> tuple[float, frozenset[str] | None]:
        """When squeue last answered, and the ids it knew; None when it did not, as when Slurm's controller restarts."""
        if time.monotonic() - self.asked > ASK_EVERY:
            done = subprocess.run(["squeue", "--me", "--noheader", "--format=%A"], capture_output=True, text=True)
            self.asked, self.known = time.monotonic(), None if done.returncode else frozenset(done.stdout.split())
        return self.asked, self.known


QUEUE = Queue()


class InQueue:
    """A job that Slurm has; it outlives the study that submitted it."""

    def __init__(self, record: Record, folder: Path) -> None:
        from submitit.core.utils import JobPaths

        self.record = record
        self.result = JobPaths(folder, job_id=record.id, task_id=0).result_pickle
        self.since = time.monotonic()
        self.missed: float | None = None

    def ended(self) -> bool:
        """submitit's file says so at once. A job that was killed leaves none: two looks in turn don't find it.

        Two, since what another machine wrote last may be seen late on a shared disk.
        """
        if self.result.exists():
            return True
        asked, known = QUEUE.look()
        if asked < self.since or known is None:
            return False
        if self.record.id in known:
            self.missed = None
            return False
        self.missed = self.missed or asked
        return asked > self.missed

    def leave(self) -> None:
        print(f"job {self.record.id} stays in Slurm's queue; to end it: scancel {self.record.id}", file=sys.stderr)


class SubmititLauncher:
    """Jobs sent to Slurm; or, with `cluster` local, run by submitit on this machine as it would run them there."""

    def __init__(self, cluster: Literal["slurm", "local"], folder: Path, asks: Slurm) -> None:
        import submitit

        if cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
            raise UsageError(
                "there is no Slurm here (no srun and sbatch); type this on a login node, or try --launcher submitit-local"
            )
        self.cluster, self.folder = cluster, folder
        self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=TIMES)
        self.executor.update_parameters(
            timeout_min=max(1, round(asks.hours * 60)),
            gpus_per_node=asks.gpus,
            **given(cpus_per_task=asks.cpus, mem_gb=asks.memory_gb),
            **given(slurm_partition=asks.partition, slurm_account=asks.account),
        )

    def start(self, job: Job) -> Running:
        """Raises UsageError with sbatch's own words when it refuses."""
        from submitit.core.utils import FailedJobError

        self.executor.update_parameters(name=re.sub(r"\W+", "-", job.name))
        try:
            submitted = self.executor.submit(Task(job))
        except FailedJobError as error:
            raise UsageError(f"sbatch refused {job.name}: {error}") from error
        if self.cluster == "local":
            return _Controller(_record("submitit-local", int(submitted.job_id)), submitted)
        record = Record(launcher="slurm", id=submitted.job_id, created=None, began=time.time())
        return InQueue(record, self.folder)


class _Controller(Process):
    """submitit's own process for one job, a child of ours."""

    def __init__(self, record: Record, submitted: submitit.Job[None]) -> None:
        super().__init__(record)
        self.submitted = submitted

    def ended(self) -> bool:
        return self.submitted.done()


def given(**options: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def find(record: Record, folder: Path) -> Running | None:
    """What an earlier study started and is still at work; None when it is over.

    Raises UsageError for a job of Slurm where Slurm cannot be asked.
    """
    if record.ended:
        return None
    if record.launcher != "slurm":
        process = Process(record)
        return None if process.ended() else process
    if not shutil.which("squeue"):
        raise UsageError(f"job {record.id} was given to Slurm, which cannot be asked here (no squeue); type this there")
    queued = InQueue(record, folder)
    known = QUEUE.look()[1]
    over = queued.result.exists() or (known is not None and record.id not in known)
    return None if over else queued
