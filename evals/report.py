"""report.html: a comparison as one page that needs no network, made by a template out of tables, figures and rollouts.

A table is the very rows that go into a CSV file, a figure a few named series of points; `report_parts` makes both, and one more
is one more in its list. Numbers are formatted here, so the tables also stand where no script runs.

Nothing that a model wrote can run in the page: completions go in as compressed JSON and come out as text nodes, everything
else is escaped by the template, and the page's own content security policy lets no script run but its own,
told by its hash, and no markup be made from a string.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("page.js", "charts.js", "tables.js", "rollouts.js")
Kind = Literal["text", "number", "percent", "points"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one key of a table's rows is shown. `percent` and `points` take shares in [0, 1]; points are signed."""

    title: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A sortable table. `rows` are those of a CSV: where `key_low` and `key_high` stand beside `key`, they are its interval."""

    title: str
    note: str
    columns: Mapping[str, Column]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """`label` holds the unit. Ends are those of the data unless given; `ticks` are (value, text) where numbers won't do."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one name and one look. Each is a dict: `x`, a list with a number for every x axis of the chart; `y`;
    and, where known, `low` and `high` (an interval of y), `x_low` and `x_high`, and `note`, a line for who asks.
    """

    name: str
    look: int
    """Colour and marker; the same number everywhere for the same arm."""
    points: Sequence[Mapping[str, Any]]
    line: bool = True
    band: bool = False
    """Intervals as a band, not as bars."""
    dashed: bool = False
    hollow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure: panels by title that share their axes. With several `x`, the reader chooses among them."""

    title: str
    note: str
    x: Sequence[Axis]
    y: Axis
    panels: Mapping[str, Sequence[Series]]
    diagonal: bool = False


def render(
    *, paragraph: str, facts: Mapping[str, str], parts: Sequence[Section | Chart], rollouts: Mapping[str, Any] | None
) -> str:
    """The page. `facts` say how all of it was measured; `rollouts` are what `evals.browse.browse` gives, or None."""
    style = (PAGE / "report.css").read_text(encoding="utf-8")
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    chunks = rollouts["chunks"] if rollouts else ()
    about = {key: value for key, value in rollouts.items() if key != "chunks"} if rollouts else None
    charts = [part for part in parts if isinstance(part, Chart)]
    return _template().render(
        paragraph=paragraph,
        facts=facts,
        charts=charts,
        sections=[(part, _cells(part)) for part in parts if isinstance(part, Section)],
        data={"charts": [asdict(chart) for chart in charts], "rollouts": about},
        chunks=chunks,
        style=style,
        script=script,
        policy="; ".join(
            (
                "default-src 'none'",
                f"script-src {_hash(script)}",
                f"style-src {_hash(style)}",
                "base-uri 'none'",
                "form-action 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types 'none'",
            )
        ),
    )


def write(path: Path, page: str) -> None:
    """As UTF-8. A lone surrogate, which UTF-8 cannot say, is written as a character reference, which browsers show as U+FFFD."""
    path.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


@cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment.get_template("report.html.j2")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"


def _cells(section: Section) -> list[list[dict[str, Any]]]:
    return [[_cell(column.kind, key, row) for key, column in section.columns.items()] for row in section.rows]


def _cell(kind: Kind, key: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a cell, its interval, whether that holds zero, and what it is sorted by."""
    value, low, high = (row.get(name) for name in (key, f"{key}_low", f"{key}_high"))
    if value is None:
        return {"text": "–", "interval": "", "noise": False, "order": None}
    if kind == "text":
        return {"text": str(value), "interval": "", "noise": False, "order": None}
    cell = {"text": _number(kind, value), "interval": "", "noise": False, "order": float(value)}
    if low is None or high is None:
        return cell
    interval = f"{_number(kind, low)} to {_number(kind, high)}"
    return cell | {"interval": interval, "noise": kind == "points" and low <= 0 <= high}


def _number(kind: Kind, value: float) -> str:
    if kind == "number":
        return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
    digits = 2 if 0 < abs(value) < 0.001 else 1
    return f"{100 * value:+.{digits}f}" if kind == "points" else f"{100 * value:.{digits}f}"
