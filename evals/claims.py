"""Published figures of training cost, recomputed: which hold to the printed digit, and where a source contradicts itself.

The figures are of an analysis of DeepSeek-V3 and R1 from January 2025. What it rests on: the DeepSeek-V3 report
(arXiv 2412.19437, table 1), the DeepSeek-V2 report (arXiv 2405.04434) and The Llama 3 Herd of Models (arXiv 2407.21783).
"""

from __future__ import annotations

from dataclasses import dataclass

from configs.load import load_base, load_device
from configs.schema import Architecture, Latent
from evals.cost import HOUR, kv_values, mfu, simple_training_flops, training_flops

V3_TOKENS, V3_ACTIVE, V3_TOTAL = 14.8e12, 37e9, 671e9
LLAMA_TOKENS, LLAMA_WEIGHTS = 15e12, 405e9
PRICE = 2.0
"""Dollars per GPU hour, which the V3 report assumes and the analysis takes for Llama too."""
V3_HOURS = {"pretraining": 2664e3, "context extension": 119e3, "post-training": 5e3}
LLAMA_GPUS = 16384
ROUND_PEAK = 1000.0
"""TFLOP/s of a Hopper GPU in bf16, as the analysis rounds it; FP8 twice that."""

DEEPSEEK_67B = Architecture(
    layers=95, hidden=8192, intermediate=22016, heads=64, kv_heads=8, head_dim=128, vocabulary=102400, tied=False
)
"""config.json of deepseek-llm-67b-base."""
DEEPSEEK_V2 = Architecture(
    layers=60,
    hidden=5120,
    intermediate=12288,
    heads=128,
    kv_heads=128,
    head_dim=128,
    vocabulary=102400,
    tied=False,
    latent=Latent(query_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128),
)
"""config.json of DeepSeek-V2, attention only: its experts play no part in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A printed figure beside the same figure recomputed, in the same digits. `note` says what does not fit."""

    what: str
    printed: str
    recomputed: str
    note: str = ""

    @property
    def holds(self) -> bool:
        return self.printed == self.recomputed

    @property
    def verdict(self) -> str:
        found = self.recomputed if self.holds else f"{self.recomputed}, printed as {self.printed}"
        return f"{found}: {self.note}" if self.note else found


def claims() -> list[Claim]:
    """Every figure, then every disagreement."""
    return [*_costs(), *_utilisation(), *_memory(), *_disagreements()]


def _costs() -> list[Claim]:
    total = sum(V3_HOURS.values())
    printed = {"pretraining": "$5.328M", "context extension": "$0.238M", "post-training": "$0.01M"}
    digits = {"pretraining": 3, "context extension": 3, "post-training": 2}
    llama = 16000 * 54 * 24
    return [
        *(
            Claim(
                what=f"V3 {stage}, {hours / 1e3:.0f}K H800 hours at $2",
                printed=printed[stage],
                recomputed=f"${hours * PRICE / 1e6:.{digits[stage]}f}M",
            )
            for stage, hours in V3_HOURS.items()
        ),
        Claim(what="V3 in all, H800 hours", printed="2788K", recomputed=f"{total / 1e3:.0f}K"),
        Claim(what="V3 in all", printed="$5.576M", recomputed=f"${total * PRICE / 1e6:.3f}M"),
        Claim(what="Llama 3 405B, 16K H100 for 54 days, hours", printed="20,736K", recomputed=f"{llama / 1e3:,.0f}K"),
        Claim(what="Llama 3 405B at $2", printed="$41.5M", recomputed=f"${llama * PRICE / 1e6:.1f}M"),
        Claim(what="active weights, 405B over 37B", printed="10.9", recomputed=f"{LLAMA_WEIGHTS / V3_ACTIVE:.1f}"),
        Claim(
            what="cost, Llama over V3 (pretraining alone)",
            printed="7.8",
            recomputed=f"{llama / V3_HOURS['pretraining']:.1f}",
        ),
    ]


def _utilisation() -> list[Claim]:
    v3 = simple_training_flops(active=V3_ACTIVE, tokens=V3_TOKENS)
    llama = simple_training_flops(active=LLAMA_WEIGHTS, tokens=LLAMA_TOKENS)
    fp8 = 2 * ROUND_PEAK * 112 / 132  # 20 of the 132 SMs only communicate (V3 report, section 3.2.2)
    per_trillion = V3_HOURS["pretraining"] / (V3_TOKENS / 1e12)
    share = mfu(flops=v3, hours=180e3 * 14.8, peak_tflops=fp8)
    doubled = mfu(flops=v3, hours=180e3 * 14.8, peak_tflops=fp8 / 2)
    llama_trillion = LLAMA_GPUS * 96.0
    llama_share = mfu(flops=llama, hours=llama_trillion * 15, peak_tflops=ROUND_PEAK)
    return [
        Claim(what="V3, 6 x 37e9 x 14.8e12 FLOPs", printed="3.2856e24", recomputed=f"{v3:.4e}".replace("+", "")),
        Claim(
            what="Llama 3 405B, 6 x 405e9 x 15e12 FLOPs", printed="3.645e25", recomputed=f"{llama:.3e}".replace("+", "")
        ),
        Claim(
            what="FP8 peak of H800, TFLOP/s, to two digits (2000 x 112/132)",
            printed="1700",
            recomputed=f"{float(f'{fp8:.2g}'):.0f}",
        ),
        Claim(what="V3, hours per trillion tokens", printed="180,000", recomputed=f"{per_trillion:,.0f}"),
        Claim(what="V3, MFU of FP8", printed="20.2%", recomputed=f"{share:.1%}"),
        Claim(
            what="V3, MFU read as BF16",
            printed="40.4%",
            recomputed=f"{doubled:.1%}",
            note="from 2000 x 112/132; the rounded 1700 gives 40.3%",
        ),
        Claim(
            what="Llama 3 405B, hours per trillion tokens (16384 x 96)",
            printed="1,572,864",
            recomputed=f"{llama_trillion:,.0f}",
        ),
        Claim(what="Llama 3 405B, hours in all", printed="23.6M", recomputed=f"{llama_trillion * 15 / 1e6:.1f}M"),
        Claim(
            what="the same in days of 16384 GPUs",
            printed="60",
            recomputed=f"{llama_trillion * 15 / LLAMA_GPUS / 24:.0f}",
        ),
        Claim(what="Llama 3 405B, MFU", printed="42.9%", recomputed=f"{llama_share:.1%}"),
    ]


def _memory() -> list[Claim]:
    before, after = kv_values(DEEPSEEK_67B), kv_values(DEEPSEEK_V2)
    return [
        Claim(
            what="KV cache, DeepSeek-V2 below 67B",
            printed="93.3%",
            recomputed=f"{1 - after * 6 / (before * 16):.1%}",
            note=f"with 6 bits a value against 16 (V2 report, section 3.2.3); MLA alone saves {1 - after / before:.1%}",
        ),
        Claim(
            what="FP8 over BF16, dense peak of H800",
            printed="2.0",
            recomputed=f"{load_device('h800').peak_tflops['fp8'] / load_device('h800').peak_tflops['bf16']:.1f}",
            note="in theory; V3 reached 20.2% of the one, which is 40.4% of the other",
        ),
    ]


def _disagreements() -> list[Claim]:
    """Where the source says two things. `printed` is its figure, `recomputed` what its other figures give."""
    v3 = simple_training_flops(active=V3_ACTIVE, tokens=V3_TOKENS)
    llama = simple_training_flops(active=LLAMA_WEIGHTS, tokens=LLAMA_TOKENS)
    table, implied, card = 20.736e6, LLAMA_GPUS * 96 * 15, 30.84e6
    shape = load_base("deepseek-v3-base").architecture
    assert shape is not None
    h800 = load_device("h800")
    attention = float(training_flops(shape, 4096)) / 4096 * V3_TOKENS
    at_peak = {"H800": h800.peak_tflops["bf16"], "H100": load_device("h100").peak_tflops["bf16"]}
    return [
        Claim(
            what="'about 10 times cheaper': weights against cost",
            printed="10.9",
            recomputed=f"{table / V3_HOURS['pretraining']:.1f}",
            note=f"the cost ratio holds. FLOPs differ {llama / v3:.1f} times, and V3 did {v3 / 2664e3 / HOUR / 1e12:.0f} "
            f"TFLOP/s a GPU against {llama / table / HOUR / 1e12:.0f}; against all of V3, $5.576M, it is "
            f"{table / sum(V3_HOURS.values()):.1f}; with the model card's {card / 1e6:.2f}M hours {card / 2664e3:.1f}",
        ),
        Claim(
            what="hours of Llama 3 405B: MFU table against cost table",
            printed="23.6M",
            recomputed=f"{table / 1e6:.1f}M",
            note=f"neither holds: 54 days are a snapshot (section 3.3.4) and {implied / 1e6:.1f}M is 60 days; the model card "
            f"of Llama 3.1 says {card / 1e6:.2f}M, {card / LLAMA_GPUS / 24:.0f} days of {LLAMA_GPUS} GPUs",
        ),
        Claim(
            what="MFU of Llama 3 405B: table against report",
            printed="42.9%",
            recomputed="38%",
            note=f"of {implied / 1e6:.1f}M hours against a stage: the report's table 4 has 43% on 8,192 GPUs, 41% on 16,384 "
            f"and 38% at 131,072 tokens; the cost table's hours would give {mfu(flops=llama, hours=table, peak_tflops=ROUND_PEAK):.1%}, "
            f"the model card's {mfu(flops=llama, hours=card, peak_tflops=at_peak['H100']):.1%} over all its time",
        ),
        Claim(
            what="V3 with its attention term at 4,096 tokens, FLOPs",
            printed="3.2856e24",
            recomputed=f"{attention:.4e}".replace("+", ""),
            note=f"k = {attention / V3_ACTIVE / V3_TOKENS:.1f} of 37B, not 6; MFU as BF16 at all {at_peak['H800']:g} TFLOP/s "
            f"{mfu(flops=attention, hours=2664e3, peak_tflops=at_peak['H800']):.1%}",
        ),
    ]
