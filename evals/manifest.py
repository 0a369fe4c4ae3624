"""A run's manifest: opened before any work, closed after it, whatever happened in between."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from configs.errors import UsageError

PACKAGES = ("torch", "transformers", "trl", "peft", "vllm", "accelerate", "datasets", "mpmath")


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def hardware() -> dict[str, Any]:
    """Cores, memory in GiB, and GPUs if a driver lists any."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        cuda = sys.modules["torch"].cuda
        found["gpus"] = [cuda.get_device_name(i) for i in range(cuda.device_count())]
    return found


def _differing(one: dict[str, Any], other: dict[str, Any], before: str = "") -> list[str]:
    """Dotted names of all fields in which two settings differ, such as recipe.grpo.beta. A field that is new and unset does not."""
    found = []
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += _differing(mine, theirs, f"{before}{key}.")
        elif mine != theirs:
            found.append(f"{before}{key}")
    return found


def claim(folder: Path, settings: dict[str, Any], *, resume: bool | None) -> None:
    """Make sure that `folder` is free, or holds this very run and may go on.

    `resume` None goes on with an unfinished run of the same settings without being asked; False refuses to.
    Raises UsageError when the folder holds another run, or other files.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        if folder.is_dir() and any(not item.name.startswith(".") for item in folder.iterdir()):
            raise UsageError(f"{folder} holds files that are no run; choose another --out")
        return
    kept = json.loads(path.read_text(encoding="utf-8"))
    if changed := _differing(kept["settings"], json.loads(json.dumps(settings, default=str))):
        raise UsageError(f"{folder} holds another run (it differs in {', '.join(changed)}); choose another --out")
    if resume is False:
        raise UsageError(f"{folder} holds this run already ({kept['status']}); add --resume, or choose another --out")


@contextmanager
def only_one(folder: Path, busy: str) -> Iterator[None]:
    """Hold `folder`; it is let go of when the process ends, however it ends. Raises UsageError(busy) when it is held."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(busy) from error
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}:
                raise
            print(f"note: {folder} is on a file system without locks: see to it that one run has it", file=sys.stderr)
        yield


@contextmanager
def open_run(folder: Path, kind: str, settings: dict[str, Any], facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Open a run in `folder`; the dict it yields is saved as the manifest at the start and at the end.

    `settings` decide whether two runs are the same; `facts` are recorded beside them. Status is `running` inside,
    then `finished`, `interrupted` (Ctrl-C) or `failed`. Raises UsageError while another process works in `folder`.
    """
    with only_one(folder, f"another process is at work in {folder}; wait for it, or choose another --out"):
        yield from _open_run(folder, kind, settings, facts)


def _open_run(folder: Path, kind: str, settings: dict[str, Any], facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    path = folder / "manifest.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    manifest = {
        "run": folder.name,
        "kind": kind,
        "status": "running",
        **facts,
        "settings": json.loads(json.dumps(settings, default=str)),
        "command": shlex.join(sys.argv),
        "commit": _commit(),
        "versions": _versions(),
        "hardware": hardware(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "starts": before.get("starts", 0) + 1,
        "seconds": before.get("seconds", 0.0),
        "split": before.get("split", {}),
    }
    write_json(path, manifest)
    began = time.perf_counter()
    try:
        yield manifest
        manifest["status"] = "finished"
    except KeyboardInterrupt:
        manifest["status"] = "interrupted"
        raise
    except BaseException:
        manifest["status"] = "failed"
        raise
    finally:
        manifest["seconds"] = round(manifest["seconds"] + time.perf_counter() - began, 2)
        write_json(path, manifest)
