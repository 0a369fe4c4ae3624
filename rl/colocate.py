"""vLLM inside the training process, on a CPU by the same code of TRL's as on a GPU.

vLLM for CPUs repacks linear weights when it loads them, and TRL's sync writes into the live model, where the packed copies
would stay as they were. So on a CPU they are left unpacked, and vLLM is given the trainer's precision, which it would
otherwise lower by itself. On a GPU nothing here changes anything.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from transformers import TrainerCallback

from configs.errors import UsageError

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

    utils.dispatch_cpu_unquantized_gemm = unpacked  # type: ignore[assignment]
    dtype = str(model.dtype).removeprefix("torch.")
    built = getattr(vllm_generation.LLM, "func", vllm_generation.LLM)  # a second run in one process wraps once
    vllm_generation.LLM = partial(built, dtype=dtype, enforce_eager=True)  # type: ignore[misc]


def _free_port() -> int:
    """A port that the system gives: TRL takes 29500 wherever that is free yet, and two runs that start together collide."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


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
