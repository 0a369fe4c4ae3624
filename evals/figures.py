"""The figures of a comparison. Same runs, same bytes: no dates, fixed SVG ids, no global matplotlib state.

Rates are drawn in percent. Every arm keeps its colour and marker through all figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from evals.compare import Arm, Comparison, predictors
from evals.crossing import crossing
from evals.curves import Point, curve, price_of
from evals.estimate import Estimate
from evals.transitions import MOVES, moves

# Okabe & Ito (2008), without yellow, which is hard to see on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "*")  # 7 and 11 share no factor: 77 distinct pairs
GREY = "0.45"
MOVE_COLOURS = {"stays": "#0072B2", "gained": "#009E73", "lost": "#D55E00", "never": "0.85"}
WIDTH = 7.0  # inches, a two-column page

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "0.92",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "savefig.dpi": 200,
    "svg.hashsalt": "compare",
    "figure.constrained_layout.use": True,
}


def draw(comparison: Comparison, out: Path) -> list[Path]:
    """All figures as PNG and SVG in `out`; the paths, in the order of the paper."""
    figures: dict[str, Callable[[Sequence[Arm]], Figure]] = {
        "learning_curves": learning_curves,
        "base_to_final": base_to_final,
        "learning_by_tokens": learning_by_tokens,
        "transitions": transitions_by_arm,
        "pass_at_k": pass_at_k_before_and_after,
        "predictors": gain_by_predictor,
    }
    paths = []
    with _style():
        for name, make in figures.items():
            figure = make(comparison.arms)
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                paths.append(out / f"{name}.{suffix}")
                figure.savefig(paths[-1], metadata=metadata)
    return paths


def learning_curves(arms: Sequence[Arm]) -> Figure:
    """Held-out pass@1 over steps: the mean of an arm's seeds with their range, or one seed with its interval."""
    figure = Figure(figsize=(WIDTH, 3.4 + 0.2 * _legend_rows(arms)))
    axes = figure.subplots()
    for index, (arm, (colour, marker)) in enumerate(zip(arms, _looks(arms), strict=True)):
        steps, middle, low, high = _curve(arm)
        # staggered, so that arms that lie on one another (all at zero, say) can still be seen
        every = max(len(steps) // 10, min(len(arms), len(steps) // 3), 1)
        axes.fill_between(steps, low, high, color=colour, alpha=0.15 if len(arms) <= 6 else 0.08, linewidth=0)
        axes.plot(
            steps,
            middle,
            color=colour,
            linestyle=_dashes(index),
            marker=marker,
            clip_on=False,
            zorder=3,
            markevery=(index % every, every),
        )
    axes.set(xlabel="Optimizer step", ylabel="Held-out pass@1 (%)", ylim=(0, 100))
    axes.set_xlim(0, max(arm.steps for arm in arms) or 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"Held-out pass@1 during training ({_band(arms)})")
    _legend(figure, arms)
    return figure


def learning_by_tokens(arms: Sequence[Arm]) -> Figure:
    """Held-out pass@1 over tokens, and over dollars where a price is known: mean of an arm's seeds at each step."""
    by_arm = [[curve(run) for run in arm.runs] for arm in arms]
    sampled = all(point.sampled_tokens is not None for seeds in by_arm for points in seeds for point in points)
    tokens = ("sampled_tokens", "Tokens sampled to train on") if sampled else ("training_tokens", "Tokens trained on")
    panels: list[tuple[str, Callable[[Point], float | None]]] = [(tokens[1], lambda point: getattr(point, tokens[0]))]
    priced = [arm for arm in arms if all(price_of(run)[0] for run in arm.runs)]
    if priced:
        title = "Dollars, middle of the price's range" + ("" if len(priced) == len(arms) else " (where one is known)")
        panels.append((title, lambda point: point.usd and math.sqrt(point.usd.low * point.usd.high)))
    figure = Figure(figsize=(WIDTH, 3.0 + 0.2 * _legend_rows(arms)))
    for axes, (what, of) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False).flat, panels, strict=True):
        for index, (seeds, (colour, marker)) in enumerate(zip(by_arm, _looks(arms), strict=True)):
            at, middle = _averaged(seeds, of)
            axes.plot(at, middle, color=colour, linestyle=_dashes(index), marker=marker, clip_on=False, zorder=3)
        axes.set(xlabel=what, ylim=(0, 100))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    figure.axes[0].set_ylabel("Held-out pass@1 (%)")
    unknown = {why for arm in arms for run in arm.runs if (why := price_of(run)[1])}
    left_out = f"; no dollars: {min(unknown)}" if unknown and not priced else ""
    controls = ", controls among them" if any(arm.runs[0].manifest.control_of for arm in arms) else ""
    figure.suptitle(f"Held-out pass@1 by what it took{controls}{left_out}", fontsize=9.5, x=0.01, ha="left")
    _legend(figure, arms)
    return figure


def _averaged(seeds: Sequence[Sequence[Point]], of: Callable[[Point], float | None]) -> tuple[list[float], list[float]]:
    """Means over seeds of both coordinates, in percent, at steps where every seed has both."""
    by_seed = [{point.step: (of(point), 100 * point.pass_at_1.value) for point in points} for points in seeds]
    at, middle = [], []
    for step in sorted(set.intersection(*(set(rows) for rows in by_seed))):
        places = [rows[step][0] for rows in by_seed]
        known = [place for place in places if place is not None]
        if len(known) == len(places):
            at.append(float(np.mean(known)))
            middle.append(float(np.mean([rows[step][1] for rows in by_seed])))
    return at, middle


def _short(value: float) -> str:
    """1,500,000 as 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def transitions_by_arm(arms: Sequence[Arm]) -> Figure:
    """Each problem by whether it was solved in half of the samples before and after; below, what sampling alone would move.

    Both are counted in halves of the samples, so that they can be compared; where a problem has one sample, by that.
    """
    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(arms)))
    axes = figure.subplots()
    for row, arm in enumerate(reversed(arms)):
        found = [move for move in moves(arm) if move.rule == "half"]
        shares = {move.name: move.halves or move.share for move in found}
        bars = [(row + 0.12, 0.42, [*shares.values()])]
        if all(move.no_change for move in found):
            bars.append((row - 0.22, 0.14, [move.no_change for move in found if move.no_change]))
        for height, thick, stacked in bars:
            left = 0.0
            for name, share in zip(MOVES, stacked, strict=True):
                axes.barh(height, 100 * share.value, thick, left=left, color=MOVE_COLOURS[name], linewidth=0)
                left += 100 * share.value
        gained, lost = shares["gained"], shares["lost"]
        axes.annotate(
            f"+{100 * gained.value:.0f}% −{100 * lost.value:.0f}%",
            (1.01, row + 0.12),
            va="center",
            fontsize=8.5,
            xycoords=("axes fraction", "data"),
        )
    axes.set_yticks([row + 0.05 for row in range(len(arms))], [arm.label for arm in reversed(arms)])
    axes.set(xlim=(0, 100), ylim=(-0.5, len(arms) - 0.45), xlabel="Problems (%)")
    axes.grid(visible=False, axis="y")
    axes.set_title(
        "Problems solved (half right, told by half of the samples) before and after training\n"
        "thin: between two halves of the base's own samples, nothing changed"
    )
    told = {"stays": "solved both times", "gained": "gained", "lost": "lost", "never": "neither time"}
    handles = [Line2D([], [], color=MOVE_COLOURS[name], linewidth=6, label=told[name]) for name in MOVES]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def base_to_final(arms: Sequence[Arm]) -> Figure:
    """Pass@1 before and after training with 95% intervals, lowest final score at the bottom."""
    order = sorted(range(len(arms)), key=lambda index: arms[index].after[1].value)
    looks = _looks(arms)
    figure = Figure(figsize=(WIDTH, 1.5 + 0.36 * len(arms)))
    axes = figure.subplots()
    for row, index in enumerate(order):
        arm, (colour, marker) = arms[index], looks[index]
        start, end = arm.before[1], arm.after[1]
        below, above = row - 0.15, row + 0.15  # side by side, so that a base that did not move shows both
        if abs(end.value - start.value) > 0.03:  # shorter than an arrow head
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 4, "shrinkB": 4}
            axes.annotate("", (100 * end.value, above), (100 * start.value, below), arrowprops=arrow)
        _interval(axes, start, below, colour)
        _interval(axes, end, above, colour)
        axes.plot(100 * start.value, below, marker, color=colour, markerfacecolor="white", clip_on=False, zorder=4)
        axes.plot(100 * end.value, above, marker, color=colour, clip_on=False, zorder=5)
        axes.annotate(
            f"{100 * start.value:.1f} → {100 * end.value:.1f}",
            (1.01, row),
            va="center",
            fontsize=8.5,
            xycoords=("axes fraction", "data"),
        )
    axes.set_yticks(range(len(arms)), [arms[index].label for index in order])
    axes.set(xlabel="Held-out pass@1 (%)", xlim=(0, 100), ylim=(-0.6, len(arms) - 0.4))
    axes.grid(visible=False, axis="y")
    averaged = "seeds averaged, " if any(arm.seeds > 1 for arm in arms) else ""
    axes.set_title(f"Pass@1 before (hollow) and after (filled) training, {averaged}95% intervals")
    return figure


def pass_at_k_before_and_after(arms: Sequence[Arm]) -> Figure:
    """One panel per arm: pass@k before (dashed) and after (solid), shaded 95% intervals."""
    longest = max(len(arm.label) for arm in arms)
    columns = min(len(arms), max(1, min(4, int(6.5 / (0.075 * longest)))))  # a character takes 0.075 inches
    rows = math.ceil(len(arms) / columns)
    width = max({1: 3.5, 2: 5.0}.get(columns, WIDTH), min(WIDTH, 0.6 + 0.075 * longest * columns))
    figure = Figure(figsize=(width, (0.8 if columns > 1 else 1.6) + 1.75 * rows))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for axes, arm, (colour, marker) in zip(panels, arms, _looks(arms), strict=False):
        for passes, dashes, fill, size in ((arm.before, (0, (3, 2)), "white", 5.5), (arm.after, "solid", colour, 4)):
            axes.fill_between(list(passes), *_ends(passes.values()), color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                list(passes),
                [100 * each.value for each in passes.values()],
                color=colour,
                linestyle=dashes,
                marker=marker,
                markersize=size,
                markerfacecolor=fill,
                clip_on=False,
                zorder=3,
            )
        axes.set_title(arm.label, fontsize=9)
        axes.set_xscale("log", base=2)
        _mark_crossing(axes, arm)
        axes.set(ylim=(0, 100))
    largest = max(k for arm in arms for k in arm.before)
    for position, axes in enumerate(list(figure.axes)):
        axes.xaxis.set_major_locator(FixedLocator([2**power for power in range(0, largest.bit_length(), 2)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
        axes.tick_params(labelbottom=position + columns >= len(arms))  # also above the gaps of the last row
        axes.set_visible(position < len(arms))
    figure.supxlabel("k, samples per problem (log scale)", fontsize=9)
    figure.supylabel("Held-out pass@k (%)", fontsize=9)
    figure.suptitle(
        "Pass@k before (dashed) and after (solid)" + (" training, 95% intervals" if columns > 2 else ""), fontsize=9.5
    )
    return figure


def _mark_crossing(axes: Axes, arm: Arm) -> None:
    """A line where the base catches up, if it was behind before and not level throughout."""
    found = crossing(arm)
    if found.at is not None and found.at > 1:
        axes.axvline(found.at, color=GREY, linewidth=0.9, linestyle=":")
        sure = ", inside noise" if found.short.endswith("?") else ""
        axes.annotate(
            f"k = {found.at}{sure}",
            (found.at, 0.03),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=GREY,
            xycoords=("data", "axes fraction"),
        )


def gain_by_predictor(arms: Sequence[Arm]) -> Figure:
    """Gain against each measurement taken before training, and the step-1 forecast against what was observed."""
    panels: list[Callable[[Axes], None]] = [
        lambda axes, predictor=predictor: _gain_panel(axes, arms, predictor.name, predictor.of)
        for predictor in predictors(arms)
    ]
    if any(forecast for arm in arms for forecast in arm.forecasts):
        panels.append(lambda axes: _forecast_panel(axes, arms))
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH, 2.7 * rows + 0.2 * _legend_rows(arms) + 0.1))
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        panel(axes)
        axes.set_title(f"({'abcd'[place - 1]}) {axes.get_title(loc='left')}")
    _legend(figure, arms)
    return figure


def _gain_panel(axes: Axes, arms: Sequence[Arm], name: str, of: Callable[[Arm], Estimate]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    for arm, (colour, marker), size in zip(arms, _looks(arms), _sizes(arms), strict=True):
        _cross(axes, of(arm), arm.gain, colour, marker, size)
    axes.set_xlim(left=0)
    axes.set(xlabel=f"{name[0].upper()}{name[1:]} before training (%)", ylabel="Gain in pass@1 (points)")
    axes.set_title(f"Gain against {name.removesuffix(' share').split(' at G')[0]}")


def _forecast_panel(axes: Axes, arms: Sequence[Arm]) -> None:
    """Vertical bars: where 95% of observed shares should fall. Points off their bar are forecasts that failed."""
    edge = 1.0
    for arm, (colour, marker), size in zip(arms, _looks(arms), _sizes(arms), strict=True):
        for forecast in arm.forecasts:
            if forecast is not None:
                x = 100 * forecast.expected.value
                edge = max(edge, x, 100 * forecast.high, 100 * forecast.observed)
                axes.plot([x, x], [100 * forecast.low, 100 * forecast.high], color=colour, linewidth=1, alpha=0.7)
                axes.plot(x, 100 * forecast.observed, marker, color=colour, markersize=size, clip_on=False, zorder=3)
    axes.plot([0, 1.05 * edge], [0, 1.05 * edge], color=GREY, linewidth=0.8, zorder=1)
    axes.set(xlim=(0, 1.05 * edge), ylim=(0, 1.05 * edge))
    axes.set(xlabel="Forecast informative share (%)", ylabel="Observed at step 1 (%)")
    axes.set_title("Step-1 forecast, 95% prediction bars")


def _curve(arm: Arm) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps that all seeds share, the mean over seeds, and the band's ends, in percent."""
    by_seed = [{row.step: row.pass_at_1 for row in run.heldout} for run in arm.runs]
    steps = sorted(set.intersection(*(set(rows) for rows in by_seed)))
    values = 100 * np.array([[rows[step].value for step in steps] for rows in by_seed])
    if arm.seeds == 1:
        low, high = _ends([by_seed[0][step] for step in steps])
    else:
        low, high = values.min(axis=0), values.max(axis=0)
    return np.array(steps), values.mean(axis=0), low, high


def _ends(estimates: Iterable[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    rows = list(estimates)
    return 100 * np.array([each.low for each in rows]), 100 * np.array([each.high for each in rows])


def _interval(axes: Axes, estimate: Estimate, height: float, colour: str) -> None:
    axes.plot(
        [100 * estimate.low, 100 * estimate.high],
        [height, height],
        color=colour,
        linewidth=2.5,
        alpha=0.35,
        solid_capstyle="butt",
    )


def _cross(axes: Axes, x: Estimate, y: Estimate, colour: str, marker: str, size: float) -> None:
    axes.plot([100 * x.low, 100 * x.high], [100 * y.value] * 2, color=colour, linewidth=0.8, alpha=0.5)
    axes.plot([100 * x.value] * 2, [100 * y.low, 100 * y.high], color=colour, linewidth=0.8, alpha=0.5)
    axes.plot(100 * x.value, 100 * y.value, marker, color=colour, markersize=size, clip_on=False)


def _band(arms: Sequence[Arm]) -> str:
    seeds = {arm.seeds for arm in arms}
    if seeds == {1}:
        return "one seed, 95% intervals"
    if 1 not in seeds:
        return "mean and range over seeds"
    return "mean and range over seeds; interval where there is one"


def _looks(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    return [(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]) for index in range(len(arms))]


def _dashes(index: int) -> Literal["solid", "dashed"]:
    """Dashed once the colours come round again."""
    return "solid" if index < len(COLOURS) else "dashed"


def _sizes(arms: Sequence[Arm]) -> list[float]:
    """Marker sizes that shrink a little in drawing order, so that a point on top of another leaves a rim of it."""
    return [float(size) for size in np.linspace(7.5, 4.5, len(arms))] if len(arms) > 1 else [6.0]


def _legend_columns(arms: Sequence[Arm]) -> int:
    """As many as fit the page: about 90 characters of 8.5 pt, of which a marker takes 6."""
    return max(1, min(len(arms), 90 // (max(len(arm.label) for arm in arms) + 6)))


def _legend_rows(arms: Sequence[Arm]) -> int:
    return math.ceil(len(arms) / _legend_columns(arms))


def _legend(figure: Figure, arms: Sequence[Arm]) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle=_dashes(index), label=arm.label)
        for index, (arm, (colour, marker)) in enumerate(zip(arms, _looks(arms), strict=True))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=_legend_columns(arms))


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield
