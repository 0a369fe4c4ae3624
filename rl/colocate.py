"""vLLM inside the training process, on a CPU by the same code of TRL's as on a GPU.

vLLM for CPUs repacks linear weights when it loads them, and TRL's sync writes into the live model, where the packed copies
would stay as they were. So on a CPU they are left unpacked, and vLLM is given the trainer's precision, which it would
otherwise lower by itself. On a GPU nothing here changes anything.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from configs.errors import UsageError
from evals.models import BaseText
from evals.vllm_engine import UNCUT, Drawn, Job, draw

DRIFT = 0.1
"""Largest mean difference between the log-probabilities of sampler and trainer: 1e-6 in float32, a few hundredths in
bfloat16; stale weights reach 0.2 within a dozen steps and rise from there."""


def prepare(model: Any) -> None:
    """Make vLLM ready to be built by TRL in this process. Raises UsageError when vLLM is not installed."""
    if find_spec("vllm") is None:
        raise UsageError(
            "engine: vllm needs vLLM, which is not installed; type: make setup-vllm, or --set engine=transformers"
        )
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # TRL reaches into the engine, so it must be in here
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    if torch.cuda.is_available():
        return
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from trl.generation import vllm_generation
    from vllm.model_executor.layers import utils

    def unpacked(layer: torch.nn.Module, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear  # type: ignore[assignment, arg-type]  # pyright: ignore

    from vllm import LLM

    def on_cpu(**settings: Any) -> Any:
        room = settings.get("max_model_len") or model.config.max_position_embeddings
        own = {"dtype": str(model.dtype).removeprefix("torch."), "enforce_eager": True, **UNCUT}
        return LLM(**{**settings, **own, "max_num_batched_tokens": max(room, settings["max_num_batched_tokens"])})

    utils.dispatch_cpu_unquantized_gemm = unpacked  # type: ignore[assignment]
    vllm_generation.LLM = on_cpu  # type: ignore[misc, assignment]


def _free_port() -> int:
    """A port that the system gives: TRL takes 29500 wherever that is free yet, and two runs that start together collide."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


class Inside:
    """TRL's vLLM of this process as something to audit with: what training draws with is what is measured.

    All processes audit at once, a share each.
    """

    places = (None,)

    def __init__(self, trainer: GRPOTrainer, text: BaseText) -> None:
        """`text` is of the base; its context becomes the length that this vLLM was built for."""
        self.trainer, self.vllm = trainer, trainer.vllm_generation
        self.text = replace(text, context=self.vllm.llm.llm_engine.model_config.max_model_len)

    def renew(self) -> None:
        """Give vLLM the trainer's weights where it has not those of this step. All processes must call this together."""
        step = self.trainer.state.global_step
        if step != self.trainer._last_loaded_step:
            self.vllm.sync_weights()
            self.trainer._last_loaded_step = step

    def draw(self, shares: Sequence[list[Job]], params: dict[str, Any]) -> Iterator[list[Drawn]]:
        """See `Drawing`. TRL has vLLM tell log-probabilities as they are drawn by: at another temperature than 1 or
        within a nucleus they are not the base's own, and NaN here."""
        own = params["temperature"] == 1 and params["top_p"] == 1
        for part in draw(self.vllm.llm, shares[0], params, ended=lambda: False):
            yield part if own else [replace(one, logprob=math.nan) for one in part]


class DriftGuard(TrainerCallback):
    """Stops a run whose sampler no longer has the trainer's weights: its rewards would go on looking well."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        drift = (logs or {}).get("sampling/sampling_logp_difference/mean")
        if drift is not None and not drift <= DRIFT:
            raise UsageError(
                f"at step {state.global_step} the sampler's log-probabilities differ from the trainer's by {drift:.3f} on average: "
                "weights did not reach vLLM, or precisions differ; type --set engine=transformers, or check the versions "
                "of vllm and trl against requirements.txt"
            )
