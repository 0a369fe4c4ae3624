"""Load a base from the hub, from a folder or from a GGUF file, or say in one line why it cannot be loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from configs.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBase:
    """A model ready to sample from, its tokenizer (padding left), and the token ids that end a completion."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop_token_ids: list[int]


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
    where: dict[str, Any] = {"revision": revision} if revision else {}
    path = Path(origin)
    gguf = path.suffix == ".gguf"
    if gguf:
        if not path.is_file():
            raise UsageError(f"no GGUF file at {origin}")
        origin, where = str(path.parent), {"gguf_file": path.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(origin, **where)
        model: Any = AutoModelForCausalLM.from_pretrained(origin, dtype=kind, **where)
        model.to(device)
    except GatedRepoError as error:
        raise UsageError(f"{origin} is gated: accept its terms on its hub page, then type: hf auth login") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UsageError(f"there is no model {origin!r} on the hub and no such folder: {error}") from error
    except (OSError, OfflineModeIsEnabled) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"cannot load {origin}: {reason} Download it where there is a network and pass --base FOLDER"
        ) from error
    if gguf:
        _mend_gguf(model, tokenizer, path)
    stops = set(stop_token_ids or []) | _ids(model.generation_config.eos_token_id if model.generation_config else None)
    stops |= _ids(model.config.eos_token_id) | _ids(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    known = {stop for stop in stops if stop < model.get_input_embeddings().weight.shape[0]}
    if not known:
        raise UsageError(f"{origin} names no end-of-text token; add eos_token_id to its config.json")
    return LoadedBase(model=model, tokenizer=tokenizer, stop_token_ids=sorted(known))


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
