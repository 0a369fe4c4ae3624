"""Which engine draws, and how it is opened: weights once, then one engine for each set of stop strings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from evals.sampling import Engine

Kind = Literal["transformers", "vllm", "openai"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What an engine is opened with. `prompts` are all that it will be asked, so that vLLM plans for no more."""

    kind: Kind
    name: str
    """What the base is called; an endpoint may know it by this or by its origin."""
    origin: str
    revision: str | None
    stop_token_ids: list[int] | None
    dtype: str
    prompts: Sequence[str]
    max_tokens: int
    cache: Path
    """Where a GGUF file is unpacked for vLLM."""
    batch_tokens: int
    tensor_parallel: int
    url: str
    concurrency: int


def default_kind() -> Kind:
    """vLLM where it is installed and a GPU is visible. On a CPU transformers: it starts in a tenth of the time and
    draws from bases of 0.1 million parameters three times as fast; from 135 million on vLLM is the faster one there too.
    """
    if find_spec("vllm") is None:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() else "transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEngine:
    """Weights that are loaded, or a server that answers: `with_stops` makes an engine out of stop strings."""

    tokenizer: Any
    with_stops: Callable[[Sequence[str]], Engine]


@contextmanager
def open_engine(spec: EngineSpec) -> Iterator[OpenEngine]:
    """Load the weights, or reach the server.

    Raises UsageError where the base, its end token, the GPUs asked for or the server is not there.
    """
    if spec.kind == "transformers":
        from evals.engine import TransformersEngine
        from evals.models import load_base

        loaded = load_base(spec.origin, revision=spec.revision, stop_token_ids=spec.stop_token_ids, dtype=spec.dtype)
        yield OpenEngine(
            tokenizer=loaded.tokenizer,
            with_stops=lambda stops: TransformersEngine(
                loaded.model,
                loaded.tokenizer,
                stop_token_ids=loaded.stop_token_ids,
                stop_strings=stops,
                batch_tokens=spec.batch_tokens,
            ),
        )
        return
    from evals.models import load_text

    text = load_text(spec.origin, revision=spec.revision, stop_token_ids=spec.stop_token_ids, cache=spec.cache)
    if spec.kind == "openai":
        from evals.endpoint import Endpoint

        with Endpoint(spec.url, text, names=[spec.name, spec.origin], concurrency=spec.concurrency) as endpoint:
            yield OpenEngine(tokenizer=text.tokenizer, with_stops=endpoint.engine)
        return
    from evals.vllm_engine import VllmEngines, placements

    longest = max(map(len, text.tokenizer(list(spec.prompts))["input_ids"])) + spec.max_tokens
    room = min(longest, text.context or longest)
    with VllmEngines(text, placements(spec.tensor_parallel), dtype=spec.dtype, room=room) as engines:
        yield OpenEngine(tokenizer=text.tokenizer, with_stops=engines.engine)
