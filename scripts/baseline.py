"""What RL must beat, measured as RL is: worked examples, votes, SFT on worked solutions, rejection fine-tuning."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import run, show, training_arguments
from configs.errors import UsageError

if TYPE_CHECKING:
    from baselines.bench import BaselinePlan

FLAGS: dict[str, dict[str, Any]] = {
    "few-shot": {"shots": 4},
    "vote": {"samples": None, "from": None},
    "sft": {"examples": None, "sft": None},
    "rejection": {"rounds": 2, "samples": 16, "keep": 4, "problems": 512, "sft": None},
}
"""Each kind's own flags and their defaults."""


def main() -> None:
    """Parse, check, with --dry-run print the plan; else run it, print start and end, and what to run next."""
    args = _parse()
    own = _own_flags(args)

    from baselines.asked import look_up
    from baselines.bench import BaselinePlan, Bench
    from baselines.kinds import KINDS, check
    from evals.card import write_card
    from evals.engines import default_kind
    from evals.manifest import claim, open_run
    from rewards.suites import check_held_out, load_problems

    asked = look_up(args, sft="sft" in own)
    if args.kind == "vote" and own["samples"] is None:
        own["samples"] = asked.recipe.audit.samples
    _check(args.kind, own)
    plan = BaselinePlan(
        kind=args.kind,
        asked=asked,
        engine=args.engine or default_kind(),
        seed=args.seed,
        out=args.out or Path("runs/baselines") / f"{asked.base.name}-{args.kind}-s{args.seed}",
        options={key: value for key, value in own.items() if key != "sft"},
    )
    if args.dry_run:
        show(f"{asked.base.name}: nothing was loaded", ("what", "plan"), plan.rows())
        return
    suite, train = load_problems(asked.suite), load_problems(asked.train_suite)
    check_held_out(suite, train)
    check(Bench(plan, suite, {}), train)
    claim(plan.out, plan.settings(), resume=args.resume)

    from transformers.utils import logging

    logging.disable_progress_bar()
    facts = plan.facts(suite, train)
    with open_run(plan.out, plan.kind, plan.settings(), facts) as manifest:
        bench = Bench(plan, suite, manifest["split"])
        outcome = KINDS[plan.kind](bench, train)
        manifest |= outcome.facts(bench.suite)
    if (plan.out / "model").is_dir():
        write_card(plan.out)
    _report(plan, manifest, outcome.start, outcome.end)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(FLAGS), help="what to measure beside RL")
    training_arguments(parser, out="runs/baselines/BASE-KIND-sSEED")
    add = parser.add_argument
    add(
        "--engine", choices=["transformers", "vllm"], help="what draws (default: vllm where it is and a GPU is visible)"
    )
    add("--shots", type=int, help="few-shot: worked examples before every question (default 4)")
    add("--samples", type=int, help="vote, rejection: samples a problem (default: vote the recipe's audit's, else 16)")
    add("--from", metavar="RUN", help="vote: count the kept rollouts of this audit or training run; draws nothing")
    add("--examples", type=int, help="sft: worked solutions to imitate (default: all of --suite)")
    add("--sft", help="sft, rejection: name of configs/sft (default: the base's own); --set sft.KEY=VALUE changes it")
    add("--rounds", type=int, help="rejection: rounds of sampling and imitating (default 2)")
    add("--keep", type=int, help="rejection: different right completions kept of a problem, at most (default 4)")
    add("--problems", type=int, help="rejection: training problems a round (default 512)")
    return parser.parse_args()


def _own_flags(args: argparse.Namespace) -> dict[str, Any]:
    """The kind's own flags as given, else their defaults. Raises UsageError for a flag of another kind."""
    given = {flag: getattr(args, flag) for flags in FLAGS.values() for flag in flags if getattr(args, flag) is not None}
    own = FLAGS[args.kind]
    for flag in given:
        if flag not in own:
            takes = ", ".join(f"--{name}" for name in own)
            raise UsageError(f"{args.kind} has no --{flag}; it takes {takes}")
    return own | given


def _check(kind: str, own: dict[str, Any]) -> None:
    import os

    for flag, value in own.items():
        if isinstance(value, int) and value < 1:
            raise UsageError(f"--{flag} takes 1 or more, not {value}")
    if kind == "vote" and own["samples"] < 2:
        raise UsageError("a vote needs at least --samples 2: one sample outvotes nothing")
    if kind == "rejection" and own["samples"] < own["keep"]:
        raise UsageError(
            f"--samples {own['samples']} cannot give --keep {own['keep']} different completions; raise one or lower the other"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("a baseline runs in one process; start it with python instead of accelerate launch")


def _report(plan: BaselinePlan, manifest: dict[str, Any], start: dict[str, Any], end: dict[str, Any]) -> None:
    """Start, end, gain and budget; a vote's curve; what to run next."""

    def told(one: dict[str, float] | None, sign: str = "") -> str:
        return f"{one['value']:{sign}.1%}  ({one['low']:{sign}.1%} to {one['high']:{sign}.1%})" if one else "not known"

    budget, asked = manifest["budget"], plan.asked
    ends = {"vote": "the majority's answer, ties to the first drawn", "few-shot": "pass@1 with the examples"}
    rows = [
        ("pass@1 at the start", told(start["pass_at_k"]["read"]["1"])),
        *(
            (
                f"  after round {one['round']}, {one['right']:,} of {one['samples']:,} samples right",
                told(one["pass_at_1"]),
            )
            for one in manifest.get("rounds", [])[:-1]
        ),
        (ends.get(plan.kind, "pass@1 at the end"), told(end["pass_at_k"]["read"]["1"])),
        ("gain, paired by problem", told(manifest["gain"], "+")),
        ("tokens sampled to learn from" if asked.sft else "tokens sampled to answer", f"{budget['sampled_tokens']:,}"),
        ("tokens trained on, of them replies", f"{budget['training_tokens']:,}, {budget['loss_tokens']:,}"),
    ]
    show(f"{asked.base.name}, {plan.kind}", ("measure", "value (95% interval over problems)"), rows)
    if plan.kind == "vote":
        columns = ("samples", "tokens a problem", "majority", "likeliest", "oracle: an upper bound")
        curve = [
            (
                str(row["k"]),
                f"{row['tokens_per_problem']:,.0f}",
                *(told(row[name]) for name in ("majority", "likeliest", "oracle")),
            )
            for row in manifest["budgets"]
        ]
        show("one answer of k samples", columns, curve)
    print(plan.out)
    if asked.sft:
        print(
            f"next: python scripts/grpo.py --base {plan.out}/model --recipe {asked.recipe.name} --template {asked.template.name} "
            f"--suite {asked.train_suite} --eval-suite {asked.suite} --seed {plan.seed}"
        )


if __name__ == "__main__":
    sys.exit(run(main))
