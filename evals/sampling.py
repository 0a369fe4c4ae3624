"""What every engine takes and gives: how to draw, what to draw, what was drawn. No torch."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from configs.errors import UsageError

Finish = Literal["stop", "length", "context", "unwritable"]
FINISHES: tuple[Finish, ...] = get_args(Finish)
NOT_DRAWN: tuple[Finish, ...] = ("context", "unwritable")

_MARKER = re.compile(r"<\|[^|<>\s]+\|>")


class NothingToDrawError(UsageError):
    """No prompt of a template can be asked of this base: none leaves room in the context, or is writable in its tokens."""


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
    """`stop` at an end token or stop string, `length` at the token limit, `context` where the prompt leaves no room,
    `unwritable` where the tokenizer has no tokens for some character of it."""
    logprob: float
    """NaN where a server does not send it."""
    seed: int


class Engine(Protocol):
    """Draws completions. Engines differ in speed and in whose random numbers they use, not in what their rows mean."""

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Rollout]]:
        """Draw one completion per request, in parts worth keeping, in any order.

        A request whose prompt and `max_tokens` exceed the context is not drawn and not cut: it comes back as
        `context`, with no completion, in the first part; so does, as `unwritable`, one whose prompt would reach the base
        with characters missing. The token that ends a completion counts; a stop string
        stays in the text, an end token does not. Raises UsageError where drawing cannot go on; what was yielded
        before then is whole.
        """
        ...


def fitting(
    requests: Sequence[Request], tokenizer: Any, *, context: int | None, sampling: Sampling
) -> tuple[list[tuple[Request, list[int]]], list[Rollout]]:
    """Requests that can be drawn, with their prompt's token ids; and the rows of those that cannot."""
    prompts = list(dict.fromkeys(request.prompt for request in requests))
    ids = dict(zip(prompts, tokenizer(prompts)["input_ids"] if prompts else [], strict=True))
    unwritable = {prompt for prompt, tokens in ids.items() if lost_characters(tokenizer, prompt, tokens)}
    fit: list[tuple[Request, list[int]]] = []
    left_out: list[Rollout] = []
    for request in requests:
        prompt = ids[request.prompt]
        if request.prompt in unwritable:
            left_out.append(as_rollout(request, sampling, prompt_tokens=len(prompt), finish="unwritable"))
        elif context is None or len(prompt) + sampling.max_tokens <= context:
            fit.append((request, prompt))
        else:
            left_out.append(as_rollout(request, sampling, prompt_tokens=len(prompt), finish="context"))
    return fit, left_out


def lost_characters(tokenizer: Any, text: str, tokens: Sequence[int]) -> set[str]:
    """Characters of a text that its tokens do not spell: the tokenizer has none for them, and the base would not see them.

    White space, case and compatibility forms are let pass, since tokenizers that fold those lose nothing of a question.
    """
    if (unknown := tokenizer.unk_token_id) is not None and tokenizer.unk_token not in text:
        tokens = [token for token in tokens if token != unknown]
    spelled = tokenizer.decode(tokens, skip_special_tokens=False)
    lost = set(_folded(text)) - set(_folded(spelled))
    return {character for character in lost if not character.isspace()}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def split_markers(tokenizer: Any, text: str) -> list[str]:
    """Markers such as <|im_start|> in a text that are no token of this tokenizer: the base reads them letter by letter.

    It has then seen none of them in training, and ends no turn with one.
    """
    found = dict.fromkeys(_MARKER.findall(text))
    return [marker for marker in found if len(tokenizer(marker, add_special_tokens=False)["input_ids"]) > 1]


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
