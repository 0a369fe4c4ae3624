"""Why gain against base score misleads, on the published record. Same data, same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from baselines.published import Correlation, Relation
from evals.figures import COLOURS, GREY, STYLE, WIDTH

BLUE, ORANGE, GREEN = COLOURS[:3]
SHOWN = ("GSM8K", "MATH500", "Minerva", "OlympiadBench", "AMC23", "AIME24")
STUDY = "SimpleRL-Zoo"


def draw(relations: Sequence[Relation], out: Path) -> list[Path]:
    """`gain_artefact.png` and `.svg` in `out`, of the one study that trained ten bases alike."""
    mine = {one.benchmark: one for one in relations if one.group == STUDY and not _single_aime(one)}
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, "svg.hashsalt": "published"})
        figure = Figure(figsize=(WIDTH, 6.2))
        panels = figure.subplots(2, 2)
        _gains(panels[0, 0], mine["GSM8K"], BLUE, "(a) Easy: low bases gain most")
        _gains(panels[0, 1], mine["AIME24"], ORANGE, "(b) Hard: high bases gain most")
        _finals(panels[1, 0], mine)
        _summary(panels[1, 1], [mine[name] for name in SHOWN])
        figure.legend(
            handles=[
                Line2D([], [], color=GREY, linestyle=(0, (4, 3)), label="ceiling: all solved after RL"),
                Patch(color="0.85", label="null: final drawn regardless of base (gain in points, 95%)"),
            ],
            loc="outside lower center",
            ncols=2,
        )
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            paths.append(out / f"gain_artefact.{suffix}")
            figure.savefig(paths[-1], metadata=metadata)
    return paths


def _single_aime(one: Relation) -> bool:
    """One sample of 30 problems: left to the table, as the mean of 32 samples is there too."""
    return one.benchmark == "AIME24" and one.metric == "pass@1"


def _told(what: str, found: Correlation) -> str:
    return f"{what} {found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _gains(axes: Axes, one: Relation, colour: str, title: str) -> None:
    """Gain against base; were finals drawn from a hat, points would fall in the band, which runs down."""
    edge = 1.08 * max(one.before.max(), 1)
    x = np.array([0.0, edge])
    low, high = np.percentile(one.after, [2.5, 97.5])
    axes.fill_between(x, low - x, high - x, color="0.85", linewidth=0)
    axes.plot(x, 100 - x, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(one.before, one.after - one.before, "o", color=colour, clip_on=False, zorder=3)
    gains = one.after - one.before
    axes.set(xlim=(0, edge), ylim=(min(-3, gains.min() - 3), max(gains.max(), high) * 1.15))
    axes.set(xlabel=f"{one.benchmark} {one.metric} of the base (%)", ylabel="Gain by RL (points)")
    axes.set_title(title)
    axes.text(
        0.98,
        0.97,
        f"{_told('rank corr.', one.gain)}\n{_told('null', one.null)}",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=8,
    )


def _finals(axes: Axes, mine: dict[str, Relation]) -> None:
    for name, colour, marker in (("GSM8K", BLUE, "o"), ("MATH500", GREEN, "^"), ("AIME24", ORANGE, "s")):
        one = mine[name]
        label = f"{name} {one.metric}, {one.final.value:+.2f}"
        axes.plot(one.before, one.after, marker, color=colour, label=label, clip_on=False, zorder=3)
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
    axes.annotate(
        "no change", (52, 52), rotation=45, color=GREY, fontsize=7.5, ha="center", va="top", rotation_mode="anchor"
    )
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="Base score (%)", ylabel="Score after RL (%)")
    axes.set_title("(c) Final score follows base score")
    axes.legend(loc="lower right", fontsize=7.5, title="rank correlation", title_fontsize=7.5)


def _summary(axes: Axes, rows: Sequence[Relation]) -> None:
    """Rank correlation of the base score with the final, the gain, and the gain in log odds, easy benchmarks on top."""
    looks = (
        ("final", "final score", "black", "D"),
        ("gain", "gain, points", BLUE, "o"),
        ("logit_gain", "gain, log odds", ORANGE, "s"),
    )
    for row, one in enumerate(reversed(rows)):
        null = one.null
        axes.barh(row, null.high - null.low, left=null.low, height=0.84, color="0.88", linewidth=0)
        for place, (name, _, colour, marker) in enumerate(looks):
            found: Correlation = getattr(one, name)
            height = row + 0.26 - 0.26 * place
            axes.plot([found.low, found.high], [height] * 2, color=colour, linewidth=1)
            axes.plot(found.value, height, marker, color=colour, markersize=4.5, clip_on=False, zorder=3)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{one.benchmark}\n{one.metric}" for one in reversed(rows)], fontsize=8)
    axes.set(xlim=(-1, 1), ylim=(-0.6, len(rows) + 0.75), xlabel="Rank correlation with base score (Spearman)")
    axes.grid(visible=False, axis="y")
    axes.set_title("(d) The sign depends on the benchmark")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4.5, label=label) for _, label, colour, marker in looks
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        ncols=3,
        fontsize=7.5,
        columnspacing=0.7,
        handlelength=1.0,
        handletextpad=0.4,
    )
