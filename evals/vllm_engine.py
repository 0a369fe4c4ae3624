"""Sampling with vLLM: one process for each engine, one engine for each GPU (or group of GPUs), prompts shared by prefix caching.

Every sample has a seed of its own, made from (seed, problem, sample number), so its random numbers do not depend on
its place in a batch, on the number of engines, or on whether the audit was killed on the way. Its logits do, in their
last digits: vLLM batches what is there. A sample drawn again is the same unless rounding tips a token, which is rare in
float32 and common in bfloat16; where that matters, VLLM_BATCH_INVARIANT=1 removes it on GPUs that vLLM lists for it.
The numbers are torch's, of the device, so no sample equals one that the transformers engine draws: only their
distribution does. Seeds are given a request and not a prompt: vLLM itself splits n samples of a prompt into n requests.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol

from configs.errors import UsageError
from evals.models import BaseText
from evals.sampling import Finish, Request, Rollout, Sampling, as_rollout, fitting, sample_seed

PART_ROWS, PART_SECONDS = 512, 5.0
"""A part is sent home when it has so many rows or so much time has passed: what a kill can lose."""

WAITING = 512
"""Requests that vLLM holds at once, running or not: enough for any batch, and memory stays flat."""

ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the model in the engine's own process: starts in half the time
}


UNCUT = {"enable_chunked_prefill": False}
"""On a CPU: vLLM 0.31 rewinds the generator of a prompt that is read in pieces, which CPU generators cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one engine runs: the visible devices it may see, joined by commas (empty: the CPU)."""

    devices: str
    tensor_parallel: int


def placements(tensor_parallel: int) -> list[Placement]:
    """One engine for each group of `tensor_parallel` visible GPUs, or one on the CPU.

    Raises UsageError where there are fewer GPUs than one group takes.
    """
    import torch

    if not torch.cuda.is_available():
        if tensor_parallel > 1:
            raise UsageError(
                f"--tensor-parallel {tensor_parallel} needs as many GPUs, and none is visible; leave it out"
            )
        return [Placement(devices="", tensor_parallel=1)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    devices = visible.split(",")
    if len(devices) < tensor_parallel:
        raise UsageError(f"--tensor-parallel {tensor_parallel} is more than the {len(devices)} visible GPUs; lower it")
    groups = [devices[i : i + tensor_parallel] for i in range(0, len(devices) - tensor_parallel + 1, tensor_parallel)]
    return [Placement(devices=",".join(group), tensor_parallel=tensor_parallel) for group in groups]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One completion as an engine's process is asked for it. `place` is its number in the request list."""

    place: int
    prompt: list[int]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One completion as it comes home: token ids, end token included, and the sum of their log-probabilities."""

    place: int
    token_ids: list[int]
    logprob: float
    finish: Finish


class VllmEngines:
    """vLLM in processes of their own, loaded at the first request and ended with the `with` block.

    A process ends by itself when this one is gone, however that happened: its pipe closes.
    """

    def __init__(self, text: BaseText, places: Sequence[Placement], *, dtype: str, room: int) -> None:
        """`room` is the longest prompt and completion together, in tokens: the length that vLLM plans for."""
        self.text, self.places = text, list(places)
        on_cpu = not self.places[0].devices
        self.settings: dict[str, Any] = {
            "model": text.folder,
            "tokenizer": text.folder,
            "revision": text.revision,
            "tokenizer_revision": text.revision,
            "dtype": ("float32" if on_cpu else "bfloat16") if dtype == "auto" else dtype,
            "max_model_len": room,
            "enforce_eager": on_cpu,  # compiling takes 16 to 90 s on a CPU
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # nothing of the model's own taste in sampling
            "tensor_parallel_size": self.places[0].tensor_parallel,
        }
        if on_cpu:
            self.settings |= {**UNCUT, "max_num_batched_tokens": max(4096, room)}
        self._processes: list[Any] = []
        self._asks: list[Connection] = []  # one way each: closing an ask ends its process, whatever is being read
        self._answers: list[Connection] = []

    def __enter__(self) -> VllmEngines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in self._asks:
            pipe.close()
        for process in self._processes:
            process.join(30)
            if process.is_alive():
                process.kill()
        self._processes, self._asks, self._answers = [], [], []

    def engine(self, stop_strings: Sequence[str]) -> VllmEngine:
        """An engine with these stop strings; all engines share the loaded weights."""
        return VllmEngine(self, stop_strings)

    def start(self) -> None:
        """Load the model in every process, all at once. Does nothing where that is done."""
        if self._processes:
            return
        spawn = multiprocessing.get_context("spawn")
        for place in self.places:
            asked, ask = spawn.Pipe(duplex=False)
            answer, answered = spawn.Pipe(duplex=False)
            process = spawn.Process(target=_serve, args=(asked, answered, self.settings, place.devices))
            process.start()
            asked.close()
            answered.close()
            self._processes.append(process)
            self._asks.append(ask)
            self._answers.append(answer)
        for process, answer in zip(self._processes, self._answers, strict=True):
            _receive(process, answer)

    def draw(self, shares: Sequence[list[Job]], params: dict[str, Any]) -> Iterator[list[Drawn]]:
        """Draw each engine's share; parts come as they are ready, of any engine.

        Raises UsageError where an engine has died, after the others have drawn all of theirs.
        """
        self.start()
        ready: queue.SimpleQueue[list[Drawn] | UsageError | None] = queue.SimpleQueue()
        for share, process, ask, answer in zip(shares, self._processes, self._asks, self._answers, strict=False):
            with suppress(OSError):  # a process that is gone is found so below
                ask.send((share, params))
            threading.Thread(target=_pump, args=(process, answer, ready), daemon=True).start()
        working, dead = len(shares), None
        while working:
            part = ready.get()
            if isinstance(part, list):
                yield part
            else:
                working, dead = working - 1, part or dead
        if dead:
            raise dead


def _pump(process: Any, answer: Connection, ready: queue.SimpleQueue[list[Drawn] | UsageError | None]) -> None:
    """Keep an engine's pipe empty, so that it goes on drawing while its completions are graded."""
    part: list[Drawn] | UsageError | None = []
    while isinstance(part, list):
        try:
            part = _receive(process, answer)
        except UsageError as error:
            part = error
        ready.put(part)


def _receive(process: Any, answer: Connection) -> list[Drawn] | None:
    try:
        return answer.recv()
    except (EOFError, OSError) as error:
        process.join(5)
        raise UsageError(
            f"the vLLM process ended (exit code {process.exitcode}); its last words stand above. What was drawn is kept: "
            f"type the same command again, or begin anew with --engine transformers and another --out"
        ) from error


class Drawing(Protocol):
    """vLLM wherever it runs: in processes of its own, or inside the one that trains."""

    text: BaseText

    @property
    def places(self) -> Sequence[Any]:
        """As many as there are engines to share the work."""
        ...

    def draw(self, shares: Sequence[list[Job]], params: dict[str, Any]) -> Iterator[list[Drawn]]:
        """Draw each engine's share; parts come as they are ready, of any engine."""
        ...


class VllmEngine:
    """Draws with `engines` and ends completions at these stop strings, as the transformers engine does."""

    def __init__(self, engines: Drawing, stop_strings: Sequence[str]) -> None:
        self.engines = engines
        self.stop_strings = list(stop_strings)

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Rollout]]:
        """See `Engine`. A problem's samples go to one engine, whose prefix cache then serves them all."""
        text = self.engines.text
        fit, overflow = fitting(requests, text.tokenizer, context=text.context, sampling=sampling)
        if overflow:
            yield overflow
        if not fit:
            return
        shares: list[list[Job]] = [[] for _ in self.engines.places]
        turn = {id: i % len(shares) for i, id in enumerate(dict.fromkeys(request.problem_id for request, _ in fit))}
        for place, (request, prompt) in enumerate(fit):
            job = Job(place=place, prompt=prompt, seed=sample_seed(sampling, request))
            shares[turn[request.problem_id]].append(job)
        for part in self.engines.draw([share for share in shares if share], self.params(sampling)):
            texts = text.tokenizer.batch_decode([one.token_ids for one in part], skip_special_tokens=True)
            yield [
                as_rollout(
                    fit[one.place][0],
                    sampling,
                    prompt_tokens=len(fit[one.place][1]),
                    finish=one.finish,
                    completion=completion,
                    completion_tokens=len(one.token_ids),
                    logprob=one.logprob,
                )
                for one, completion in zip(part, texts, strict=True)
            ]

    def params(self, sampling: Sampling) -> dict[str, Any]:
        """vLLM's SamplingParams, all but the seed. A stop string is looked for in text that shows special tokens."""
        if sampling.temperature > 2:
            raise UsageError("vLLM draws at temperatures up to 2; lower --temperature or add --engine transformers")
        return {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "stop": self.stop_strings or None,
            "stop_token_ids": self.engines.text.stop_token_ids,
            "ignore_eos": True,  # the stop ids say it all
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
            "detokenize": bool(self.stop_strings),
            "logprobs": 0,  # of the drawn token, before temperature
        }


def _serve(asked: Connection, answered: Connection, settings: dict[str, Any], devices: str) -> None:
    """An engine's process: load, say so, then answer (jobs, parameters) with parts and a None, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes the pipe
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    else:
        for name, value in ON_CPU.items():
            os.environ.setdefault(name, value)

    from vllm import LLM

    llm = LLM(**settings)
    try:
        answered.send(None)
        while True:
            jobs, params = asked.recv()
            for part in draw(llm, jobs, params, ended=asked.poll):
                answered.send(part)
            answered.send(None)
    except (EOFError, BrokenPipeError):
        return


def draw(llm: Any, jobs: Sequence[Job], params: dict[str, Any], *, ended: Callable[[], bool]) -> Iterator[list[Drawn]]:
    """Draw with one vLLM, by its own engine's steps, until all is drawn or `ended` says that nobody waits for it."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = llm.llm_engine
    kind = RequestOutputKind.FINAL_ONLY
    waiting = iter(jobs)
    part: list[Drawn] = []
    sent = time.monotonic()
    while not ended():
        for job in itertools.islice(waiting, WAITING - engine.get_num_unfinished_requests()):
            asked = SamplingParams(**params, seed=job.seed, output_kind=kind)
            engine.add_request(str(job.place), {"prompt_token_ids": job.prompt}, asked)
        if not engine.has_unfinished_requests():
            break
        part += [_drawn(output) for output in engine.step() if output.finished]
        if len(part) >= PART_ROWS or (part and time.monotonic() > sent + PART_SECONDS):
            yield part
            part, sent = [], time.monotonic()
    if part:
        yield part


def _drawn(output: Any) -> Drawn:
    (one,) = output.outputs
    if one.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM gave up on a completion: {one.finish_reason}")
    return Drawn(
        place=int(output.request_id),
        token_ids=list(one.token_ids),
        logprob=one.cumulative_logprob,
        finish=one.finish_reason,
    )
