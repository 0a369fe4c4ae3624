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
    parser.add_argument("--lora", action="store_true", help="train a low-rank adapter on all linear layers (peft)")
    args = parser.parse_args()

    from baselines.asked import look_up
    from evals.manifest import claim
    from rewards.suites import check_held_out, load_problems
    from rl.plan import Plan, processes, rank

    asked = look_up(args, lora=args.lora)
    base, recipe = asked.base, asked.recipe
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
    )
    plan.check()
    if args.dry_run:
        show(f"{plan.base}: nothing was loaded", ("what", "plan"), plan.rows())
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

    from transformers.utils import logging

    from rl.train import train

    logging.disable_progress_bar()
    train(plan, suite, train_suite, resume=args.resume)
    print(f"{plan.out}\nnext: python scripts/compare.py {plan.out} --out {plan.out}/figures")


if __name__ == "__main__":
    sys.exit(run(main))
