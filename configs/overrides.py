"""`--set grpo.learning_rate=2e-6`: one field of a recipe changed from the command line, checked before anything loads."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import ValidationError

from configs.errors import UsageError, nearest
from configs.schema import Recipe, RewardName, Sft

C = TypeVar("C", Recipe, Sft)
Block = Literal["grpo", "sft"]

LORA = {"r": 32, "lora_alpha": 64, "lora_dropout": 0.0, "target_modules": "all-linear"}
"""`--lora`: every linear layer, as Schulman et al. 2025 ("LoRA Without Regret") found needed to match full training."""


@cache
def trl_fields(block: Block) -> dict[str, str]:
    """Names and annotations of all fields of the installed TRL's GRPOConfig or SFTConfig.

    Read from the source text of trl and transformers, since importing them takes seconds.
    """
    fields: dict[str, str] = {}
    for package, file in [
        ("transformers", "training_args.py"),
        ("trl", "trainer/base_config.py"),
        ("trl", f"trainer/{block}_config.py"),
    ]:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise UsageError(f"{package} is not installed; type: make setup")
        tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in {
                "TrainingArguments",
                "_BaseConfig",
                f"{block.upper()}Config",
            }:
                fields |= {
                    item.target.id: ast.unparse(item.annotation)
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
    return fields


def _number(value: Any) -> Any:
    """YAML 1.1 reads 2e-6 as text; a person means a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def check_fields(block: Block, given: dict[str, Any]) -> None:
    """Refuse a field that the installed TRL's config does not have, or a value of another kind than it takes."""
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
    known = trl_fields(block)
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"{block}.{key} is no field of TRL's {block.upper()}Config: {nearest(key, known)}")
        options = [option.strip() for option in known[key].strip("'\"").split("|")]
        if not all(option in kinds or option == "None" for option in options):
            continue
        allowed = tuple(kind for option in options for kind in kinds.get(option, (type(None),)))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise UsageError(f"{block}.{key} takes {' or '.join(options)}, not {value!r}")


def apply_overrides(config: C, settings: list[str]) -> C:
    """The recipe, or way to fine-tune, with each `key=value` of `settings` put in; values are read as YAML.

    Raises UsageError for a setting without `=`, an unknown key (nearest ones named) or a value of the wrong type.
    """
    tree = config.model_dump()
    block: Block = "grpo" if isinstance(config, Recipe) else "sft"
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"--set takes key=value, not {setting!r}; for example --set grpo.learning_rate=2e-6")
        *parents, leaf = path.split(".")
        node = tree
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                raise UsageError(f"--set {path}: the recipe has no block {parent!r}: {nearest(parent, node)}")
            node = node[parent]
        known = trl_fields(block) if parents == [block] else node
        if leaf not in known and parents != ["lora"]:
            raise UsageError(f"--set {path}: no such field: {nearest(leaf, known)}")
        try:
            value = _number(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise UsageError(f"--set {path}: {text!r} can't be read as a YAML value") from error
        if not parents and isinstance(node[leaf], dict) and (value is not None or leaf == block):
            first = next(iter(node[leaf]), "FIELD")
            none = ", or leave it out: lora=null" if leaf == "lora" else ""
            raise UsageError(
                f"--set {path}: {leaf} is a block; set its fields one by one, such as {leaf}.{first}=...{none}"
            )
        node[leaf] = value
    check_fields(block, tree[block])
    try:
        return type(config).model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"--set {where}: {first['msg']}, got {first['input']!r}") from error


def as_control(recipe: Recipe, reward: RewardName) -> Recipe:
    """The recipe with another reward and all else equal, under a name that says so: tiny becomes tiny-random.

    Raises UsageError when the recipe pays that already.
    """
    if recipe.reward == reward:
        raise UsageError(f"recipe {recipe.name} pays {reward} already; drop --control, or choose another")
    changes = {"name": f"{recipe.name}-{reward}", "reward": reward, "control_of": recipe.name}
    return recipe.model_copy(update=changes)
