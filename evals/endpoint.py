"""Sampling from any server of OpenAI's completions API: `python -m vllm.entrypoints.openai.api_server --model …` and its like.

Prompts go out as token ids of the base's own tokenizer, seeds as the vLLM engine makes them, so a vLLM server draws what
that engine draws. The fields that only vLLM and its kin know (stop ids, the stop string kept, token ids sent back) are
sent too; a server that leaves them out is read by its text and its own counts, and may cut the stop string off.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, ValidationError
from tenacity import RetryCallState as Try
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, wait_exponential_jitter

from configs.errors import UsageError
from evals.models import BaseText
from evals.sampling import Request, Rollout, Sampling, as_rollout, fitting, sample_seed

TRIES = 8
"""Of one request; with the waits between them a server has about two minutes to come back."""

PART_ROWS, PART_SECONDS = 256, 5.0
"""A part is kept when it has so many rows or so much time has passed: what a kill can lose."""


class TryAgainError(Exception):
    """An answer that may be better next time: too many requests, a server's own error, or no completion at all."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _Logprobs(BaseModel):
    token_logprobs: list[float | None]


class _Choice(BaseModel):
    text: str
    finish_reason: Literal["stop", "length"]
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None


class _Usage(BaseModel):
    completion_tokens: int


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1, max_length=1)
    usage: _Usage


class _Model(BaseModel):
    id: str
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[_Model] = Field(min_length=1)


class Endpoint:
    """A server that answers, and which of its models is asked.

    `url` is the part before /completions and ends in /v1 for most. A key is taken from OPENAI_API_KEY.
    """

    def __init__(
        self, url: str, text: BaseText, *, names: Sequence[str], concurrency: int, patience: float = 600.0
    ) -> None:
        """`names` are what the model may be called there; a server of one model is asked for that. `patience` is in
        seconds for one answer. Raises UsageError where nothing answers, or where several models do and none is named.
        """
        key = os.environ.get("OPENAI_API_KEY")
        self.url, self.text, self.concurrency = url.rstrip("/"), text, concurrency
        self.client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(patience, connect=min(10.0, patience)),
            limits=httpx.Limits(max_connections=concurrency),
        )
        try:
            served = _Models.model_validate_json(self.client.get(f"{self.url}/models").raise_for_status().content).data
        except (httpx.HTTPError, httpx.InvalidURL, ValidationError) as error:
            raise UsageError(
                f"no server of OpenAI's API answers at {self.url}/models ({_first_line(error)}); start one, such as "
                f"python -m vllm.entrypoints.openai.api_server --model {text.folder}, and pass --url http://HOST:PORT/v1"
            ) from error
        named = [one for one in served if one.id in names]
        if not named and len(served) > 1:
            raise UsageError(f"{self.url} serves {', '.join(one.id for one in served)}, none of which is {names[0]}")
        model = (named or served)[0]
        self.model = model.id
        self.context = min((size for size in (text.context, model.max_model_len) if size), default=None)

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def engine(self, stop_strings: Sequence[str]) -> EndpointEngine:
        """An engine with these stop strings."""
        return EndpointEngine(self, stop_strings)

    def ask(self, body: dict[str, Any]) -> _Completion:
        """One request, once. Raises TryAgainError where it is worth trying again, UsageError where it is not."""
        try:
            answer = self.client.post(f"{self.url}/completions", json=body)
        except httpx.HTTPError as error:
            raise TryAgainError(_first_line(error)) from error
        if answer.status_code in (408, 409, 425, 429) or answer.status_code >= 500:
            raise TryAgainError(f"HTTP {answer.status_code}", _retry_after(answer))
        if answer.status_code != 200:
            raise UsageError(
                f"{self.url} refuses a request for {self.model} with HTTP {answer.status_code}: {answer.text[:500]}"
            )
        try:
            return _Completion.model_validate_json(answer.content)
        except ValidationError as error:
            raise TryAgainError(f"HTTP 200 without a completion: {answer.text[:200]!r}") from error


class EndpointEngine:
    """Draws from `endpoint`, so many requests at a time, and ends completions at these stop strings."""

    def __init__(self, endpoint: Endpoint, stop_strings: Sequence[str]) -> None:
        self.endpoint = endpoint
        self.stop_strings = list(stop_strings)

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Rollout]]:
        """See `Engine`. Where one request has failed for good, what others had is yielded before the error is raised."""
        fit, overflow = fitting(
            requests, self.endpoint.text.tokenizer, context=self.endpoint.context, sampling=sampling
        )
        if overflow:
            yield overflow
        over = threading.Event()
        at_once = self.endpoint.concurrency
        with ThreadPoolExecutor(at_once) as pool:
            running: set[Future[Rollout]] = set()
            waiting = iter(fit)
            part: list[Rollout] = []
            sent = time.monotonic()
            try:
                while True:
                    for request, prompt in islice(waiting, 2 * at_once - len(running)):
                        running.add(pool.submit(self._draw, request, prompt, sampling, over))
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    failed = next((error for one in done if (error := one.exception())), None)
                    if failed:  # the rest may still be in time, but is not tried again
                        over.set()
                        rest = wait([one for one in running if not one.cancel()]).done
                        part += [one.result() for one in done | rest if not one.exception()]
                        if part:
                            yield part
                        raise failed
                    part += [one.result() for one in done]
                    if len(part) >= PART_ROWS or time.monotonic() > sent + PART_SECONDS:
                        yield part
                        part, sent = [], time.monotonic()
            finally:
                over.set()
                for one in running:
                    one.cancel()
        if part:
            yield part

    def _draw(self, request: Request, prompt: list[int], sampling: Sampling, over: threading.Event) -> Rollout:
        """One completion, tried again for as long as that may help. Raises UsageError when it does not."""
        body = {
            "model": self.endpoint.model,
            "prompt": prompt,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sample_seed(sampling, request),
            "stop": self.stop_strings or None,
            "logprobs": 0,
            "stop_token_ids": self.endpoint.text.stop_token_ids,
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "return_token_ids": True,
        }
        trying = Retrying(
            retry=retry_if_exception_type(TryAgainError),
            stop=lambda state: over.is_set() or state.attempt_number >= TRIES,
            wait=_backoff,
            sleep=sleep_using_event(over),
            reraise=True,
        )
        try:
            return self._rollout(request, prompt, sampling, trying(self.endpoint.ask, body))
        except TryAgainError as error:
            raise UsageError(
                f"{self.endpoint.url} failed {TRIES} times over ({error}). What was drawn is kept: see to the server and "
                f"type the same command again"
            ) from error

    def _rollout(self, request: Request, prompt: list[int], sampling: Sampling, answer: _Completion) -> Rollout:
        choice = answer.choices[0]
        ids, tokens = choice.token_ids, answer.usage.completion_tokens
        known = choice.logprobs.token_logprobs if choice.logprobs else []
        logprobs = [one for one in known if one is not None]
        return as_rollout(
            request,
            sampling,
            prompt_tokens=len(prompt),
            finish=choice.finish_reason,
            completion=choice.text
            if ids is None
            else self.endpoint.text.tokenizer.decode(ids, skip_special_tokens=True),
            completion_tokens=tokens if ids is None else len(ids),
            logprob=sum(logprobs) if len(logprobs) == tokens else math.nan,
        )


def _backoff(state: Try) -> float:
    """Seconds until the next try: what the server asked for, or 0.5 doubled up to 30 with jitter, whichever is more."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait_seconds if isinstance(error, TryAgainError) else 0.0
    return max(asked, wait_exponential_jitter(multiplier=0.5, max=30, jitter=0.5)(state))


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that a server asks to wait, at most a minute; 0 where it does not say so in seconds."""
    asked = answer.headers.get("retry-after", "")
    return min(60.0, float(asked)) if asked.isdecimal() else 0.0


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
