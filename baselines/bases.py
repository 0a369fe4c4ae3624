"""What `--base` may be: a name of configs/bases, a hub id, a folder, or a GGUF file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from configs.errors import UsageError, nearest
from configs.load import load_base, names
from configs.schema import Base

TINY_ROOT = Path("runs/bases")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBase:
    """A base that was asked for: what to call it, where its weights are, and what configs know of it, if anything."""

    name: str
    origin: str
    revision: str | None
    known: Base | None

    def default(self, field: str, given: str | None) -> str:
        """What the user gave, else what the base's own config names. Raises UsageError when there is neither."""
        if given is not None:
            return given
        if self.known is None:
            flag = {"train_suite": "suite"}.get(field, field)
            raise UsageError(f"nothing is known of {self.origin}, so it has no default {field}; add --{flag} NAME")
        return getattr(self.known, field)

    @property
    def stop_token_ids(self) -> list[int] | None:
        return list(self.known.stop_token_ids) if self.known else None


def find_base(asked: str, *, seed: int = 0) -> FoundBase:
    """Resolve `--base` without loading anything. `seed` picks the pretraining seed of a tiny base.

    Raises UsageError for an unknown name (nearest ones named) and for a tiny base that is not pretrained yet.
    """
    path = Path(asked)
    if path.suffix == ".gguf" or (path / "config.json").is_file():
        return _local(path)
    if path.is_dir():
        raise UsageError(f"{asked} holds no config.json; --base takes a model folder, such as RUN/model")
    if asked in names("bases"):
        known = load_base(asked)
        if known.hub_id:
            return FoundBase(name=asked, origin=known.hub_id, revision=known.revision, known=known)
        folder = made_folder(asked, seed)
        if not folder.is_dir():
            how = f"pretrained yet; type: python scripts/pretrain.py --base {asked} --seed {seed}"
            how = f"fetched yet; type: python scripts/fetch.py --base {asked}" if known.package else how
            raise UsageError(f"{asked} is not {how}")
        return FoundBase(name=asked, origin=str(folder), revision=None, known=known)
    if asked.count("/") == 1 and not asked.startswith((".", "/")) and not asked.endswith("/"):
        configs = [load_base(name) for name in names("bases")]
        known = next((base for base in configs if base.hub_id == asked), None)
        return FoundBase(
            name=known.name if known else asked.split("/")[1],
            origin=asked,
            revision=known and known.revision,
            known=known,
        )
    raise UsageError(f"no base named {asked!r}, and no such folder: {nearest(asked, names('bases'))}")


def made_folder(name: str, seed: int) -> Path:
    """Where a base that a script of ours makes is, or will be: a tiny one of this seed, or one out of a package."""
    known = load_base(name)
    if known.package:
        from baselines.packaged import folder_of

        return folder_of(name, known.package, TINY_ROOT)
    from baselines.tiny import TinySpec

    assert known.corpus is not None
    return TinySpec(name=name, corpus=known.corpus, seed=seed).folder(TINY_ROOT)


def _local(path: Path) -> FoundBase:
    """A folder or file; a tiny base is recognised by the facts that lie beside its weights, RUN/model goes by RUN's name."""
    if not path.exists():
        raise UsageError(f"no file at {path}")
    facts = path / "tiny.json"
    known = None
    if facts.is_file():
        corpus = {key: json.loads(facts.read_text(encoding="utf-8"))[key] for key in ("knowledge", "worked")}
        known = load_base("tiny-latent").model_copy(update={"name": path.name, "corpus": corpus})
    named = path.parent if (path.parent / "manifest.json").is_file() else path  # every run calls its result model
    name = path.stem if path.suffix == ".gguf" else named.name
    return FoundBase(name=name, origin=str(path), revision=None, known=known)
