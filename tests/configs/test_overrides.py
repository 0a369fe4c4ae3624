"""`--set`: what is read as what, and that a slip is answered with the right word."""

from __future__ import annotations

from typing import Any

import pytest

from configs.errors import UsageError
from configs.load import load_recipe, load_suite, names
from configs.overrides import LORA, apply_overrides, as_control, check_fields, trl_fields
from configs.schema import Recipe


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("tiny")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("grpo.learning_rate=2e-6", 2e-6),  # YAML 1.1 calls this a string
        ("grpo.learning_rate=2.0e-6", 2e-6),
        ("grpo.learning_rate=1", 1),
        ("grpo.max_steps=7", 7),
        ("grpo.bf16=true", True),
        ("grpo.bf16=false", False),
        ("grpo.loss_type=dr_grpo", "dr_grpo"),
        ("grpo.scale_rewards=none", "none"),
        ("grpo.vllm_gpu_memory_utilization=0.5", 0.5),  # a field the recipe does not write out
        ("audit.samples=3", 3),
        ("reward=format", "format"),
        ("overlong_cache=4", 4),
        ("overlong_cache=null", None),
    ],
)
def test_a_setting_becomes_the_value_a_person_means(recipe: Recipe, setting: str, value: Any) -> None:
    path = setting.split("=")[0]
    tree: Any = apply_overrides(recipe, [setting]).model_dump()
    for part in path.split("."):
        tree = tree[part]
    assert tree == value
    assert type(tree) is type(value)


def test_only_what_was_set_changes_and_the_last_one_wins(recipe: Recipe) -> None:
    changed = apply_overrides(recipe, ["grpo.max_steps=7", "grpo.max_steps=8"]).model_dump()
    assert changed["grpo"].pop("max_steps") == 8
    before = recipe.model_dump()
    before["grpo"].pop("max_steps")
    assert changed == before
    assert apply_overrides(recipe, []) == recipe


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("grpo.learning_rat=1e-5", ["grpo.learning_rat", "did you mean", "learning_rate"]),
        ("grpo.num_generation=4", ["did you mean", "num_generations"]),
        ("audit.problem=4", ["did you mean", "problems"]),
        ("rewards=format", ["did you mean", "reward"]),
        ("gpro.max_steps=4", ["no block 'gpro'", "did you mean grpo?"]),
        ("grpo.adam.beta1=0.9", ["no block 'adam'"]),
        ("lora.r=8", ["lora"]),  # the recipe trains all weights: there is no adapter to set
        ("grpo.max_steps", ["key=value", "--set grpo.learning_rate=2e-6"]),
        ("", ["key=value"]),
        ("=4", ["no such field"]),
        ("grpo.max_steps=soon", ["grpo.max_steps", "int", "'soon'"]),
        ("grpo.max_steps=2.5", ["grpo.max_steps", "int", "2.5"]),
        ("grpo.max_steps=true", ["grpo.max_steps", "int", "True"]),
        ("grpo.learning_rate=fast", ["grpo.learning_rate", "float"]),
        ("grpo.learning_rate=", ["grpo.learning_rate", "float"]),
        ("grpo.bf16=yes please", ["grpo.bf16", "bool"]),
        ("grpo.use_vllm=1", ["grpo.use_vllm", "bool"]),
        ("reward=corectness", ["reward", "correctness", "corectness"]),
        ("audit.samples=0", ["audit.samples", "greater than 0"]),
        ("audit.samples=many", ["audit.samples", "integer"]),
        ("audit=3", ["audit"]),
        ("grpo=5", ["grpo"]),
        ("grpo=null", ["grpo"]),
        ("lora=true", ["lora"]),
        ("reward=[format", ["reward", "[format"]),
    ],
)
def test_a_slip_is_refused_with_the_right_word(recipe: Recipe, setting: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        apply_overrides(recipe, [setting])
    for word in words:
        assert word in str(refused.value)


def test_fields_of_an_adapter_can_be_set_where_there_is_one(recipe: Recipe) -> None:
    adapted = apply_overrides(recipe.model_copy(update={"lora": LORA}), ["lora.r=8", "lora.lora_dropout=0.1"])
    assert adapted.lora is not None
    assert (adapted.lora["r"], adapted.lora["lora_dropout"]) == (8, 0.1)
    assert LORA["r"] == 32  # what `--lora` means was not changed in passing


def test_known_fields_are_those_of_the_installed_trl() -> None:
    from dataclasses import fields

    from trl import GRPOConfig

    assert {field.name for field in fields(GRPOConfig) if field.init} <= trl_fields("grpo").keys()
    with pytest.raises(UsageError, match="num_generations"):
        check_fields("grpo", {"num_generation": 4})


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no suite named 'sum': did you mean sums\?"):
        load_suite("sum")
    with pytest.raises(UsageError, match=r"known: aime24, .*sums-train"):
        load_suite("zzzz")


@pytest.mark.parametrize("name", names("recipes"))
@pytest.mark.parametrize("reward", ["random", "format", "inverted"])
def test_a_control_of_any_recipe_differs_in_reward_and_name_alone(name: str, reward: Any) -> None:
    whole = load_recipe(name)
    control = as_control(whole, reward).model_dump()
    changed = {key for key, value in whole.model_dump().items() if control[key] != value}
    assert changed == {"name", "reward", "control_of"}
    assert (control["name"], control["reward"], control["control_of"]) == (f"{name}-{reward}", reward, name)


def test_a_control_that_pays_what_the_recipe_pays_is_refused(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match="pays format already"):
        as_control(apply_overrides(recipe, ["reward=format"]), "format")


def test_a_recipe_with_an_adapter_trains_all_weights_when_the_block_is_taken_away() -> None:
    adapted = load_recipe("lora-short")
    assert adapted.lora
    assert apply_overrides(adapted, ["lora=null"]).lora is None
    with pytest.raises(UsageError, match=r"lora is a block; .* or leave it out: lora=null"):
        apply_overrides(adapted, ["lora=16"])
    with pytest.raises(UsageError, match="--set audit"):
        apply_overrides(adapted, ["audit=null"])  # every run is audited
    with pytest.raises(UsageError, match="--set grpo"):
        apply_overrides(adapted, ["grpo=null"])
