"""Of what training gained, how much a few worked examples show to have been there before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.estimate import Estimate, paired_difference
from evals.jobs import whole
from evals.study import Cell
from evals.sweep import problem_rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Elicited:
    """One trained model on one suite, asked without examples, beside its base with `shots` of them.

    `before`, `shown` and `after` are pass@1 of the base, of the base with examples and of the trained model;
    differences are paired by problem.
    """

    model: str
    base: str
    suite: str
    template: str
    shots: int
    before: Estimate
    shown: Estimate
    after: Estimate
    gain: Estimate
    by_examples: Estimate
    beyond_examples: Estimate


def elicited(cells: Sequence[Cell]) -> list[Elicited]:
    """For every trained model, suite and template that were measured without examples, and the base with them too."""
    done = {(one.base, one.suite, one.template): one for one in cells if whole(one.folder)}
    return [found for one in done.values() if one.base != one.origin and not one.shots for found in _beside(one, done)]


def _beside(trained: Cell, done: dict[tuple[str, str, str], Cell]) -> Iterator[Elicited]:
    base = done.get((trained.origin, trained.suite, trained.template))
    for shown in done.values():
        asked = f"{trained.template}+{shown.shots}shot"
        if base and (shown.base, shown.suite, shown.template) == (trained.origin, trained.suite, asked):
            audits = [json.loads((one.folder / "audit.json").read_text("utf-8")) for one in (base, shown, trained)]
            (before, same), (showed, _), (after, _) = map(problem_rates, audits)
            at, helped, end = (Estimate.from_json(audit["pass_at_k"]["read"]["1"]) for audit in audits)
            yield Elicited(
                model=trained.base,
                base=trained.origin,
                suite=trained.suite,
                template=trained.template,
                shots=shown.shots,
                before=at,
                shown=helped,
                after=end,
                gain=paired_difference(before, after, same=same),
                by_examples=paired_difference(before, showed, same=same),
                beyond_examples=paired_difference(showed, after, same=same),
            )


def told(found: Sequence[Elicited]) -> list[str]:
    """A sentence each: the gain, what examples alone give, and what training has over them."""
    return [
        f"{one.model} on {one.suite}: {_percent(one.before)} before training, {_percent(one.after)} after "
        f"({_points(one.gain)}). Its base, untrained but shown {one.shots} worked examples, has {_percent(one.shown)} "
        f"({_points(one.by_examples)}); training is {_points(one.beyond_examples)} from there."
        for one in found
    ]


def _percent(one: Estimate) -> str:
    return f"{one.value:.1%}"


def _points(one: Estimate) -> str:
    return f"{100 * one.value:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
