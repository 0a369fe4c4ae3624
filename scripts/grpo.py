"""Pure RL from a base: GRPO on rule-based rewards, no SFT, audited before and after by the same path."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configs.cli import run, show, training_arguments
from configs.errors import UsageError


def main() -> None:
    """Parse, plan, check; with --dry-run print the plan and stop; else train and say what to run next."""
    parser = argparse.ArgumentParser(description=__doc__)
    training_arguments(parser, out="runs/grpo/BASE-RECIPE-sSEED")
    parser.add_argument(
        "--control",
        choices=("random", "format", "inverted"),
        help="the same run under another reward, as recipe RECIPE-CONTROL: what it gains was not learnt from right answers",
    )
    parser.add_argument("--lora", action="store_true", help="train a low-rank adapter on all linear layers (peft)")
    parser.add_argument(
        "--budget-tokens", type=int, help="end training at the first step that reaches this: prompts and completions"
    )
    parser.add_argument(
        "--budget-hours", type=float, help="end training at the first step that reaches this wall time, over resumes"
    )
    args = parser.parse_args()

    from baselines.asked import look_up
    from configs.overrides import as_control
    from evals.manifest import claim
    from rewards.suites import check_held_out, is_at_hand, load_problems
    from rl.plan import Plan, processes, rank
    from rl.preflight import preflight, refuse

    asked = look_up(args, lora=args.lora)
    base = asked.base
    recipe = as_control(asked.recipe, args.control) if args.control else asked.recipe
    plan = Plan(
        base=base.name,
        origin=base.origin,
        revision=base.revision,
        stop_token_ids=base.stop_token_ids,
        parameters=base.known.parameters if base.known else None,
        context_length=base.known.context_length if base.known else None,
        recipe=recipe,
        template=asked.template,
        suite=asked.suite,
        train_suite=asked.train_suite,
        seed=args.seed,
        out=args.out or Path("runs/grpo") / f"{base.name}-{recipe.name}-s{args.seed}",
        processes=processes(),
        budget_tokens=args.budget_tokens,
        budget_hours=args.budget_hours,
    )
    plan.check()
    root = Path(__file__).parents[1]
    if args.dry_run:
        show(f"{plan.base}: nothing was loaded", ("what", "plan"), plan.rows())
        known = [load_problems(name) for name in dict.fromkeys((asked.train_suite, asked.suite)) if is_at_hand(name)]
        checks = preflight(plan, known, root=root)
        show("before the start", ("looked at", "", "found"), [(one.what, one.verdict, one.found) for one in checks])
        refuse(checks)
        return
    if recipe.engine == "vllm":
        import importlib.util

        if importlib.util.find_spec("vllm") is None:
            raise UsageError(
                "recipe asks for vllm, which is not installed: pip install -e '.[vllm]', or --set engine=transformers"
            )
    if rank() == 0:  # the first of several processes owns the folder
        claim(plan.out, plan.settings(), resume=args.resume)
    train_suite, suite = load_problems(asked.train_suite), load_problems(asked.suite)
    if asked.suite != asked.train_suite:
        check_held_out(suite, train_suite)

    if rank() == 0:
        checks = preflight(plan, [train_suite, suite], root=root)
        refuse(checks)
        for note in [one for one in checks if one.verdict == "note"]:
            print(f"note: {note.what}: {note.found}", file=sys.stderr)

    from transformers.utils import logging

    from rl.train import train

    logging.disable_progress_bar()
    train(plan, suite, train_suite, resume=args.resume)
    print(f"{plan.out}\nnext: python scripts/compare.py {plan.out} --out {plan.out}/figures")


if __name__ == "__main__":
    sys.exit(run(main))
