"""Jobs: what failed does not stop the rest, what is done is not done again, and submitit is the same road."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.errors import UsageError
from configs.schema import Slurm
from evals import launchers
from evals.jobs import Ended, Job, Launcher, Record, Records, run_jobs, state_of
from evals.launchers import LocalLauncher, SubmititLauncher, find

DONE = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1]); folder.mkdir(parents=True, exist_ok=True)
(folder / "starts").open("a").write(" ".join(sys.argv[2:]) + "|")
def finish(status="finished"):
    (folder / "manifest.json").write_text(json.dumps({"run": "r", "kind": "audit", "status": status}))
"""


def job(root: Path, name: str, code: str = "finish()", **more: Any) -> Job:
    command = ("-c", DONE + code, str(root / name))
    return Job(name=name, command=command, makes=(root / name,), log=root / "logs" / f"{name}.log", **more)


def run_all(root: Path, jobs: list[Job], launcher: Launcher | None = None, slots: int = 2) -> dict[str, Ended]:
    records = Records(root / "jobs")
    todo = [one for one in jobs if not one.whole]
    seen = {one.name: find(record, root / "slurm") for one in todo if (record := records.read(one))}
    alive = {name: running for name, running in seen.items() if running}
    ended = run_jobs(
        todo, launcher or LocalLauncher(), slots=slots, records=records, alive=alive, tick=lambda _: None, wait=0.02
    )
    return {each.job.name: each for each in ended}


def starts(root: Path, name: str) -> int:
    path = root / name / "starts"
    return path.read_text().count("|") if path.is_file() else 0


def until(true: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_failed_job_takes_along_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "first", "raise ValueError('no luck')"),
        job(tmp_path, "second", needs=("first",)),
        job(tmp_path, "third", needs=("second",)),
        job(tmp_path, "fourth"),
        job(
            tmp_path,
            "fifth",
            f"assert pathlib.Path({str(tmp_path / 'fourth')!r}, 'manifest.json').exists(); finish()",
            needs=("fourth",),
        ),
    ]
    ended = run_all(tmp_path, jobs)
    assert {name: one.failure for name, one in ended.items()} == {
        "first": "ValueError: no luck",
        "second": "it needs first, which failed",
        "third": "it needs second, which failed",
        "fourth": None,
        "fifth": None,
    }
    assert starts(tmp_path, "second") == 0
    records = Records(tmp_path / "jobs")
    states = [state_of(one, records.read(one), alive=False) for one in jobs]
    assert states == ["failed", "missing", "missing", "finished", "finished"]


def test_a_job_that_ends_well_but_made_nothing_whole_has_failed_and_old_errors_are_not_its_own(tmp_path: Path) -> None:
    assert run_all(tmp_path, [job(tmp_path, "half", "raise ValueError('old')")])["half"].failure == "ValueError: old"
    ended = run_all(tmp_path, [job(tmp_path, "half", "finish('running')")])
    assert ended["half"].failure == "it ended without finishing half"


def test_a_job_that_resumes_is_told_so_only_when_there_is_something(tmp_path: Path) -> None:
    once = job(tmp_path, "once", "finish('running' if '--resume' not in sys.argv else 'finished')", resumes=True)
    assert run_all(tmp_path, [once])["once"].failure
    assert run_all(tmp_path, [once])["once"].failure is None
    assert (tmp_path / "once" / "starts").read_text() == "|--resume|"


STUDY = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_jobs import run_all, three
run_all(Path(sys.argv[1]), three(Path(sys.argv[1])), slots=1)
"""


def three(root: Path) -> list[Job]:
    wait = f"import time\nwhile not pathlib.Path({str(root / 'go')!r}).exists(): time.sleep(0.02)\nfinish()"
    return [job(root, "early"), job(root, "hanging", wait), job(root, "late", needs=("hanging",))]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_study_starts_only_what_is_missing(how: signal.Signals, tmp_path: Path) -> None:
    study = subprocess.Popen([sys.executable, "-c", STUDY, str(tmp_path), str(Path(__file__).parent)])
    until(lambda: starts(tmp_path, "hanging") == 1 and (tmp_path / "jobs" / "hanging.json").is_file())
    study.send_signal(how)
    study.wait()
    records, hanging = Records(tmp_path / "jobs"), three(tmp_path)[1]
    record = records.read(hanging)
    assert record is not None
    left = find(record, tmp_path)
    assert (left is not None) == (how == signal.SIGKILL)  # Ctrl-C ends what it started, a killed study could not
    (tmp_path / "go").touch()
    ended = run_all(tmp_path, three(tmp_path))
    assert {name: one.failure for name, one in ended.items() if name != "hanging"} == {"late": None}
    assert starts(tmp_path, "early") == 1
    assert starts(tmp_path, "hanging") == (1 if how == signal.SIGKILL else 2)
    assert starts(tmp_path, "late") == 1
    assert run_all(tmp_path, three(tmp_path)) == {}


def test_two_studies_do_not_work_in_one_folder(tmp_path: Path) -> None:
    records = Records(tmp_path / "jobs")
    with records.only_one(), pytest.raises(UsageError, match="another study is at work"), records.only_one():
        pass
    with records.only_one():
        pass


def test_a_process_of_the_same_number_but_another_birth_is_not_ours(tmp_path: Path) -> None:
    record = Record(launcher="local", id=str(os.getpid()), created=1.0, began=1.0)
    assert find(record, tmp_path) is None
    assert find(replace(record, created=psutil.Process().create_time()), tmp_path) is not None


def test_submitit_runs_jobs_lists_a_failure_and_goes_on_after_it_was_warned(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "good"),
        job(tmp_path, "bad", "raise ValueError('no luck')"),
        job(tmp_path, "after", needs=("good",)),
        job(tmp_path, "lost", needs=("bad",)),
    ]
    ended = run_all(tmp_path, jobs, SubmititLauncher("local", tmp_path / "slurm", Slurm()), slots=4)
    assert {name: one.failure for name, one in ended.items()} == {
        "good": None,
        "bad": "ValueError: no luck",
        "after": None,
        "lost": "it needs bad, which failed",
    }
    wait = "import time\nif '--resume' in sys.argv: finish()\nelse: finish('running'); time.sleep(60)"
    long = job(tmp_path, "long", wait, resumes=True)
    running = SubmititLauncher("local", tmp_path / "slurm", Slurm()).start(long)
    until((tmp_path / "long" / "manifest.json").is_file)
    os.kill(child_of(int(running.record.id)), signal.SIGUSR2)  # what Slurm sends before it takes the node away
    until(running.ended)
    assert long.whole
    assert (tmp_path / "long" / "starts").read_text() == "|--resume|"
    assert not [
        one for one in psutil.process_iter(["cmdline"]) if str(tmp_path / "long") in (one.info["cmdline"] or [])
    ]


def child_of(pid: int) -> int:
    return psutil.Process(pid).children()[0].pid


SBATCH = """#!/bin/sh
cp "$1" "{root}/sent.sh"
[ -e "{root}/refuse" ] && { echo "sbatch: error: invalid partition specified: gpuu" >&2; exit 1; }
SLURM_JOB_ID=77 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 \\
  SLURM_JOB_NODELIST=here sh "{root}/sent.sh" >/dev/null 2>&1 &
echo $! > "{root}/pid"
echo "Submitted batch job 77"
"""
SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do case "$1" in --*=*|--unbuffered) shift;; *) shift 2;; esac; done
exec "$@"
"""
SQUEUE = """#!/bin/sh
[ -e "{root}/busy" ] && { rm "{root}/busy"; exit 1; }
kill -0 "$(cat "{root}/pid")" 2>/dev/null && echo 77
exit 0
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for Slurm's commands: what they are given is kept, and a job runs as they would run it."""
    for name, text in [("sbatch", SBATCH), ("srun", SRUN), ("squeue", SQUEUE)]:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{root}", str(tmp_path)))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(launchers, "ASK_EVERY", 0.1)
    monkeypatch.setattr(launchers, "QUEUE", launchers.Queue())


def test_without_slurm_the_message_names_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="--launcher submitit-local"):
        SubmititLauncher("slurm", tmp_path / "slurm", Slurm())


@pytest.mark.usefixtures("slurm")
def test_slurm_is_asked_for_what_the_study_says(tmp_path: Path) -> None:
    asks = Slurm(partition="gpu", account="maths", gpus=8, cpus=12, memory_gb=200, hours=1.5)
    launcher = SubmititLauncher("slurm", tmp_path / "slurm", asks)
    (tmp_path / "busy").touch()
    ended = run_all(tmp_path, [job(tmp_path, "audit", "import time; time.sleep(0.5); finish()")], launcher)
    assert ended["audit"].failure is None
    assert json.loads((tmp_path / "jobs" / "audit.json").read_text())["id"] == "77"
    lines = (tmp_path / "sent.sh").read_text().splitlines()
    options = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH --")]
    asked = dict(option.split("=", 1) for option in options if "=" in option)
    expected = {"partition": "gpu", "account": "maths", "gpus-per-node": "8", "cpus-per-task": "12", "time": "90"}
    assert {name: asked[name] for name in expected} == expected
    assert asked["mem"] == "200GB"
    (tmp_path / "refuse").touch()
    with pytest.raises(UsageError, match="invalid partition"):
        launcher.start(job(tmp_path, "other"))


@pytest.mark.usefixtures("slurm")
def test_a_job_that_slurm_lost_has_failed_and_one_that_it_has_is_found_again(tmp_path: Path) -> None:
    long = job(tmp_path, "long", "finish('running'); import time; time.sleep(60)")
    running = SubmititLauncher("slurm", tmp_path / "slurm", Slurm()).start(long)
    until((tmp_path / "long" / "manifest.json").is_file)
    assert not running.ended()
    assert find(running.record, tmp_path / "slurm") is not None
    family = psutil.Process(int((tmp_path / "pid").read_text()))
    for one in [*family.children(recursive=True), family]:
        one.kill()
    until(running.ended)
    assert find(running.record, tmp_path / "slurm") is None
