"""Costs against independent counts: torch's FLOP counter, tensors that autograd really keeps, published sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from configs.errors import UsageError
from configs.load import load_base, load_device, names
from evals import cost
from evals.cost import forward_flops, kv_bytes, kv_values, kv_variants, training_bytes, training_flops, weights

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
MLA = {
    "head_dim": 8,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 2,
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 20,
}


def model_of(kind: str) -> Any:
    import transformers

    extra = MLA if kind == "DeepseekV3" else {}
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **extra})
    return transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )


def rope_flops(model: Any, length: int) -> int:
    """The position angles, an outer product that the counter sees and nobody counts: 2 x length x half a head."""
    head = model.config.qk_rope_head_dim if hasattr(model.config, "qk_rope_head_dim") else SIZES["head_dim"]
    return length * head


@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma2", "Olmo3", "DeepseekV3"])
def test_forward_and_backward_take_as_many_flops_as_torch_counts(kind: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, length, batch = model_of(kind), 40, 2
    shape = cost.read_architecture(model.config.to_dict())
    ids = torch.randint(2, 300, (batch, length))
    with FlopCounterMode(display=False) as forward:
        model(ids)
    with FlopCounterMode(display=False) as both:
        model(ids, labels=ids, use_cache=False).loss.backward()
    # eager attention computes the whole square and masks it
    counted = forward.get_total_flops() - rope_flops(model, length)
    assert counted == batch * forward_flops(shape, length, causal=False)
    counted = both.get_total_flops() - rope_flops(model, length)
    assert counted == batch * training_flops(shape, length, causal=False)


def test_drawing_token_by_token_with_a_cache_takes_the_causal_count() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, length = model_of("Llama").eval(), 20
    shape = cost.read_architecture(model.config.to_dict())
    cache = None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for _ in range(length):
            cache = model(torch.tensor([[5]]), past_key_values=cache, use_cache=True).past_key_values
    assert counter.get_total_flops() - rope_flops(model, length) == forward_flops(shape, length)
    assert forward_flops(shape, length) == forward_flops(shape, 7) + forward_flops(shape, length, start=7)


@pytest.mark.parametrize(("length", "window"), [(5, None), (5, 3), (3, 7), (9, 1)])
def test_attended_pairs_are_what_a_mask_holds(length: int, window: int | None) -> None:
    query, key = np.indices((length, length))
    mask = (key <= query) & (query - key < (window or length))
    assert cost.attended(length, window) == mask.sum()


def test_training_at_k_6_is_the_rule_of_thumb_and_the_attention_term() -> None:
    shape = load_base("qwen2.5-7b").architecture
    assert shape is not None
    rule = cost.simple_training_flops(active=cost.multiplied_weights(shape), tokens=4096)
    attention = (
        3 * 28 * 4 * 28 * 128 * 4096 * 4097 / 2
    )  # three passes, layers, two products of 2, heads, head dimension
    assert training_flops(shape, 4096) == pytest.approx(rule + attention)
    assert 0.05 < attention / rule < 0.07
    assert training_flops(shape, 4096, k=8) == pytest.approx(training_flops(shape, 4096) * 8 / 6)


def test_every_base_has_shapes_that_count_up_to_its_published_size() -> None:
    for name in names("bases"):
        base = load_base(name)
        assert base.architecture is not None, name
        # sizes are given to three digits; norms and biases are left out
        assert weights(base.architecture) == pytest.approx(base.parameters, rel=4e-3), name
        if base.architecture.experts is None:
            assert weights(base.architecture, active=True) == weights(base.architecture)
    v3 = load_base("deepseek-v3-base").architecture
    assert v3 is not None
    # DeepSeek's own weight file: 671B, 36.6B active with the output head and without the embedding
    assert f"{weights(v3) / 1e9:.0f} {cost.multiplied_weights(v3) / 1e9:.1f}" == "671 36.6"


def test_kv_cache_of_each_kind_of_attention_is_worked_out_by_hand() -> None:
    qwen, v3 = load_base("qwen2.5-7b").architecture, load_base("deepseek-v3-base").architecture
    assert qwen is not None
    assert v3 is not None
    assert kv_values(qwen) * 2 == 57_344  # 28 layers x (4 keys + 4 values) x 128 x 2 bytes
    assert kv_variants(qwen) == {"MHA": 200_704, "GQA": 28_672, "MQA": 7_168, "MLA": 16_128}
    assert kv_bytes(v3, 1, "bf16") == 70_272  # 61 x (512 + 64) x 2
    assert kv_bytes(qwen, 10, "fp8") == 10 * 28_672
    gemma = load_base("gemma-2-9b").architecture
    assert gemma is not None
    # of 42 layers 21 keep the last 4,096 tokens only
    assert kv_bytes(gemma, 8192) == 2 * 8 * 256 * 2 * (21 * 8192 + 21 * 4096)


def test_a_cache_of_a_real_model_is_as_large_as_counted() -> None:
    import torch

    for kind in ("Llama", "Qwen3"):
        model = model_of(kind)
        cache = model(torch.randint(2, 300, (1, 11)), use_cache=True).past_key_values
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert held == kv_bytes(cost.read_architecture(model.config.to_dict()), 11, "fp32")


def test_training_memory_is_18_bytes_a_weight_with_master_weights_and_8_without() -> None:
    assert training_bytes(1e9, "bf16", master=True).total == 18e9
    assert training_bytes(1e9, "bf16", master=False).total == 8e9
    assert training_bytes(1e9, "fp32", master=True).total == 16e9


def test_activations_are_what_autograd_keeps() -> None:
    """Real modules keep a little more: normalisation saves its own intermediate values."""
    import torch
    import transformers

    sizes = {**SIZES, "hidden_size": 256, "intermediate_size": 1024, "head_dim": 64}
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**sizes), attn_implementation="sdpa")
    shape = cost.read_architecture(model.config.to_dict())
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.model(torch.randint(2, 300, (2, 64)), use_cache=False).last_hidden_state
    held = sum(storage.nbytes() for place, storage in kept.items() if place not in own)
    counted = cost.activation_bytes(shape, 128, "fp32", checkpointed=False, logits=False)
    assert hidden.shape == (2, 64, 256)
    assert 1 < held / counted < 1.25
    assert cost.activation_bytes(shape, 128, "fp32", checkpointed=True, logits=False) < 0.5 * counted


def test_every_device_loads_and_hopper_has_its_published_peaks() -> None:
    assert {"a100", "b200", "h100", "h200", "h800"} <= set(names("devices"))
    for name in names("devices"):
        device = load_device(name)
        assert device.peak_tflops["bf16"] > 100, name
        assert any("price" in source or "per GPU hour" in source for source in device.sources), name
    h100 = load_device("h100")
    # 132 SMs x 4 tensor cores x 512 multiply-adds x 2 x 1.83 GHz (NVIDIA H100 white paper)
    assert h100.peak_tflops["bf16"] == pytest.approx(132 * 4 * 512 * 2 * 1.83e9 / 1e12, rel=1e-3)
    assert h100.peak_tflops["fp8"] == pytest.approx(2 * h100.peak_tflops["bf16"], rel=1e-3)
    assert cost.device_of(["NVIDIA H100 80GB HBM3"] * 8) == h100
    assert cost.device_of(["NVIDIA H100 80GB HBM3", "NVIDIA H200"]) is None
    assert cost.device_of([]) is None
    with pytest.raises(UsageError, match="a100 has no fp8"):
        cost.peak(load_device("a100"), "fp8")


def test_gpu_hours_and_mfu_undo_one_another() -> None:
    hours = cost.gpu_hours(flops=1e21, peak_tflops=989.4, mfu=0.4)
    assert cost.mfu(flops=1e21, hours=hours, peak_tflops=989.4) == pytest.approx(0.4)
    assert math.isclose(hours, 1e21 / (989.4e12 * 0.4 * 3600))


def test_a_config_of_another_kind_of_model_is_refused() -> None:
    with pytest.raises(UsageError, match="says nothing of num_hidden_layers"):
        cost.read_architecture({"model_type": "gpt2", "n_layer": 12})
    with pytest.raises(UsageError, match="experts"):
        cost.read_architecture({**SIZES, "num_local_experts": 8})
