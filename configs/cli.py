"""How every script ends: 0, or one message that says what to type and 2."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from configs.errors import UsageError


def run(main: Callable[[], None]) -> int:
    """Run a script's main; a UsageError becomes one line on stderr and exit code 2, Ctrl-C becomes 130."""
    try:
        main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; the same command goes on where this one stopped (scripts/grpo.py: add --resume)",
            file=sys.stderr,
        )
        return 130
    return 0


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal; 130 characters where there is none."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 130).print(table)
