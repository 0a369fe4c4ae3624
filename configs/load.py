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
    return _read(path, model)


def _read(path: Path, model: type[C]) -> C:
    try:
        config = model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is not a valid {model.__name__.lower()}: {error}") from error
    if config.name != path.stem:
        raise UsageError(f"{path} says name: {config.name}; it must be {path.stem}")
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


def load_study(asked: str) -> Study:
    """The study of this name, or of this path to a .yaml file.

    Raises UsageError with the nearest names when there is none, or when it names a base, recipe, suite or template
    that is not there. Hub ids, model folders and .jsonl suites are taken as they are.
    """
    path = Path(asked)
    if path.suffix in {".yaml", ".yml"} and not path.is_file():
        raise UsageError(f"no study file at {path}; known by name: {', '.join(names('studies'))}")
    study = _read(path, Study) if path.suffix in {".yaml", ".yml"} else _load("studies", Study, asked)
    _refuse_unknown(study, "base", study.bases)
    _refuse_unknown(study, "recipe", study.recipes)
    if study.audits:
        _refuse_unknown(study, "suite", study.audits.suites)
        _refuse_unknown(study, "template", study.audits.templates)
    return study


def _refuse_unknown(study: Study, kind: str, asked: list[str]) -> None:
    known = names(f"{kind}s")
    for name in asked:
        elsewhere = {"base": "/" in name or name.endswith(".gguf"), "suite": Path(name).is_file()}
        if name not in known and not elsewhere.get(kind):
            raise UsageError(f"study {study.name}: no {kind} named {name!r}: {nearest(name, known)}")


def load_device(name: str) -> Device:
    """The accelerator of this name. Raises UsageError with the nearest names when there is none."""
    return _load("devices", Device, name)
