"""The sampling engine against transformers' own generate, a plain forward pass, and the distribution it should draw from."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from baselines.tiny import tokenizer
from configs.errors import UsageError
from evals.engine import Drawn, TransformersEngine
from evals.sampling import Request, Sampling

PROMPTS = ["a", "Question: 123+456=?\nAnswer:", "12+", "the same text again", "x" * 40, "the same text again"]
GREEDY = Sampling(temperature=0, top_p=1.0, max_tokens=24, seed=0)
PLAIN = Sampling(temperature=1.0, top_p=1.0, max_tokens=24, seed=7)


def engine_of(model: Any, *, stops: tuple[int, ...] = (256,), strings: tuple[str, ...] = ()) -> TransformersEngine:
    return TransformersEngine(model, tokenizer(), stop_token_ids=stops, stop_strings=strings)


@pytest.fixture(scope="module")
def engine(model: LlamaForCausalLM) -> TransformersEngine:
    return engine_of(model)


def tokenized(prompts: list[str]) -> list[list[int]]:
    return tokenizer()(prompts)["input_ids"]


def names(prompts: list[str]) -> list[str]:
    return [f"problem|{place}" for place in range(len(prompts))]


def test_greedy_drawing_is_what_generate_gives(model: LlamaForCausalLM, engine: TransformersEngine) -> None:
    common = Counter(
        token for one in engine.draw(tokenized(PROMPTS), names(PROMPTS), GREEDY) for token in one.token_ids
    )
    ends = [256, *[token for token, _ in common.most_common(3)]]  # so that some rows end early and leave the batch
    drawn = engine_of(model, stops=tuple(ends)).draw(tokenized(PROMPTS), names(PROMPTS), GREEDY)
    padded = tokenizer()(PROMPTS, return_tensors="pt", padding=True)
    assert padded["input_ids"].shape[1] > min(map(len, tokenized(PROMPTS)))
    rows = model.generate(**padded, do_sample=False, max_new_tokens=24, eos_token_id=ends, pad_token_id=257)
    for one, row in zip(drawn, rows[:, padded["input_ids"].shape[1] :].tolist(), strict=True):
        length = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
        assert one.token_ids == row[:length]
        assert one.finish == ("stop" if row[length - 1] in ends else "length")
    assert {one.finish for one in drawn} == {"stop", "length"}


def test_a_sample_does_not_depend_on_what_else_is_in_the_batch(engine: TransformersEngine) -> None:
    ids, who = tokenized(PROMPTS), names(PROMPTS)
    together = engine.draw(ids, who, PLAIN)
    alone = [engine.draw([one], [name], PLAIN)[0] for one, name in zip(ids, who, strict=True)]
    backwards = engine.draw(ids[::-1], who[::-1], PLAIN)[::-1]
    halves = engine.draw(ids[:2], who[:2], PLAIN) + engine.draw(ids[2:], who[2:], PLAIN)
    for other in (alone, backwards, halves):
        assert [one.token_ids for one in other] == [one.token_ids for one in together]
        for one, same in zip(other, together, strict=True):
            np.testing.assert_allclose(one.logprobs, same.logprobs, atol=1e-4)
    assert together[3].token_ids != together[5].token_ids  # one prompt, two samples


def test_another_seed_draws_other_samples(engine: TransformersEngine) -> None:
    ids, who = tokenized(PROMPTS), names(PROMPTS)
    first, second = (engine.draw(ids, who, replace(PLAIN, seed=seed)) for seed in (1, 2))
    assert all(one.token_ids != other.token_ids for one, other in zip(first, second, strict=True))


def next_probabilities(model: LlamaForCausalLM, prompt: str, temperature: float) -> np.ndarray:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(tokenized([prompt]))).logits[0, -1].double()
    return torch.softmax(logits / temperature, -1).numpy()


def first_tokens(engine: TransformersEngine, prompt: str, sampling: Sampling, count: int) -> np.ndarray:
    ids = tokenized([prompt])[0]
    drawn: list[Drawn] = []
    for start in range(0, count, 4000):
        who = [f"first|{place}" for place in range(start, min(start + 4000, count))]
        drawn += engine.draw([ids] * len(who), who, replace(sampling, max_tokens=1))
    return np.bincount([one.token_ids[0] for one in drawn], minlength=258)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_first_tokens_are_drawn_from_the_softmax(
    model: LlamaForCausalLM, engine: TransformersEngine, temperature: float
) -> None:
    count = 20_000
    found = first_tokens(engine, "Question: 1", replace(PLAIN, temperature=temperature), count)
    expected = count * next_probabilities(model, "Question: 1", temperature)
    often = expected >= 5
    assert often.sum() > 20
    pooled = [np.append(each[often], each[~often].sum()) for each in (found, expected)]
    assert chisquare(*pooled).pvalue > 1e-3


def test_top_p_keeps_the_nucleus_and_nothing_else(model: LlamaForCausalLM, engine: TransformersEngine) -> None:
    count = 8_000
    probabilities = next_probabilities(model, "Question: 1", 1.0)
    order = np.argsort(-probabilities)
    size = int(np.searchsorted(probabilities[order].cumsum(), 0.7)) + 1  # the fewest tokens that hold 70%
    found = first_tokens(engine, "Question: 1", replace(PLAIN, top_p=0.7), count)
    assert set(found.nonzero()[0]) <= set(order[:size])
    inside = probabilities[order[:size]]
    assert chisquare(found[order[:size]], count * inside / inside.sum()).pvalue > 1e-3
    one = first_tokens(engine, "Question: 1", replace(PLAIN, top_p=1e-6), 50)
    assert set(one.nonzero()[0]) == {order[0]}


@pytest.mark.parametrize("sampling", [PLAIN, replace(PLAIN, temperature=0.5), replace(PLAIN, top_p=0.5), GREEDY])
def test_logprobs_are_those_of_a_plain_forward_pass_at_temperature_one(
    model: LlamaForCausalLM, engine: TransformersEngine, sampling: Sampling
) -> None:
    ids = tokenized(PROMPTS)
    for prompt, one in zip(ids, engine.draw(ids, names(PROMPTS), sampling), strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + one.token_ids])).logits[0, len(prompt) - 1 : -1]
        mine = torch.log_softmax(logits.float(), -1).gather(-1, torch.tensor(one.token_ids)[:, None])[:, 0]
        np.testing.assert_allclose(one.logprobs, mine.numpy(), atol=1e-4)


def test_a_shared_prefill_changes_nothing(engine: TransformersEngine) -> None:
    requests = [
        Request(problem_id=str(problem), sample=sample, prompt=prompt)
        for problem, prompt in enumerate(["12+", "a much longer prompt"])
        for sample in range(4)
    ]
    together = engine.sample(requests, PLAIN)
    alone = [engine.sample([request], PLAIN)[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert replace(one, logprob=0) == replace(other, logprob=0)
    assert [one.prompt_tokens for one in together] == [3] * 4 + [20] * 4
    assert all(one.completion_tokens <= 24 for one in together)


@pytest.fixture(scope="module")
def trained(short_base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(short_base)


def test_a_stop_string_ends_a_row_with_the_token_that_completes_it(trained: Any) -> None:
    ids = tokenized(["Question: 123+456=?\nAnswer:", "Notebook: 1"] * 8)
    who = names([""] * 16)
    free = engine_of(trained).draw(ids, who, PLAIN)
    texts = [bytes(token for token in one.token_ids if token < 256).decode(errors="replace") for one in free]
    stops = (texts[0][3:6], texts[1][2:4], "o n")  # some rows meet them, some do not
    cut = engine_of(trained, strings=stops).draw(ids, who, PLAIN)
    for before, after in zip(free, cut, strict=True):
        read = [
            bytes(token for token in before.token_ids[:t] if token < 256) for t in range(1, len(before.token_ids) + 1)
        ]
        met = [t for t, text in enumerate(read, start=1) if any(stop.encode() in text for stop in stops)]
        length = met[0] if met else len(before.token_ids)
        assert after.token_ids == before.token_ids[:length]
        assert after.finish == ("stop" if met else before.finish)
    assert any(len(after.token_ids) < len(before.token_ids) for before, after in zip(free, cut, strict=True))


def test_finish_says_stop_at_an_end_token_and_length_at_the_limit(trained: Any) -> None:
    engine = engine_of(trained)
    prompts = ["Question: 123+456=?\nAnswer:"] * 32
    long = engine.draw(tokenized(prompts), names(prompts), replace(PLAIN, max_tokens=60))
    assert any(one.finish == "stop" for one in long)
    for one in long:
        assert (one.finish == "stop") == (one.token_ids[-1] == 256)
        assert one.finish == "stop" or len(one.token_ids) == 60
        assert 256 not in one.token_ids[:-1]
    ended = next(place for place, one in enumerate(long) if one.finish == "stop")
    short = len(long[ended].token_ids) - 1
    assert short > 0
    cut = engine.draw([tokenized(prompts)[ended]], [names(prompts)[ended]], replace(PLAIN, max_tokens=short))[0]
    assert (cut.token_ids, cut.finish) == (long[ended].token_ids[:short], "length")
    text = engine.sample(
        [Request(problem_id="problem", sample=ended, prompt=prompts[0])], replace(PLAIN, max_tokens=60)
    )[0]
    assert text.completion_tokens == len(long[ended].token_ids)  # the end token counts
    assert "<|endoftext|>" not in text.completion


def test_batches_keep_order_and_stay_within_the_budget(model: LlamaForCausalLM) -> None:
    engine = TransformersEngine(model, tokenizer(), stop_token_ids=[256], stop_strings=[], batch_tokens=200)
    requests = [Request(problem_id=str(i), sample=0, prompt="x" * (1 + 37 * i % 50)) for i in range(60)]
    batches = list(engine.batches(requests, 24))
    assert [one for batch in batches for one in batch] == requests
    assert all(len(batch) * (max(len(one.prompt) for one in batch) + 24) <= 200 for batch in batches)
    for batch, after in itertools.pairwise(batches):  # as full as order allows
        wider = max(len(one.prompt) for one in [*batch, after[0]]) + 24
        assert (len(batch) + 1) * wider > 200
    alone = list(engine.batches([Request(problem_id="0", sample=0, prompt="x" * 300)], 24))
    assert len(alone) == 1  # too wide for the budget: drawn by itself, not dropped


def test_a_prompt_that_does_not_fit_the_context_is_refused(engine: TransformersEngine) -> None:
    engine.check_fits(["x" * 10, "x" * 500], 12)
    with pytest.raises(UsageError, match=r"longest prompt has 501 tokens.* context of 512"):
        engine.check_fits(["x" * 10, "x" * 501], 12)
