"""Arithmetic, memory and money of a language model, from its shapes: nothing here loads one.

FLOP counts a multiplication and an addition as two. Model FLOPs are what the mathematics needs (Chowdhery et al. 2022,
PaLM, appendix B); recomputation under gradient checkpointing costs time but is not counted in MFU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.errors import UsageError, nearest
from configs.load import load_device, names
from configs.schema import Architecture, Device, Experts, Latent, Precision

BYTES: dict[Precision, float] = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "fp4": 0.5}
"""Bytes of one stored value. TF32 is a way to multiply float32 values, which stay 4 bytes."""

TRAINING = 6.0
"""k: FLOPs per active weight and token of forward (2) and backward (4) (Kaplan et al. 2020, table 1)."""
CHECKPOINTED = 8.0
"""k of what the hardware does when the backward pass first repeats the forward."""
ADAPTER = 4.0
"""k when the weights are frozen: gradients of activations, none of weights."""
HOUR = 3600


# --- shapes -------------------------------------------------------------------------------------------------------


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Shapes from the `config.json` of a transformers model (Llama, Qwen, Mistral, Gemma, OLMo and DeepSeek families).

    Raises UsageError for a model that is not a decoder of these shapes.
    """
    needed = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    if missing := [key for key in needed if key not in config]:
        raise UsageError(f"config.json says nothing of {', '.join(missing)}; name a base of configs/bases instead")
    heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
    latent, experts = None, None
    if config.get("kv_lora_rank"):
        latent = Latent(
            query_rank=config.get("q_lora_rank"),
            kv_rank=config["kv_lora_rank"],
            nope_dim=config["qk_nope_head_dim"],
            rope_dim=config["qk_rope_head_dim"],
            value_dim=config["v_head_dim"],
        )
    if routed := config.get("n_routed_experts"):
        experts = Experts(
            routed=routed,
            active=config["num_experts_per_tok"],
            shared=config.get("n_shared_experts") or 0,
            intermediate=config["moe_intermediate_size"],
            dense_layers=config.get("first_k_dense_replace", 0),
        )
    elif config.get("num_experts") or config.get("num_local_experts"):
        raise UsageError("the experts of this config.json are named in a way that is not known here")
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    kinds = config.get("layer_types") or ["sliding_attention"] * layers
    windowed = kinds.count("sliding_attention") if window else 0
    return Architecture(
        layers=layers,
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
        latent=latent,
        experts=experts,
        window=window if windowed else None,
        windowed_layers=windowed,
    )


def _attention_weights(shape: Architecture) -> int:
    """Weights of one layer's projections to query, key, value and output."""
    if shape.latent is None:
        return 2 * shape.hidden * shape.head_dim * (shape.heads + shape.kv_heads)
    part = shape.latent
    query_key = shape.heads * (part.nope_dim + part.rope_dim)
    rank = part.query_rank
    query = shape.hidden * query_key if rank is None else rank * (shape.hidden + query_key)
    down = shape.hidden * (part.kv_rank + part.rope_dim)
    up = part.kv_rank * shape.heads * (part.nope_dim + part.value_dim)
    return query + down + up + shape.heads * part.value_dim * shape.hidden


def _mlp_weights(shape: Architecture, *, active: bool) -> int:
    """Weights of all layers' MLPs: gate, up and down; of experts all, or those that one token meets."""
    dense = 3 * shape.hidden * shape.intermediate
    experts = shape.experts
    if experts is None:
        return shape.layers * dense
    met = experts.shared + (experts.active if active else experts.routed)
    routed = 3 * shape.hidden * experts.intermediate * met + shape.hidden * experts.routed
    return experts.dense_layers * dense + (shape.layers - experts.dense_layers) * routed


def weights(shape: Architecture, *, active: bool = False) -> int:
    """Weights in matrices, embeddings included and tied ones once. Norms and biases, below 0.1%, are left out.

    `active` counts of the experts those that one token meets.
    """
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return embeddings + shape.layers * _attention_weights(shape) + _mlp_weights(shape, active=active)


def multiplied_weights(shape: Architecture) -> int:
    """Weights that one token is multiplied with: the active ones, the output head once, no embedding look-up."""
    head = shape.vocabulary * shape.hidden
    return head + shape.layers * _attention_weights(shape) + _mlp_weights(shape, active=True)


# --- arithmetic ---------------------------------------------------------------------------------------------------


def attended(length: np.ndarray | float, window: int | None = None, *, causal: bool = True) -> np.ndarray:
    """Query-key pairs in a sequence of `length` tokens, its own position included.

    `causal=False` counts the whole square, which is what a kernel computes that masks afterwards.

    >>> float(attended(4)), float(attended(4, window=2)), float(attended(4, causal=False))
    (10.0, 7.0, 16.0)
    """
    length = np.asarray(length, dtype=float)
    if not causal:
        return length**2
    inside = np.minimum(length, window) if window else length
    return inside * (inside + 1) / 2 + (length - inside) * inside


def forward_flops(
    shape: Architecture, length: np.ndarray | float, *, start: np.ndarray | float = 0, causal: bool = True
) -> np.ndarray:
    """FLOPs to run a sequence from token `start` to token `length`, earlier ones being in the KV cache.

    2 per weight and token, and per query-key pair 2 for the score and 2 for the value in every head dimension. Drawing
    tokens one by one with a cache takes as much as running the whole sequence at once. Latent attention is counted with
    keys and values written out, as in training; engines that fold the projections in do more per pair.
    """
    new = np.asarray(length, dtype=float) - start
    if shape.latent:
        per_pair = 2 * shape.heads * (shape.latent.nope_dim + shape.latent.rope_dim + shape.latent.value_dim)
    else:
        per_pair = 4 * shape.heads * shape.head_dim
    full = attended(length, causal=causal) - attended(start, causal=causal)
    near = attended(length, shape.window, causal=causal) - attended(start, shape.window, causal=causal)
    pairs = (shape.layers - shape.windowed_layers) * full + shape.windowed_layers * near
    return 2 * multiplied_weights(shape) * new + per_pair * pairs


def training_flops(
    shape: Architecture, length: np.ndarray | float, *, k: float = TRAINING, causal: bool = True
) -> np.ndarray:
    """FLOPs of one optimizer pass over a sequence; k = 6 makes it three times the forward pass, attention included."""
    return k / 2 * forward_flops(shape, length, causal=causal)


def simple_training_flops(*, active: float, tokens: float, k: float = TRAINING) -> float:
    """The rule of thumb k x active weights x tokens, without the attention term.

    >>> f"{simple_training_flops(active=37e9, tokens=14.8e12):.4e}"
    '3.2856e+24'
    """
    return k * active * tokens


def gpu_hours(*, flops: float, peak_tflops: float, mfu: float) -> float:
    """Hours of one GPU to do `flops` at a share `mfu` of its peak."""
    return flops / (peak_tflops * 1e12 * mfu) / HOUR


def mfu(*, flops: float, hours: float, peak_tflops: float) -> float:
    """Model FLOPs utilization: model FLOPs over what `hours` of GPU time could do at peak (PaLM, appendix B)."""
    return flops / (hours * HOUR * peak_tflops * 1e12)


# --- memory -------------------------------------------------------------------------------------------------------


def kv_values(shape: Architecture) -> int:
    """Values cached per token over all layers: 2 x kv_heads x head_dim, or kv_rank + rope_dim with latent attention."""
    per_layer = 2 * shape.kv_heads * shape.head_dim
    if shape.latent:
        per_layer = shape.latent.kv_rank + shape.latent.rope_dim
    return shape.layers * per_layer


def kv_variants(shape: Architecture) -> dict[str, int]:
    """Values cached per token, had the same heads been built as MHA, GQA, MQA or MLA (DeepSeek-V2, table 1).

    GQA takes the model's own kv_heads, or 8 where it has as many as heads. MLA takes the model's own ranks, or DeepSeek's
    choice of 4 head dimensions of content and half a one of position.
    """
    whole = shape.layers * 2 * shape.head_dim
    groups = shape.kv_heads if shape.kv_heads < shape.heads else min(8, shape.heads)
    latent = kv_values(shape) if shape.latent else round(shape.layers * 4.5 * shape.head_dim)
    return {"MHA": whole * shape.heads, "GQA": whole * groups, "MQA": whole, "MLA": latent}


def kv_bytes(shape: Architecture, tokens: float, precision: Precision = "bf16") -> float:
    """Cache of one sequence of `tokens`. Windowed layers keep no more than their window."""
    near = min(tokens, shape.window or tokens)
    share = shape.windowed_layers / shape.layers
    return kv_values(shape) * BYTES[precision] * (tokens * (1 - share) + near * share)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBytes:
    """Bytes that stay for the whole of a training run, over all devices when sharded."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer


def training_bytes(parameters: float, precision: Precision, *, master: bool) -> TrainingBytes:
    """Weights, gradients and Adam's two moments.

    `master` keeps float32 gradients, moments and a float32 copy beside weights of lower precision: 2 + 4 + 12 bytes a
    weight for bf16 (ZeRO, Rajbhandari et al. 2020, section 3.1, has 16 with gradients of 2). Without it all are held in
    `precision`: 2 + 2 + 4.
    """
    width = BYTES[precision]
    held = 4.0 if master else width
    copy = 4.0 if master and width < 4 else 0.0
    return TrainingBytes(
        weights=parameters * width, gradients=parameters * held, optimizer=parameters * (2 * held + copy)
    )


def activation_bytes(
    shape: Architecture, tokens: float, precision: Precision = "bf16", *, checkpointed: bool, logits: bool = True
) -> float:
    """What the backward pass needs of a micro-batch of `tokens`, without stored attention scores (flash attention).

    Own count of a block with RMSNorm and gated MLP, after Korthikanti et al. 2022, section 4.1: two norms' inputs and
    outputs, q, k, v, the attention output, and gate, up, activation and product of the MLP. Checkpointing keeps the
    input of every layer and one layer's inside. Logits are float32, twice: themselves and their gradient.
    """
    attention = 2 * shape.head_dim * (shape.heads + shape.kv_heads)
    if shape.latent:
        attention = 2 * shape.heads * (shape.latent.nope_dim + shape.latent.rope_dim + shape.latent.value_dim)
    inner = shape.intermediate
    if shape.experts:
        inner = shape.experts.intermediate * (shape.experts.active + shape.experts.shared)
    per_token = 4 * shape.hidden + attention + 4 * inner
    layers = shape.layers * shape.hidden + per_token if checkpointed else shape.layers * per_token
    return tokens * (layers * BYTES[precision] + (2 * 4 * shape.vocabulary if logits else 0))


# --- devices ------------------------------------------------------------------------------------------------------


def peak(device: Device, precision: Precision) -> float:
    """Dense peak in TFLOP/s. Raises UsageError where the device has no such arithmetic."""
    if precision not in device.peak_tflops:
        raise UsageError(f"{device.name} has no {precision}: {nearest(precision, device.peak_tflops)}")
    return device.peak_tflops[precision]


def device_of(driver_names: Sequence[str]) -> Device | None:
    """The device whose driver calls itself so; None when it is in no file of configs/devices, or they are of two kinds."""
    kinds = set(driver_names)
    devices = [load_device(name) for name in names("devices")]
    return next((device for device in devices if kinds and kinds <= set(device.driver_names)), None)
