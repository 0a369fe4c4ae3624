"""Sampling with transformers: the engine that training and audit share where vLLM is not used.

A sample's randomness comes from its own identity (seed, problem, sample number) and not from its place in a batch:
the same sample is drawn again whatever the batch size, and a killed audit goes on as if it had not been killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from configs.errors import UsageError
from evals.sampling import Finish, Request, Rollout, Sampling, as_rollout, fitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Token ids of one completion, end token included, and their log-probabilities at temperature 1."""

    token_ids: list[int]
    logprobs: list[float]
    finish: Finish


def uniforms(seed: int, identity: str, count: int) -> np.ndarray:
    """`count` numbers in [0, 1) that depend on the seed and the identity alone, on every machine."""
    key = int.from_bytes(hashlib.blake2b(f"{seed}|{identity}".encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key)).random(count)


class TransformersEngine:
    """Draws completions from a model in this process, left-padded, with a shared prefill for equal prompts.

    B = rows in a batch, T = tokens, V = vocabulary.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        stop_token_ids: Sequence[int],
        stop_strings: Sequence[str],
        batch_tokens: int = 40_000,
    ) -> None:
        """`batch_tokens` bounds rows x (prompt + completion) of one batch."""
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.stop_token_ids = list(stop_token_ids)
        self.stop_strings = tuple(stop_strings)
        self.batch_tokens = batch_tokens
        self._closing = self._tokens_that_may_close()

    def _tokens_that_may_close(self) -> torch.Tensor:
        """V flags: could this token hold the last character of a stop string? Only then is text looked at."""
        size = self.model.get_input_embeddings().weight.shape[0]
        flags = torch.zeros(size, dtype=torch.bool)
        if self.stop_strings:
            endings = {stop[-1] for stop in self.stop_strings}
            texts = self.tokenizer.batch_decode([[i] for i in range(min(size, len(self.tokenizer)))])
            flags[: len(texts)] = torch.tensor([not endings.isdisjoint(text) for text in texts])
        return flags

    def check_fits(self, prompts: Sequence[str], max_tokens: int, *, room: int | None = None) -> None:
        """Raises UsageError when the longest prompt and `max_tokens` new tokens exceed the context, or `room` where it is less."""
        known = [one for one in (getattr(self.model.config, "max_position_embeddings", None), room) if one]
        context = min(known, default=None)
        longest = max(len(ids) for ids in self.tokenizer(list(prompts))["input_ids"])
        if context and longest + max_tokens > context:
            raise UsageError(
                f"the longest prompt has {longest} tokens and with {max_tokens} new ones exceeds the context of {context}; "
                f"lower the completion length or choose a shorter --template"
            )

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Rollout]]:
        """Draw all that the context has room for, batch by batch; the rest comes back as `context`, first."""
        context = getattr(self.model.config, "max_position_embeddings", None)
        fit, overflow = fitting(requests, self.tokenizer, context=context, sampling=sampling)
        if overflow:
            yield overflow
        for batch in self.batches([request for request, _ in fit], sampling.max_tokens):
            yield self.sample(batch, sampling)

    def batches(self, requests: Sequence[Request], max_tokens: int) -> Iterator[list[Request]]:
        """Cut requests, in order, into batches that fit `batch_tokens`."""
        prompts = list(dict.fromkeys(request.prompt for request in requests))
        tokens = self.tokenizer(prompts)["input_ids"] if prompts else []
        lengths = dict(zip(prompts, map(len, tokens), strict=True))
        for part in self.cuts([lengths[request.prompt] for request in requests], max_tokens):
            yield list(requests[part])

    def cuts(self, lengths: Sequence[int], max_tokens: int) -> Iterator[slice]:
        """Slices of prompts of these lengths, in order, that each fit `batch_tokens`; one prompt at least."""
        start = longest = 0
        for place, length in enumerate(lengths):
            longest = max(longest, length)
            if place > start and (place + 1 - start) * (longest + max_tokens) > self.batch_tokens:
                yield slice(start, place)
                start, longest = place, length
        if start < len(lengths):
            yield slice(start, len(lengths))

    def sample(self, requests: Sequence[Request], sampling: Sampling) -> list[Rollout]:
        """Draw one completion per request, in order, as one batch."""
        prompts = self.tokenizer([request.prompt for request in requests])["input_ids"]
        identities = [f"{request.problem_id}|{request.sample}" for request in requests]
        drawn = self.draw(prompts, identities, sampling)
        texts = self.tokenizer.batch_decode([one.token_ids for one in drawn], skip_special_tokens=True)
        return [
            as_rollout(
                request,
                sampling,
                prompt_tokens=len(prompt),
                finish=one.finish,
                completion=text,
                completion_tokens=len(one.token_ids),
                logprob=float(sum(one.logprobs)),
            )
            for request, prompt, one, text in zip(requests, prompts, drawn, texts, strict=True)
        ]

    def draw(self, prompts: Sequence[list[int]], identities: Sequence[str], sampling: Sampling) -> list[Drawn]:
        """Draw one completion for each tokenized prompt. Rows that end leave the batch.

        A model that is being trained is as in use meanwhile: without dropout, and with a cache, which checkpointing of
        activations would take away.
        """
        training = self.model.training
        self.model.eval()
        try:
            return self._draw(prompts, identities, sampling)
        finally:
            self.model.train(training)

    @torch.no_grad()
    def _draw(self, prompts: Sequence[list[int]], identities: Sequence[str], sampling: Sampling) -> list[Drawn]:
        device = self.model.device
        width = max(map(len, prompts))
        rows = len(prompts)
        noise_BT = torch.from_numpy(np.stack([uniforms(sampling.seed, one, sampling.max_tokens) for one in identities]))
        noise_BT = noise_BT.to(device)
        logits_BV, cache, asked_BT = self._prefill(prompts, width)
        mask_BT = torch.nn.functional.pad(asked_BT, (0, sampling.max_tokens), value=1)

        tokens_BT = torch.zeros((rows, sampling.max_tokens), dtype=torch.long, device=device)
        logprobs_BT = torch.zeros((rows, sampling.max_tokens), device=device)
        length = torch.full((rows,), sampling.max_tokens)
        stopped = torch.zeros(rows, dtype=torch.bool)
        alive = torch.arange(rows, device=device)
        stops = torch.tensor(self.stop_token_ids, device=device)
        closing = self._closing.to(device)
        for t in range(sampling.max_tokens):
            token_B, logprob_B = _pick(logits_BV, noise_BT[alive, t], sampling)
            tokens_BT[alive, t] = token_B
            logprobs_BT[alive, t] = logprob_B
            ended = torch.isin(token_B, stops)
            for row in (closing[token_B] & ~ended).nonzero().flatten().tolist():
                text = self.tokenizer.decode(tokens_BT[alive[row], : t + 1])
                ended[row] = any(stop in text for stop in self.stop_strings)
            if ended.any():
                length[alive[ended].cpu()] = t + 1
                stopped[alive[ended].cpu()] = True
                keep = (~ended).nonzero().flatten()
                alive, token_B = alive[keep], token_B[keep]
                if len(alive) == 0:
                    break
                cache.batch_select_indices(keep)
            if t + 1 == sampling.max_tokens:
                break
            logits_BV, cache = self._forward(token_B[:, None], mask_BT[alive, : width + t + 1], cache)
        lists, logprobs = tokens_BT.tolist(), logprobs_BT.tolist()
        return [
            Drawn(
                token_ids=lists[row][: length[row]],
                logprobs=logprobs[row][: length[row]],
                finish="stop" if stopped[row] else "length",
            )
            for row in range(rows)
        ]

    def _prefill(self, prompts: Sequence[list[int]], width: int) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Run each different prompt once; logits, cache and mask are then copied to all rows that share it."""
        place: dict[tuple[int, ...], int] = {}
        row_to_unique = [place.setdefault(tuple(ids), len(place)) for ids in prompts]
        ids_BT = torch.full((len(place), width), self.tokenizer.pad_token_id, device=self.model.device)
        mask_BT = torch.zeros_like(ids_BT)
        for row, unique in enumerate(place):
            ids_BT[row, width - len(unique) :] = torch.tensor(unique)
            mask_BT[row, width - len(unique) :] = 1
        logits_BV, cache = self._forward(ids_BT, mask_BT, None)
        if len(place) < len(prompts):
            index = torch.tensor(row_to_unique, device=self.model.device)
            cache.batch_select_indices(index)
            logits_BV, mask_BT = logits_BV[index], mask_BT[index]
        return logits_BV, cache, mask_BT

    def _forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        """Logits after the last token of each row, and the cache with `ids_BT` in it."""
        positions = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        out = self.model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float(), out.past_key_values


def _pick(logits_BV: torch.Tensor, noise_B: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """A token for each row by inverting the cumulative distribution, and its log-probability at temperature 1.

    The cumulative sum is in float64: in float32 a vocabulary of 150,000 would shift tail tokens.
    """
    logprobs_BV = torch.log_softmax(logits_BV, -1)
    if sampling.temperature == 0:
        token_B = logits_BV.argmax(-1)
    else:
        probs_BV = torch.softmax(logits_BV / sampling.temperature, -1)
        if sampling.top_p < 1:
            order_BV = probs_BV.argsort(-1, descending=True)
            sorted_BV = probs_BV.gather(-1, order_BV)
            before_BV = sorted_BV.cumsum(-1) - sorted_BV
            outside_BV = torch.zeros_like(probs_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV >= sampling.top_p)
            probs_BV = probs_BV.masked_fill(outside_BV, 0)
        cdf_BV = probs_BV.double().cumsum(-1)
        target_B1 = (noise_B * cdf_BV[:, -1])[:, None]
        token_B = torch.searchsorted(cdf_BV, target_B1, right=True)[:, 0].clamp(max=logits_BV.shape[-1] - 1)
    return token_B, logprobs_BV.gather(-1, token_B[:, None])[:, 0]
