"""Pure RL from a base: GRPO on rule-based rewards, no SFT, audited before and after by the same path."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configs.cli import run, show
from configs.errors import UsageError


def main() -> None:
    """Parse, plan, check; with --dry-run print the plan and stop; else train and say what to run next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True, help="name of configs/bases, hub id, model folder or .gguf file")
    parser.add_argument("--recipe", help="name of configs/recipes (default: the base's own)")
    parser.add_argument(
        "--suite", help="problems to train on: name of configs/suites or .jsonl (default: the base's own)"
    )
    parser.add_argument("--eval-suite", help="held-out problems to measure on (default: the base's first suite)")
    parser.add_argument("--template", help="name of configs/templates (default: the base's own)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change one field of the recipe, such as grpo.learning_rate=2e-6; may be repeated",
    )
    parser.add_argument(
        "--control",
        choices=("random", "format", "inverted"),
        help="the same run under another reward, as recipe RECIPE-CONTROL: what it gains was not learnt from right answers",
    )
    parser.add_argument("--lora", action="store_true", help="train a low-rank adapter on all linear layers (peft)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of training, sampling and a tiny base's pretraining (default 0)"
    )
    parser.add_argument("--out", type=Path, help="run folder (default runs/grpo/BASE-RECIPE-sSEED)")
    parser.add_argument("--resume", action="store_true", help="go on from the last whole checkpoint in --out")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop before anything is loaded")
    args = parser.parse_args()

    from baselines.bases import find_base
    from configs.load import load_recipe, load_template
    from configs.overrides import LORA, apply_overrides, as_control
    from evals.manifest import claim
    from rewards.suites import load_problems
    from rl.plan import Plan, processes, rank

    base = find_base(args.base, seed=args.seed)
    recipe = load_recipe(base.default("recipe", args.recipe))
    if args.lora:
        recipe = recipe.model_copy(update={"lora": LORA})
    recipe = apply_overrides(recipe, args.settings)
    if args.control:
        recipe = as_control(recipe, args.control)
    template = load_template(base.default("template", args.template))
    train_name = base.default("train_suite", args.suite)
    eval_name = args.eval_suite or (base.known.suite if base.known else train_name)
    plan = Plan(
        base=base.name,
        origin=base.origin,
        revision=base.revision,
        stop_token_ids=base.stop_token_ids,
        parameters=base.known.parameters if base.known else None,
        context_length=base.known.context_length if base.known else None,
        recipe=recipe,
        template=template,
        suite=eval_name,
        train_suite=train_name,
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
    train_suite, suite = load_problems(train_name), load_problems(eval_name)
    overlap = {one.question for one in suite.problems} & {one.question for one in train_suite.problems}
    if overlap and eval_name != train_name:
        raise UsageError(
            f"{len(overlap)} problems of {eval_name} are also in {train_name}; what is measured must be held out"
        )

    from transformers.utils import logging

    from rl.train import train

    logging.disable_progress_bar()
    train(plan, suite, train_suite, resume=args.resume)
    print(f"{plan.out}\nnext: python scripts/compare.py {plan.out} --out {plan.out}/figures")


if __name__ == "__main__":
    sys.exit(run(main))
