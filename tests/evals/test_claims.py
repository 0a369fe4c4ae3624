"""Every figure of the January 2025 analysis, beside where it is from, and where that contradicts itself."""

from __future__ import annotations

from evals.claims import claims

PRINTED = {  # figure: source
    "$5.328M": "V3 report, table 1",
    "$0.238M": "V3 report, table 1",
    "$0.01M": "V3 report, table 1",
    "2788K": "V3 report, table 1",
    "$5.576M": "V3 report, table 1",
    "20,736K": "cost table: 16K H100 for 54 days",
    "$41.5M": "cost table: the same at $2",
    "10.9": "claim: active weights, 405B over 37B",
    "7.8": "cost table: Llama over V3",
    "3.2856e24": "MFU table: V3",
    "3.645e25": "MFU table: Llama 3 405B",
    "1700": "MFU table: 2000 x 112/132",
    "180,000": "MFU table: V3, hours per trillion tokens",
    "20.2%": "MFU table: V3",
    "40.4%": "MFU table: V3 as BF16",
    "1,572,864": "MFU table: Llama, hours per trillion tokens",
    "23.6M": "MFU table: implied hours of Llama",
    "60": "MFU table: implied days of Llama",
    "42.9%": "MFU table: Llama",
    "93.3%": "V2 report, abstract: KV cache",
    "2.0": "FP8 halves the cost of BF16 in theory",
}
AT_ODDS = {("10.9", "7.8"), ("23.6M", "20.7M"), ("42.9%", "38%"), ("3.2856e24", "3.7068e24")}


def test_every_printed_figure_is_reproduced_to_the_digit() -> None:
    reproduced = {claim.printed for claim in claims() if claim.holds}
    assert reproduced == PRINTED.keys()


def test_every_disagreement_of_the_source_is_listed_with_a_reason() -> None:
    at_odds = [claim for claim in claims() if not claim.holds]
    assert {(claim.printed, claim.recomputed) for claim in at_odds} == AT_ODDS
    assert all(len(claim.note) > 20 for claim in at_odds)
    assert all(f"printed as {claim.printed}" in claim.verdict for claim in at_odds)


def test_latent_attention_alone_saves_less_than_claimed() -> None:
    """576 of 2,048 values in 60 instead of 95 layers: 82.2%; the rest of 93.3% is 6-bit storage."""
    note = next(claim.note for claim in claims() if claim.printed == "93.3%")
    assert f"{1 - 576 * 60 / (2048 * 95):.1%}" == "82.2%"
    assert "82.2%" in note
