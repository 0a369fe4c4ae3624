"""Pretrain tiny bases with a known prior: a named one, or any dose of knowledge and worked questions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configs.cli import run
from configs.errors import UsageError, nearest
from configs.load import load_base, names


def main() -> None:
    """Parse, pretrain what is not there yet, say what to run next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--base", nargs="+", default=[], metavar="NAME", help="tiny bases of configs/bases (default: all four)"
    )
    parser.add_argument("--knowledge", type=float, help="own dose: share of notebooks with right arithmetic, 0 to 1")
    parser.add_argument("--worked", type=float, help="own dose: share of questions with a worked solution, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and corpus (default 0)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bases"), help="where bases are kept (default runs/bases)"
    )
    args = parser.parse_args()

    from configs.schema import TinyCorpus

    corpora: dict[str, TinyCorpus] = {}
    if args.knowledge is not None or args.worked is not None:
        if args.knowledge is None or args.worked is None or args.base:
            raise UsageError("an own dose takes --knowledge and --worked together, and no --base")
        if not (0 <= args.knowledge <= 1 and 0 <= args.worked <= 1):
            raise UsageError("--knowledge and --worked are shares from 0 to 1")
        dose = TinyCorpus(knowledge=args.knowledge, worked=args.worked)
        corpora[f"tiny-k{args.knowledge:g}-w{args.worked:g}"] = dose
    else:
        tiny = {name: corpus for name in names("bases") if (corpus := load_base(name).corpus)}
        for name in args.base or tiny:
            if name not in tiny:
                raise UsageError(f"{name!r} is no tiny base: {nearest(name, tiny)}")
            corpora[name] = tiny[name]

    from baselines.tiny import TinySpec, pretrain

    for name, corpus in corpora.items():
        folder = pretrain(TinySpec(name=name, corpus=corpus, seed=args.seed), args.out)
        print(f"{name}: {folder}\n  next: python scripts/audit.py --base {folder}")


if __name__ == "__main__":
    sys.exit(run(main))
