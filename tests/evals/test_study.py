"""A study whose runs are all there does no work but to compare them, whatever it compared before."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthetic import Fate, write_run

from configs.load import load_study

Script = Callable[..., subprocess.CompletedProcess[str]]


def add_seed(out: Path, seed: int) -> None:
    for base in load_study("tiny").bases:
        write_run(out, Fate(base=base, start=0.01, end=0.5), seed).rename(out / f"{base}-s{seed}")


def compared(script: Script, out: Path, *seeds: int) -> Any:
    done = script("study", "tiny", "--out", out, "--seeds", *seeds)
    assert done.returncode == 0, done.stderr
    assert "0 jobs" in done.stdout
    return (out / "compare" / "table.csv").read_text().splitlines()


def test_seeds_can_be_added_to_a_study_and_taken_away(script: Script, tmp_path: Path) -> None:
    add_seed(tmp_path, 0)
    assert len(compared(script, tmp_path, 0)) == 1 + 4
    add_seed(tmp_path, 1)
    assert len(compared(script, tmp_path, 0, 1)) == 1 + 8
    assert (tmp_path / "compare" / "summary.csv").is_file()
    assert len(compared(script, tmp_path, 1)) == 1 + 4
    assert not (tmp_path / "compare" / "summary.csv").exists()  # one seed has no summary over seeds
