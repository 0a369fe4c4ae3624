"""How every script ends: 0, or one message that says what to type and 2."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from configs.errors import UsageError

GOES_ON = "the same command goes on where this one stopped (scripts/grpo.py, baseline.py: add --resume)"


def run(main: Callable[[], None]) -> int:
    """Run a script's main; a UsageError or a full disk becomes one line on stderr and exit code 2, Ctrl-C becomes 130."""
    try:
        main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: the disk is full. What was kept is whole: make room; {GOES_ON}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {GOES_ON}", file=sys.stderr)
        return 130
    return 0


def training_arguments(parser: argparse.ArgumentParser, *, out: str) -> None:
    """What every script that changes a base takes: base, recipe, problems, template, seed, run folder, and what to do.

    `out` tells where runs go by default.
    """
    add = parser.add_argument
    add("--base", required=True, help="name of configs/bases, hub id, model folder or .gguf file")
    add("--recipe", help="name of configs/recipes (default: the base's own)")
    add("--suite", help="problems to train on: name of configs/suites or .jsonl (default: the base's own)")
    add("--eval-suite", help="held-out problems to measure on (default: the base's first suite)")
    add("--template", help="name of configs/templates (default: the base's own)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change one field of the recipe, such as grpo.learning_rate=2e-6; may be repeated",
    )
    add("--seed", type=int, default=0, help="of training, sampling and a tiny base's pretraining (default 0)")
    add("--out", type=Path, help=f"run folder (default {out})")
    add("--resume", action="store_true", help="go on with the unfinished run in --out")
    add("--dry-run", action="store_true", help="print the plan and stop before anything is loaded")


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal; 130 characters where there is none."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 130).print(table)
