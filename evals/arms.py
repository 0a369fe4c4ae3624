"""Which runs are seeds of one arm: those that differ in nothing else that was chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.runs import Run

CHOSEN = ("recipe", "train_suite", "revision", "budget_tokens", "budget_hours")
"""Settings that make another arm. The seed does not, nor where a tiny base of that seed lies."""
NOT_CHOSEN = (
    "recipe.sources",
    "recipe.audit",
    *(
        f"recipe.grpo.{name}"
        for name in (
            "gradient_checkpointing",
            "logging_steps",
            "project",
            "report_to",
            "run_name",
            "save_steps",
            "save_total_limit",
        )
    ),
)
"""What changes no weight. What audits measure is held against `evals.runs.check_comparable`."""


def labels(runs: Sequence[Run]) -> Callable[[Run], str]:
    """The base's name, the recipe's where recipes differ or one is a control, and by what else arms of that name differ.

    Runs of one label are seeds of one arm: a run with another learning rate is another arm and no other seed.
    """
    several = len({run.manifest.recipe for run in runs}) > 1
    chosen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        chosen.setdefault((run.manifest.base, run.manifest.recipe), []).append(_chosen(run))

    def label(run: Run) -> str:
        about, mine = run.manifest, _chosen(run)
        told = f"{about.base}, {about.recipe}" if several or about.control_of else about.base
        others = chosen[about.base, about.recipe]
        known = {name for other in others for name in other}
        blocks = {block for block in known if any(name.startswith(f"{block}.") for name in known)}  # null in some runs

        def whole(name: str) -> str:
            return next((block for block in blocks if name.startswith(f"{block}.")), name)

        names = {whole(name) for other in others for name in known if other.get(name) != mine.get(name)}
        told += "".join(", " + _told(name, mine, block=name in blocks) for name in sorted(names))
        return f"{told} (control)" if about.control_of else told

    return label


def _told(name: str, mine: Mapping[str, Any], *, block: bool) -> str:
    """A setting that tells arms apart; of a whole block, such as lora, that some have and some have not, no more than that."""
    short = name.removeprefix("recipe.").removeprefix("grpo.")
    if block:
        return f"without {short}" if name in mine else f"with {short}"
    return f"{short} {mine.get(name)}"


def _chosen(run: Run) -> dict[str, Any]:
    settings = run.manifest.settings
    return dict(_flat({name: settings[name] for name in CHOSEN if name in settings}))


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Settings under dotted names, such as recipe.grpo.beta."""
    found = []
    for name, value in settings.items():
        if f"{before}{name}" in NOT_CHOSEN:
            continue
        if isinstance(value, dict):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", value))
    return found
