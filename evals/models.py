"""Load a base from the hub, from a folder or from a GGUF file, or say in one line why it cannot be loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from configs.errors import UsageError
from configs.fingerprint import fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBase:
    """A model ready to sample from, its tokenizer (padding left), and the token ids that end a completion."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop_token_ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseText:
    """A base without its weights, for engines that hold those themselves: how it reads, writes and ends, and how far it sees."""

    folder: str
    """Hub id or model folder."""
    revision: str | None
    tokenizer: Any
    stop_token_ids: list[int]
    context: int | None
    """In tokens, prompt and completion together; None where the model does not say."""


def default_device() -> torch.device:
    """This process's own GPU where there are GPUs (the launcher numbers processes on a machine), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def load_base(
    origin: str, *, revision: str | None, stop_token_ids: list[int] | None, dtype: str = "auto"
) -> LoadedBase:
    """Load weights and tokenizer of `origin`: a hub id, a folder, or a `.gguf` file.

    `dtype` "auto" is bfloat16 on a GPU and float32 on a CPU. `stop_token_ids` adds to what the model itself says.
    Raises UsageError when the model is gated, not reachable or not there.
    """
    device = default_device()
    automatic = "bfloat16" if device.type == "cuda" else "float32"
    kind = getattr(torch, automatic if dtype == "auto" else dtype)
    model, tokenizer = _load_weights(origin, revision, kind)
    model.to(device)
    stops = _stops(origin, stop_token_ids, model.config, model.generation_config, tokenizer)
    return LoadedBase(model=model, tokenizer=tokenizer, stop_token_ids=stops)


def load_text(origin: str, *, revision: str | None, stop_token_ids: list[int] | None, cache: Path) -> BaseText:
    """Load all of `origin` but its weights. A `.gguf` file becomes a folder in `cache` first, once.

    Raises UsageError as `load_base` does.
    """
    if Path(origin).suffix == ".gguf":
        origin = str(unpacked(Path(origin), cache))
    where: dict[str, Any] = {"revision": revision} if revision else {}
    with _told_simply(origin):
        tokenizer: Any = AutoTokenizer.from_pretrained(origin, **where)
        config: Any = AutoConfig.from_pretrained(origin, **where)
        try:
            generation = GenerationConfig.from_pretrained(origin, **where)
        except OSError:  # many bases have none
            generation = None
    return BaseText(
        folder=origin,
        revision=revision,
        tokenizer=tokenizer,
        stop_token_ids=_stops(origin, stop_token_ids, config, generation, tokenizer),
        context=getattr(config.get_text_config(), "max_position_embeddings", None),
    )


def unpacked(path: Path, cache: Path) -> Path:
    """A GGUF file as an ordinary float32 model folder in `cache`, for vLLM, which reads GGUF no more.

    The folder's name holds the file's size and time of change, and it is there whole or not at all.
    """
    if not path.is_file():
        raise UsageError(f"no GGUF file at {path}")
    about = path.stat()
    folder = cache / f"{path.stem}-{fingerprint([str(path.resolve()), about.st_size, about.st_mtime_ns])[:8]}"
    if not folder.is_dir():
        model, tokenizer = _load_weights(str(path), None, torch.float32)
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.rename(folder)
    return folder


def _load_weights(origin: str, revision: str | None, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model on the CPU, and the tokenizer."""
    where: dict[str, Any] = {"revision": revision} if revision else {}
    path = Path(origin)
    gguf = path.suffix == ".gguf"
    if gguf:
        if not path.is_file():
            raise UsageError(f"no GGUF file at {origin}")
        origin, where = str(path.parent), {"gguf_file": path.name}
    with _told_simply(origin):
        tokenizer = AutoTokenizer.from_pretrained(origin, **where)
        model: Any = AutoModelForCausalLM.from_pretrained(origin, dtype=dtype, **where)
    if gguf:
        _mend_gguf(model, tokenizer, path)
    return model, tokenizer


@contextmanager
def _told_simply(origin: str) -> Iterator[None]:
    """What the hub and transformers raise, as one line that says what to type."""
    try:
        yield
    except GatedRepoError as error:
        raise UsageError(f"{origin} is gated: accept its terms on its hub page, then type: hf auth login") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UsageError(f"there is no model {origin!r} on the hub and no such folder: {error}") from error
    except (OSError, OfflineModeIsEnabled) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"cannot load {origin}: {reason} Download it where there is a network and pass --base FOLDER"
        ) from error


def _stops(origin: str, extra: list[int] | None, config: Any, generation: Any, tokenizer: Any) -> list[int]:
    """All token ids that end a completion, by anybody's account; and a tokenizer that pads on the left."""
    stops = set(extra or []) | _ids(generation.eos_token_id if generation else None)
    stops |= _ids(config.eos_token_id) | _ids(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    known = {stop for stop in stops if stop < config.get_text_config().vocab_size}
    if not known:
        raise UsageError(f"{origin} names no end-of-text token; add eos_token_id to its config.json")
    return sorted(known)


def _ids(value: int | list[int] | None) -> set[int]:
    return set() if value is None else {value} if isinstance(value, int) else set(value)


def _mend_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Take the special tokens from the GGUF header and make the model an ordinary float one.

    transformers 5.17 reads the weights right but gives the tokenizer default special tokens and marks the
    model as quantized, which save_pretrained refuses.
    """
    from gguf import GGUFReader

    fields = GGUFReader(str(path)).fields
    ids = {
        name: int(fields[f"tokenizer.ggml.{key}_token_id"].contents())
        for name, key in [("eos", "eos"), ("bos", "bos"), ("pad", "padding")]
        if f"tokenizer.ggml.{key}_token_id" in fields
    }
    for name, index in ids.items():
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(index))
        for config in (model.config, model.generation_config):
            setattr(config, f"{name}_token_id", index)
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):
        if hasattr(model, mark):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        delattr(model.config, "quantization_config")
