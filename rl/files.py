"""What lies in a base's folder, or in the hub's cache, read without loading a model: weights, shapes, tokens, end of text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UsageError
from configs.load import load_base, names
from configs.schema import Architecture
from evals.cost import read_architecture
from rl.plan import Plan

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of one base. `folder` is None where nothing of it is on this machine yet."""

    origin: str
    folder: Path | None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the base; empty where it has none. Raises UsageError when it cannot be read."""
        path = self.folder / name if self.folder else None
        if path is None or not path.is_file():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise UsageError(f"{path} is not JSON ({error.msg}): fetch the model again") from error

    def missing(self) -> list[str]:
        """Files that a model needs and that are not there."""
        if self.folder is None:
            return []
        shards = sorted(set(self.json(INDEX).get("weight_map", {}).values()))
        weights = shards or ["model.safetensors"]
        if not shards and any(self.folder.glob("pytorch_model*.bin")):
            weights = []
        needed = ["config.json", *weights]
        if not (self.folder / "tokenizer.model").is_file():
            needed.append("tokenizer.json")
        return [name for name in needed if not (self.folder / name).is_file()]

    def tokenizer(self) -> Any:
        """The tokenizer, without transformers; None where it is of another kind or not here."""
        path = self.folder / "tokenizer.json" if self.folder else None
        if path is None or not path.is_file():
            return None
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(path))

    def modules(self) -> list[str]:
        """Names of all modules with weights, from the header of the weights; empty where they cannot be read so."""
        keys = list(self.json(INDEX).get("weight_map", {}))
        path = self.folder / "model.safetensors" if self.folder else None
        if not keys and path and path.is_file():
            from safetensors import safe_open

            with safe_open(str(path), framework="np") as weights:
                keys = list(weights.keys())
        return sorted({key.rsplit(".", 1)[0] for key in keys})

    def ends(self) -> set[int]:
        """Token ids that end a text, by the model's own files."""
        found: set[int] = set()
        for name in ("config.json", "generation_config.json"):
            value = self.json(name).get("eos_token_id")
            found |= {value} if isinstance(value, int) else set(value or [])
        return found


def files_of(plan: Plan) -> Files:
    """Where the base is: its folder, the hub's cache, or nowhere yet. A GGUF file holds all of it and has no folder."""
    path = Path(plan.origin)
    if path.is_dir():
        return Files(origin=plan.origin, folder=path)
    if path.suffix == ".gguf":
        return Files(origin=plan.origin, folder=None)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(plan.origin, "config.json", revision=plan.revision)
    return Files(origin=plan.origin, folder=Path(found).parent if isinstance(found, str) else None)


def shape_of(plan: Plan, files: Files) -> Architecture | None:
    """Shapes of the base by its config, else by its own config.json; None where neither says."""
    if plan.base in names("bases") and (shape := load_base(plan.base).architecture):
        return shape
    try:
        return read_architecture(files.json("config.json"))
    except UsageError:
        return None
