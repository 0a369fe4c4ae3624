"""What every engine takes and gives: how to draw, what to draw, what was drawn. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from configs.errors import UsageError

Finish = Literal["stop", "length", "context"]


class NoRoomError(UsageError):
    """No prompt of a template leaves room in the context: there is nothing to draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn. `temperature` 0 is greedy; `max_tokens` is per completion."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion to draw: `sample` counts from 0 within a problem."""

    problem_id: str
    sample: int
    prompt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion that was drawn. `logprob` is the sum over its tokens, natural log, at temperature 1."""

    problem_id: str
    sample: int
    completion: str
    prompt_tokens: int
    completion_tokens: int
    finish: Finish
    """`stop` at an end token or stop string, `length` at the token limit, `context` where the prompt leaves no room."""
    logprob: float
    """NaN where a server does not send it."""
    seed: int


class Engine(Protocol):
    """Draws completions. Engines differ in speed and in whose random numbers they use, not in what their rows mean."""

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Rollout]]:
        """Draw one completion per request, in parts worth keeping, in any order.

        A request whose prompt and `max_tokens` exceed the context is not drawn and not cut: it comes back as
        `context`, with no completion, in the first part. The token that ends a completion counts; a stop string
        stays in the text, an end token does not. Raises UsageError where drawing cannot go on; what was yielded
        before then is whole.
        """
        ...


def fitting(
    requests: Sequence[Request], tokenizer: Any, *, context: int | None, sampling: Sampling
) -> tuple[list[tuple[Request, list[int]]], list[Rollout]]:
    """Requests that the context has room for, with their prompt's token ids; and the rows of those it has not."""
    prompts = list(dict.fromkeys(request.prompt for request in requests))
    ids = dict(zip(prompts, tokenizer(prompts)["input_ids"] if prompts else [], strict=True))
    fit: list[tuple[Request, list[int]]] = []
    overflow: list[Rollout] = []
    for request in requests:
        prompt = ids[request.prompt]
        if context is None or len(prompt) + sampling.max_tokens <= context:
            fit.append((request, prompt))
        else:
            overflow.append(as_rollout(request, sampling, prompt_tokens=len(prompt), finish="context"))
    return fit, overflow


def as_rollout(
    request: Request,
    sampling: Sampling,
    *,
    prompt_tokens: int,
    finish: Finish,
    completion: str = "",
    completion_tokens: int = 0,
    logprob: float = 0.0,
) -> Rollout:
    """The row of a request."""
    return Rollout(
        problem_id=request.problem_id,
        sample=request.sample,
        completion=completion,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        finish=finish,
        logprob=logprob,
        seed=sampling.seed,
    )


def sample_seed(sampling: Sampling, request: Request) -> int:
    """The seed of one sample's own generator, for engines that take a seed a request; below 2^31, as servers want.

    Samples of a problem have consecutive seeds, which is what vLLM gives the n samples of one request.
    """
    name = f"{sampling.seed}|{request.problem_id}".encode()
    return (int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "little") + request.sample) % 2**31
