"""Run a study file: train its bases under its recipes, measure them on its suites, side by side; only what is missing."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import run, show
from configs.errors import UsageError

if TYPE_CHECKING:
    from configs.schema import Slurm, Study
    from evals.jobs import Ended, Job, Launcher
    from evals.study import Planner

HERE = Path(__file__).parent
REPORT_EVERY = 15.0
MAKING = {"pretrain": "pretraining", "fetch": "fetching"}
"""Kinds of jobs that make a base, and what their time is called."""


def main() -> None:
    """Parse, run what is missing, compare the runs, lay the audits side by side, list what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", help="name of configs/studies, or a .yaml file")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the training runs, instead of the study's own")
    parser.add_argument(
        "--jobs", type=int, help="side by side (default: cores; 1 where a GPU is visible; with Slurm no limit)"
    )
    parser.add_argument("--out", type=Path, help="study folder (default runs/STUDY)")
    parser.add_argument("--list", action="store_true", help="print the jobs, how far each is and its command, and stop")
    parser.add_argument(
        "--launcher",
        choices=["local", "slurm", "submitit-local"],
        default="local",
        help="processes of this machine (default), Slurm, or what submitit would send to Slurm on this machine, to try it",
    )
    parser.add_argument("--partition", help="of Slurm; this and the following override the study's slurm block")
    parser.add_argument("--account", help="that Slurm charges")
    parser.add_argument("--gpus", type=int, help="of each job")
    parser.add_argument("--cpus", type=int, help="of each job")
    parser.add_argument("--memory-gb", type=float, help="of each job")
    parser.add_argument(
        "--hours", type=float, help="wall time of each job; one that is out of time goes on in a new one"
    )
    args = parser.parse_args()

    from baselines.bases import made_folder
    from configs.load import load_study
    from evals.study import Planner, refuse_other_settings

    if args.jobs is not None and args.jobs < 1:
        raise UsageError("--jobs takes 1 or more")
    study = load_study(args.study)
    if args.seeds and not study.recipes:
        raise UsageError(f"study {study.name} trains nothing, so --seeds has no use")
    asks = _slurm(study, args)
    out = args.out or Path("runs") / study.name
    seeds = args.seeds or list(study.seeds)
    gpus = asks.gpus if args.launcher == "slurm" else 0
    planner = Planner(out=out, scripts=HERE, made_folder=made_folder, gpus=gpus)
    jobs = planner.plan(study, seeds)
    for job in jobs:
        refuse_other_settings(job)
    if args.list:
        _list(study, jobs, out)
        return
    began = time.perf_counter()
    ended, peak = _run(study, jobs, out, args, asks)
    failed = [each for each in ended if each.failure]
    for each in failed:
        print(f"failed: {each.job.name}: {each.failure}; see {each.job.log}", file=sys.stderr)
    compared = time.perf_counter()
    if study.audits:
        _tabulate(planner, study, seeds)
    code = _compare(planner, study, seeds)
    split = _split(ended)
    split["report"] = time.perf_counter() - compared
    parts = ", ".join(f"{kind} {seconds:.0f}" for kind, seconds in split.items())
    wall = (time.perf_counter() - began) / 60
    print(f"\n{wall:.1f} minutes of wall time, peak memory {peak / 2**30:.1f} GiB; seconds over all jobs: {parts}")
    if failed or code:
        raise UsageError(
            f"{len(failed)} of {len(ended)} jobs failed{' and the comparison too' if code else ''}; "
            "type the same command to run what is missing"
        )


def _slurm(study: Study, args: argparse.Namespace) -> Slurm:
    from pydantic import ValidationError

    from configs.schema import Slurm

    names = ("partition", "account", "gpus", "cpus", "memory_gb", "hours")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if given and args.launcher == "local":
        raise UsageError(f"--{next(iter(given)).replace('_', '-')} goes with --launcher slurm")
    try:
        return Slurm.model_validate(study.slurm.model_dump() | given)
    except ValidationError as error:
        first = error.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{flag}: {first['msg']}, got {first['input']!r}") from error


def _list(study: Study, jobs: Sequence[Job], out: Path) -> None:
    """Every job, its state, its command; what is running is what an earlier study started and left."""
    from evals.jobs import Records, state_of
    from evals.launchers import find

    records = Records(out / "jobs")
    print(study.question)
    for job in jobs:
        record = records.read(job)
        alive = bool(record and find(record, out / "slurm"))
        print(
            f"{state_of(job, record, alive=alive):<10}  {job.name}\n            {shlex.join(['python', *job.arguments()])}"
        )


def _run(
    study: Study, jobs: Sequence[Job], out: Path, args: argparse.Namespace, asks: Slurm
) -> tuple[list[Ended], float]:
    """Run what is not whole; returns how each ended, and the peak memory of this machine's processes in bytes."""
    from evals.jobs import Records, run_jobs
    from evals.launchers import LocalLauncher, SubmititLauncher, find

    todo = [job for job in jobs if not job.whole]
    slots = args.jobs or (len(todo) if args.launcher == "slurm" else _side_by_side())
    print(f"{study.question}\n{len(todo)} jobs, {slots} at a time; logs in {out / 'logs'}", flush=True)
    if not todo:
        return [], 0.0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: its processes end with it
    records, watch, ended = Records(out / "jobs"), _Watch(), []
    with records.only_one():
        seen = {job.name: find(record, out / "slurm") for job in todo if (record := records.read(job))}
        alive = {name: running for name, running in seen.items() if running}
        if alive:
            print(f"still at work since before: {', '.join(alive)}", flush=True)
        launcher: Launcher = (
            LocalLauncher()
            if args.launcher == "local"
            else SubmititLauncher("slurm" if args.launcher == "slurm" else "local", out / "slurm", asks)
        )
        wait = 2.0 if args.launcher == "slurm" else 0.2
        for each in run_jobs(todo, launcher, slots=slots, records=records, alive=alive, tick=watch, wait=wait):
            ended.append(each)
            print(f"{'FAILED' if each.failure else 'done'}  {each.job.name}  {each.seconds:.0f} s", flush=True)
    return ended, watch.peak


def _side_by_side() -> int:
    """As many as there are cores; one where a GPU is, since each job would take all of it."""
    return 1 if shutil.which("nvidia-smi") else os.cpu_count() or 1


class _Watch:
    """Says now and then how far the running jobs are, and keeps the peak memory of this process and all below it."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.said = time.perf_counter()

    def __call__(self, running: list[Job]) -> None:
        self.peak = max(self.peak, _memory())
        if running and time.perf_counter() - self.said > REPORT_EVERY:
            self.said = time.perf_counter()
            print("  running: " + "; ".join(map(_progress, running)), flush=True)


def _progress(job: Job) -> str:
    """How far a running job is: the last step it wrote down, else the last share its progress bar showed."""
    metrics = job.makes[0] / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    if lines and lines[-1].endswith("}"):
        row = json.loads(lines[-1])
        return f"{job.name} step {row['step']} reward {row['reward']:.2f}"
    shown = (
        re.findall(r"\d+%(?=\|)", job.log.read_text(encoding="utf-8", errors="replace")) if job.log.is_file() else []
    )
    return f"{job.name} {shown[-1]}" if shown else job.name


def _memory() -> float:
    """Resident bytes of this process and all below it."""
    import psutil

    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _compare(planner: Planner, study: Study, seeds: Sequence[int]) -> int:
    """Lay the finished runs side by side, controls among them. Returns the exit code."""
    from evals.jobs import whole

    finished = [str(folder) for folder in planner.runs(study, seeds) if whole(folder)]
    if not study.recipes:
        return 0
    if not finished:
        message = f"no run of {study.name} finished; read the logs in {planner.out / 'logs'}, then type the same again"
        raise UsageError(message)
    out = planner.out / "compare"
    shutil.rmtree(out, ignore_errors=True)  # it is of fewer runs when seeds were added or a run was mended
    return subprocess.run([sys.executable, str(HERE / "compare.py"), *finished, "--out", str(out)]).returncode


def _tabulate(planner: Planner, study: Study, seeds: Sequence[int]) -> None:
    """All audits in one table, printed and written."""
    from evals.elicited import elicited, told
    from evals.grid import COLUMNS, grid, grid_table, verdict, write_grid

    cells = planner.cells(study, seeds)
    found = grid(cells)
    paths = write_grid(found, planner.out)
    show(study.question, COLUMNS, grid_table(found))
    print("\n".join(filter(None, [verdict(found), *told(elicited(cells)), " ".join(map(str, paths))])))


def _split(ended: Sequence[Ended]) -> dict[str, float]:
    """Seconds by kind of work, summed over jobs: phases from the runs' manifests, the rest of each job is overhead."""
    split: dict[str, float] = {}
    for each in ended:
        kind, busy = each.job.name.split()[0], 0.0
        if kind not in MAKING:
            for folder in each.job.makes:
                path = folder / "manifest.json"
                parts = json.loads(path.read_text(encoding="utf-8")).get("split", {}) if path.is_file() else {}
                for phase, seconds in parts.items():
                    split[phase] = split.get(phase, 0.0) + seconds
                    busy += seconds
        rest = MAKING.get(kind, "imports and loading")
        split[rest] = split.get(rest, 0.0) + max(0.0, each.seconds - busy)
    return split


if __name__ == "__main__":
    sys.exit(run(main))
