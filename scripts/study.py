"""Run a study: pretrain its tiny bases, train every base with every seed, side by side, and compare them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from configs.cli import run
from configs.errors import UsageError
from configs.load import load_base, load_study

HERE = Path(__file__).parent
REPORT_EVERY = 15.0


@dataclass(kw_only=True)
class Job:
    """One script in a process of its own; starts when the jobs it `needs` have succeeded."""

    name: str
    command: list[str]
    needs: list[str]
    log: Path
    progress: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    seconds: float = 0.0
    failed: bool = False
    done: bool = False

    def start(self) -> None:
        """One thread each: a tiny model gains nothing from a second, and two busy pairs slow one another."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.began = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def poll(self) -> bool:
        """True once, when the process has just ended."""
        if self.process is None or self.done or self.process.poll() is None:
            return False
        self.done, self.failed = True, self.process.returncode != 0
        self.seconds = time.perf_counter() - self.began
        return True

    def state(self) -> str:
        """How far a running job is, from the metrics it has written."""
        if self.progress is None or not self.progress.is_file():
            return self.name
        lines = self.progress.read_text(encoding="utf-8").splitlines()
        row = json.loads(lines[-1]) if lines and lines[-1].endswith("}") else None
        return f"{self.name} step {row['step']} reward {row['reward']:.2f}" if row else self.name


def plan_jobs(bases: list[str], recipe: str, seeds: list[int], out: Path) -> list[Job]:
    """What is not finished yet: pretraining, bases that share a trunk after the first has made it; then training."""
    jobs: list[Job] = []
    for seed in seeds:
        trunk_of: dict[float, str] = {}
        for base in bases:
            folder = out / f"{base}-s{seed}"
            if finished(folder):
                continue
            needs = []
            if corpus := load_base(base).corpus:
                name = f"pretrain {base} s{seed}"
                first = trunk_of.setdefault(corpus.knowledge, name)
                command = [str(HERE / "pretrain.py"), "--base", base, "--seed", str(seed)]
                jobs.append(
                    Job(
                        name=name,
                        command=command,
                        needs=[] if first == name else [first],
                        log=out / "logs" / f"{name}.log",
                    )
                )
                needs = [name]
            command = [
                str(HERE / "grpo.py"),
                "--base",
                base,
                "--recipe",
                recipe,
                "--seed",
                str(seed),
                "--out",
                str(folder),
            ]
            if (folder / "manifest.json").is_file():
                command.append("--resume")
            name = f"grpo {base} s{seed}"
            jobs.append(
                Job(
                    name=name,
                    command=command,
                    needs=needs,
                    log=out / "logs" / f"{name}.log",
                    progress=folder / "metrics.jsonl",
                )
            )
    return jobs


def finished(folder: Path) -> bool:
    """Whether a run of this folder was completed before."""
    from evals.runs import load_manifest

    return (folder / "manifest.json").is_file() and load_manifest(folder).status == "finished"


def run_jobs(jobs: list[Job], slots: int) -> Iterator[tuple[Job, float]]:
    """Run jobs, `slots` at a time, in order of the list; yields each as it ends, with the peak memory so far in bytes."""
    by_name = {job.name: job for job in jobs}
    last_report, peak = time.perf_counter(), 0.0
    try:
        while not all(job.done for job in jobs):
            running = [job for job in jobs if job.process and not job.done]
            for job in jobs:
                waits = [by_name[name] for name in job.needs if name in by_name]
                if not job.done and job.process is None and any(one.failed for one in waits):
                    job.done = job.failed = True
                ready = job.process is None and not job.done and all(one.done for one in waits)
                if ready and len(running) < slots:
                    job.start()
                    running.append(job)
            peak = max(peak, _memory())
            for job in running:
                if job.poll():
                    yield job, peak
            if running and time.perf_counter() - last_report > REPORT_EVERY:
                last_report = time.perf_counter()
                print("  running: " + "; ".join(job.state() for job in running if not job.done), flush=True)
            time.sleep(0.2)
    finally:
        for job in jobs:
            if job.process and job.process.poll() is None:
                job.process.terminate()


def _memory() -> float:
    """Resident bytes of this process and all below it."""
    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def split_of(jobs: list[Job]) -> dict[str, float]:
    """Seconds by kind of work, summed over processes: pretraining from the jobs, the rest from the runs' manifests."""
    from evals.runs import load_run

    split = {"pretraining": sum(job.seconds for job in jobs if job.name.startswith("pretrain"))}
    folders = [job.progress.parent for job in jobs if job.progress and not job.failed]
    busy = 0.0
    for folder in folders:
        for kind, seconds in load_run(folder).manifest.split.items():
            split[kind] = split.get(kind, 0.0) + seconds
            busy += seconds
    trained = sum(job.seconds for job in jobs if job.name.startswith("grpo"))
    split["imports and loading"] = max(0.0, trained - busy) if trained else 0.0
    return split


def main() -> None:
    """Parse, run what is missing, compare, print the split of time and the finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="name of configs/studies")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the study's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes side by side (default: cores)")
    parser.add_argument("--out", type=Path, help="study folder (default runs/STUDY)")
    args = parser.parse_args()

    study = load_study(args.study)
    out = args.out or Path("runs") / study.name
    seeds = args.seeds or list(study.seeds)
    if args.jobs < 1:
        raise UsageError("--jobs takes 1 or more")
    folders = [out / f"{base}-s{seed}" for base in study.bases for seed in seeds]
    jobs = plan_jobs(list(study.bases), study.recipe, seeds, out)
    print(f"{study.question}\n{len(jobs)} jobs, {args.jobs} at a time; logs in {out / 'logs'}", flush=True)
    began, peak = time.perf_counter(), 0.0
    for job, memory in run_jobs(jobs, args.jobs):
        peak = memory
        print(f"{'FAILED' if job.failed else 'done'}  {job.name}  {job.seconds:.0f} s", flush=True)
    failed = [job for job in jobs if job.failed]
    for job in failed:
        print(f"failed: {job.name}; see {job.log}", file=sys.stderr)
    whole = [str(folder) for folder in folders if finished(folder)]
    if not whole:
        raise UsageError(
            f"no run of {study.name} finished; read the logs in {out / 'logs'}, then type the same command again"
        )
    compared = time.perf_counter()
    shutil.rmtree(out / "compare", ignore_errors=True)  # it is of fewer runs when seeds were added or a run was mended
    code = subprocess.run([sys.executable, str(HERE / "compare.py"), *whole, "--out", str(out / "compare")]).returncode
    split = split_of(jobs)
    split["report"] = time.perf_counter() - compared
    wall = time.perf_counter() - began
    parts = ", ".join(f"{kind} {seconds:.0f}" for kind, seconds in split.items())
    print(
        f"\n{wall / 60:.1f} minutes of wall time, peak memory {peak / 2**30:.1f} GiB; seconds over all processes: {parts}"
    )
    if failed or code:
        raise UsageError(
            f"{len(failed)} jobs failed{' and the comparison too' if code else ''}; type the same command to run what is missing"
        )


if __name__ == "__main__":
    sys.exit(run(main))
