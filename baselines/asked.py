"""What a training command asked for, looked up: the base, how it is trained and measured, and on which problems."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from baselines.bases import FoundBase, find_base
from configs.load import load_recipe, load_sft, load_template
from configs.overrides import LORA, apply_overrides
from configs.schema import Recipe, Sft, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Configs with every `--set` applied, and names of problem sets. Nothing is loaded yet."""

    base: FoundBase
    recipe: Recipe
    sft: Sft | None
    """None where the command trains no replies by imitation."""
    template: Template
    suite: str
    train_suite: str


def look_up(args: argparse.Namespace, *, lora: bool = False, sft: bool = False) -> Asked:
    """Look up what `configs.cli.training_arguments` parsed; `--set sft.KEY=VALUE` is for the way to fine-tune.

    Raises UsageError for unknown names, and for defaults that an unknown base does not have.
    """
    base = find_base(args.base, seed=args.seed)
    recipe = load_recipe(base.default("recipe", args.recipe))
    if lora:
        recipe = recipe.model_copy(update={"lora": LORA})
    imitate = [one for one in args.settings if sft and one.startswith("sft.")]
    recipe = apply_overrides(recipe, [one for one in args.settings if one not in imitate])
    tuned = apply_overrides(load_sft(base.default("sft", args.sft)), imitate) if sft else None
    train_suite = base.default("train_suite", args.suite)
    return Asked(
        base=base,
        recipe=recipe,
        sft=tuned,
        template=load_template(base.default("template", args.template)),
        suite=args.eval_suite or (base.known.suite if base.known else train_suite),
        train_suite=train_suite,
    )
