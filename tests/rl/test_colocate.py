"""vLLM inside the training process, for real: after every sync it must have the trainer's weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from baselines.tiny import END, architecture, tokenizer
from configs.errors import UsageError
from configs.load import load_template
from evals.rollouts import RolloutStore
from rewards.suites import load_problems
from rl.colocate import DriftGuard, _free_port

SETTINGS = {
    "engine": "vllm",
    "reward": "random",
    "grpo.max_steps": 3,
    "grpo.per_device_train_batch_size": 32,
    "grpo.num_generations": 4,
    "grpo.learning_rate": 3e-2,  # high enough that stale weights would show at the next step
    "grpo.vllm_max_model_length": 64,
    "audit.problems": 2,
    "audit.samples": 4,
    "audit.signal_problems": 2,
    "audit.every": 0,
    "audit.every_problems": 2,
    "audit.every_samples": 1,
}
LORA = {"lora": '{"r": 8, "lora_alpha": 64, "target_modules": "all-linear"}', "grpo.learning_rate": 1e-1}


@pytest.mark.parametrize(("tied", "lora"), [(True, False), (False, False), (True, True)])
def test_after_every_sync_vllm_has_the_weights_of_the_trainer(
    tied: bool, lora: bool, script: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = architecture()
    config.tie_word_embeddings = tied
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    settings = SETTINGS | (LORA if lora else {})
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    places = ["--suite", "sums-train", "--eval-suite", "sums", "--template", "qa", "--recipe", "tiny"]
    done = script("grpo", "--base", tmp_path / "base", *places, "--out", tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 3
    drift = max(row["sampling/sampling_logp_difference/mean"] for row in steps)
    assert drift < 1e-5
    assert max(row["sampling/sampling_logp_difference/max"] for row in steps) < 1e-3
    assert abs(steps[-1]["entropy"] - steps[0]["entropy"]) > 100 * drift  # the weights did move: stale ones would show


def test_a_run_through_vllm_is_audited_through_vllm_with_the_weights_of_that_moment(
    short_base: Path, script: Callable[..., Any], tmp_path: Path
) -> None:
    settings = SETTINGS | {"grpo.max_steps": 1, "grpo.learning_rate": 1e-3, "audit.problems": 8}
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    places = ["--suite", "sums-train", "--eval-suite", "sums", "--template", "qa", "--recipe", "tiny"]
    done = script("grpo", "--base", short_base, *places, "--out", tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    asked = {problem.id: load_template("qa").ask(problem.question) for problem in load_problems("sums").problems}
    for name, own, other in (
        ("start", short_base, tmp_path / "run/model"),
        ("end", tmp_path / "run/model", short_base),
    ):
        rows = list(RolloutStore(tmp_path / "run/rollouts" / f"audit-{name}").rows())
        assert len(rows) == 8 * 4
        scored = [
            (row["logprob"], asked[row["problem_id"]], row)
            for row in rows
            if row["finish"] == "stop" and len(row["completion"].encode()) + 1 == row["completion_tokens"]
        ]
        assert len(scored) > 4  # those that are text: a token is a byte, and this base writes others too
        apart = [
            max(abs(kept - likelihood(base, prompt, row)) for kept, prompt, row in scored) for base in (own, other)
        ]
        assert (
            apart[0] < 1e-3 < 1e-1 < apart[1]
        )  # transformers finds what vLLM said, in this model and not in the other


def likelihood(base: Path, prompt: str, row: dict[str, Any]) -> float:
    """Log-probability of a kept completion and its end token, by transformers."""
    model = LlamaForCausalLM.from_pretrained(base)
    reply = [*row["completion"].encode(), END]
    ids = torch.tensor([[*prompt.encode(), *reply]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0, -len(reply) - 1 : -1], dim=-1)
    return float(logprobs.gather(1, ids[0, -len(reply) :, None]).sum())


def test_a_sampler_that_drifts_stops_the_run_and_says_why() -> None:
    guard, state = DriftGuard(), SimpleNamespace(global_step=7)
    guard.on_log(None, state, None, {"sampling/sampling_logp_difference/mean": 0.01})
    guard.on_log(None, state, None, {"loss": 1.0})
    for drift in (0.2, float("nan")):
        with pytest.raises(UsageError, match="at step 7 the sampler's log-probabilities differ"):
            guard.on_log(None, state, None, {"sampling/sampling_logp_difference/mean": drift})


def test_runs_that_start_together_do_not_meet_at_one_port() -> None:
    assert len({_free_port() for _ in range(20)}) > 10  # TRL's own choice is 29500 twenty times
