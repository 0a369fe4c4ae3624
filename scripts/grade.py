"""Grade rows of gold and completion, wherever they were sampled: adds correct, status, reason, answer, milliseconds."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from configs.cli import run
from configs.errors import UsageError


def main() -> None:
    """Parse, grade row by row, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    rows_help = "one JSON object a line with gold and completion; other fields are kept"
    read_help = "by the template's contract, or wherever an answer stands (default strict)"
    template_help = "template that says where the answer stands (default none: the last box)"
    parser.add_argument("--in", dest="source", type=Path, required=True, metavar="ROWS.jsonl", help=rows_help)
    parser.add_argument("--out", type=Path, required=True, metavar="GRADED.jsonl", help="must not exist yet")
    parser.add_argument("--read", choices=["strict", "lenient"], default="strict", help=read_help)
    parser.add_argument("--template", default="none", metavar="NAME", help=template_help)
    final_help = "a gold that is a literal number wants a literal, not a formula that is worth as much"
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--final-form", action="store_const", const="final", dest="form", help=final_help)
    form.add_argument(
        "--aime", action="store_const", const="aime", dest="form", help="answers are integers from 0 to 999"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that grade (default 1)")
    parser.set_defaults(form="any")
    args = parser.parse_args()

    if args.out.exists():
        raise UsageError(f"{args.out} exists; name another file with --out, or remove it first")
    if args.workers < 1:
        raise UsageError(f"--workers {args.workers}: needs at least 1")
    if not args.out.parent.is_dir():
        raise UsageError(f"{args.out.parent} is no folder; create it or name another file with --out")
    counts: Counter[str] = Counter()
    part = args.out.with_name(args.out.name + ".part")  # a broken row must leave no half file that looks whole
    try:
        with part.open("w", encoding="utf-8") as out:
            for row in _graded(args):
                out.write(json.dumps(row) + "\n")
                counts[row["status"]] += 1
                counts["right"] += row["correct"]
        if not counts:
            raise UsageError(f"{args.source} holds no row; write one JSON object a line with gold and completion")
        part.replace(args.out)
    finally:
        part.unlink(missing_ok=True)
    right = counts.pop("right")
    statuses = ", ".join(f"{status} {count}" for status, count in counts.most_common())
    scored = counts.total() - counts["bad_gold"]
    print(f"{right} of {scored} right ({args.template}, {args.read}); {statuses}; written to {args.out}")
    other = "lenient" if args.read == "strict" else "strict"
    again = args.out.with_suffix(f".{other}.jsonl")
    print("  next, the other reading:")
    print(f"  python scripts/grade.py --in {args.source} --out {again} --template {args.template} --read {other}")


def _graded(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from configs.load import load_template
    from rewards.grade import grade_many
    from rewards.suites import read_rows
    from rewards.types import Problem

    waiting: deque[dict[str, Any]] = deque()  # rows whose verdict is on its way

    def pairs() -> Iterator[tuple[Problem, str]]:
        for number, row in read_rows(args.source, ("gold", "completion")):
            if not isinstance(row["completion"], str):
                raise UsageError(f"{args.source}, line {number}: completion must be a string")
            waiting.append(row)
            yield Problem(id=str(number), question="", answer=str(row["gold"]), form=args.form), row["completion"]

    for verdict in grade_many(pairs(), load_template(args.template), reading=args.read, workers=args.workers):
        facts = asdict(verdict)
        yield waiting.popleft() | facts | {"milliseconds": round(verdict.milliseconds, 3)}


if __name__ == "__main__":
    sys.exit(run(main))
