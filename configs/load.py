"""Read a YAML file of this folder into its model; name the nearest right one when it is not there."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from configs.errors import UsageError, nearest
from configs.schema import Base, Config, Device, Recipe, Sft, Study, Suite, Template

ROOT = Path(__file__).parent
C = TypeVar("C", bound=Config)


def names(folder: str) -> list[str]:
    """Names of all YAML files in one folder of configs, sorted."""
    return sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))


def _load(folder: str, model: type[C], name: str) -> C:
    path = ROOT / folder / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(f"no {model.__name__.lower()} named {name!r}: {nearest(name, names(folder))}")
    try:
        config = model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is not a valid {model.__name__.lower()}: {error}") from error
    if config.name != name:
        raise UsageError(f"{path} says name: {config.name}; it must be {name}")
    return config


def load_base(name: str) -> Base:
    """The base of this name. Raises UsageError with the nearest names when there is none."""
    return _load("bases", Base, name)


def load_template(name: str) -> Template:
    """The template of this name. Raises UsageError with the nearest names when there is none."""
    return _load("templates", Template, name)


def load_recipe(name: str) -> Recipe:
    """The recipe of this name. Raises UsageError with the nearest names when there is none."""
    return _load("recipes", Recipe, name)


def load_sft(name: str) -> Sft:
    """The way to fine-tune of this name. Raises UsageError with the nearest names when there is none."""
    return _load("sft", Sft, name)


def load_suite(name: str) -> Suite:
    """The suite of this name. Raises UsageError with the nearest names when there is none."""
    return _load("suites", Suite, name)


def load_study(name: str) -> Study:
    """The study of this name. Raises UsageError with the nearest names when there is none."""
    return _load("studies", Study, name)


def load_device(name: str) -> Device:
    """The accelerator of this name. Raises UsageError with the nearest names when there is none."""
    return _load("devices", Device, name)
