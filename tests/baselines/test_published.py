"""The published record: what was found in it before must come out, and what is wrong in a row must be named."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from baselines import published
from baselines.published import Relation, Result, faults, load, logit, null_gain, re_evaluations, relations, spearman
from configs.errors import UsageError

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def record() -> list[Result]:
    return load()


def one_of(record: list[Result], group: str, benchmark: str, metric: str) -> Relation:
    return next(r for r in relations(record) if (r.group, r.benchmark, r.metric) == (group, benchmark, metric))


FOUND_BEFORE = [  # own recomputation over the ten bases of SimpleRL-Zoo: benchmark, metric, final, gain
    ("Average", "mean of 6 (AIME as pass@1)", 0.93, 0.33),
    ("MATH500", "pass@1", 0.98, 0.12),
    ("GSM8K", "pass@1", 0.85, -0.85),
    ("AIME24", "avg@32", 0.85, 0.77),
]


@pytest.mark.parametrize(("benchmark", "metric", "final", "gain"), FOUND_BEFORE)
def test_base_to_final_and_base_to_gain_are_as_found_before(
    record: list[Result], benchmark: str, metric: str, final: float, gain: float
) -> None:
    found = one_of(record, "SimpleRL-Zoo", benchmark, metric)
    assert len(found.bases) == 10
    assert round(found.final.value, 2) == final
    assert round(found.gain.value, 2) == gain
    assert found.final.value == pytest.approx(float(np.asarray(spearmanr(found.before, found.after).statistic)))
    assert found.final.low < found.final.value <= found.final.high


def test_priming_orders_the_ends_of_countdown_as_found_before(record: list[Result]) -> None:
    """Of ten and twelve conditions, 0.66 and 0.92; an earlier count had 0.67 for the first."""
    qwen = one_of(record, "Cognitive behaviours Qwen2.5-3B", "Countdown", "pass@1")
    llama = one_of(record, "Cognitive behaviours Llama-3.2-3B", "Countdown", "pass@1")
    assert (len(qwen.bases), len(llama.bases)) == (10, 12)
    assert round(qwen.final.value, 2) == 0.66
    assert round(llama.final.value, 2) == 0.92


def test_the_easy_gain_is_what_chance_gives_and_the_hard_one_is_not(record: list[Result]) -> None:
    easy = one_of(record, "SimpleRL-Zoo", "GSM8K", "pass@1")
    hard = one_of(record, "SimpleRL-Zoo", "AIME24", "avg@32")
    assert easy.null.low < easy.gain.value < easy.null.high
    assert hard.gain.value > hard.null.high
    assert hard.logit_gain.low < 0 < hard.logit_gain.high  # in log odds it cannot be told from nothing


def test_gain_against_base_is_negative_when_the_base_does_not_matter() -> None:
    """Independent normal scores of equal spread: the correlation of x with y - x is -1/sqrt(2), by ranks -0.69."""
    rng = np.random.default_rng(0)
    before, after = rng.normal(50, 10, 2000), rng.normal(70, 10, 2000)
    expected = 6 / np.pi * np.arcsin(-np.sqrt(0.5) / 2)  # rank correlation of a bivariate normal
    assert null_gain(before, after, draws=50).value == pytest.approx(expected, abs=0.03)


def test_the_interval_of_a_rank_correlation_covers_the_truth() -> None:
    """Bivariate normal, r = 0.8, 30 bases: the bootstrap should hold the true 0.79 about 95 times in 100."""
    rng, truth = np.random.default_rng(1), 6 / np.pi * np.arcsin(0.4)
    hits = 0
    for draw in range(200):
        x = rng.normal(size=30)
        found = spearman(x, 0.8 * x + 0.6 * rng.normal(size=30), seed=draw, draws=400)
        hits += found.low <= truth <= found.high
    assert 0.88 < hits / 200 <= 1


def test_logit_of_a_score_has_a_value_at_zero_and_turns_round_at_half() -> None:
    trials = np.array([30.0, 30.0, 30.0])
    low, middle, high = logit(np.array([0.0, 50.0, 100.0]), trials)
    assert (low, middle) == (-high, 0)
    assert np.isclose(low, np.log(0.5 / 30.5))


def test_nothing_in_the_record_is_wrong_that_is_not_flagged(record: list[Result]) -> None:
    assert faults(record) == []
    assert len(record) == 502
    flagged = {(one.study, one.base_score, one.rl_score) for one in record if "misprint" in one.flags}
    assert flagged == {("Dr. GRPO (template audit)", 0.2, None)}  # 0.2% of 30 problems; the row's mean asks for 20
    off = [one.rl_score for one in record if "off-grid" in one.flags]
    assert off == [57.6, 15.9, 8.8, 7.8]  # 23 of AMC23's 40 are 57.5


def test_r1_zero_and_its_base_are_in_the_record(record: list[Result]) -> None:
    r1 = {one.metric: one for one in record if one.study == "DeepSeek-R1-Zero" and one.benchmark == "AIME24"}
    assert (r1["pass@1"].base_score, r1["pass@1"].rl_score, r1["cons@64"].rl_score) == (15.6, 71.0, 86.7)


def changed(one: Result, **fields: Any) -> Result:
    return one.model_copy(update=fields)


def test_checks_name_what_is_wrong(record: list[Result]) -> None:
    aime = next(one for one in record if one.study == "SimpleRL-Zoo" and one.benchmark == "AIME24")
    average = next(one for one in record if one.study == "SimpleRL-Zoo" and one.benchmark == "Average")
    others = [one for one in record if one not in (aime, average)]
    for bad, told in [
        (changed(aime, rl_score=34.9), "no share of"),
        (changed(aime, rl_score=101.0), "not from 0 to 100"),
        (changed(aime, base_score=None, rl_score=None), "holds no figure"),
        (changed(aime, base_score=10.0, rl_score=20.0, gain=15.0), "gain 15.0 is not"),
        (changed(aime, base_model="Qwen2.5-7B-Instruct"), "does not start from a base"),
        (changed(average, rl_score=40.0), "is not the mean"),
    ]:
        assert any(told in fault for fault in faults([*others, bad])), told
    assert any("2 rows" in fault for fault in faults([*record, aime]))
    assert any("base scores" in fault for fault in faults([*record, changed(aime, algorithm="PPO", base_score=3.3)]))


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    lines = published.PATH.read_text(encoding="utf-8").splitlines()
    (tmp_path / "bad.csv").write_text(
        "\n".join([*lines[:3], lines[3].replace("GRPO,", "GRPO,", 1).replace("base", "basis", 1)])
    )
    with pytest.raises(UsageError, match="line 4: start"):
        load(tmp_path / "bad.csv")


def test_re_evaluations_stand_beside_the_claims_they_test(record: list[Result]) -> None:
    """Qwen2.5-Math-7B on AIME24: SimpleRL-Zoo claims 40.0 and others find 22.7, Oat-Zero 43.3 and 28.0."""
    found = {
        (one.claim.study, one.claim.metric): one
        for one in re_evaluations(record)
        if one.found.study == "Sober Reasoning"
        and (one.claim.base_model, one.claim.benchmark) == ("Qwen2.5-Math-7B", "AIME24")
    }
    zoo, oat = found["SimpleRL-Zoo", "pass@1"], found["Oat-Zero", "pass@1 greedy"]
    assert (zoo.claim.rl_score, zoo.found.rl_score, oat.claim.rl_score, oat.found.rl_score) == (40.0, 22.7, 43.3, 28.0)
    assert zoo.shrinkage == pytest.approx(17.3)
    assert zoo.z == pytest.approx((22.7 - 20.7) / np.sqrt((3.8**2 + 5.2**2) / 10))
    assert zoo.z == pytest.approx(1.0, abs=0.05)


def test_the_csv_holds_figures_and_sources_only() -> None:
    with published.PATH.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert "note" not in rows[0]
    assert max(len(cell) for row in rows for column, cell in row.items() if column != "source") < 60
    assert all(row["source"] for row in rows)


def test_the_script_prints_both_tables_and_draws(script: Script, tmp_path: Path) -> None:
    done = script("published", "--study", "SimpleRL-Zoo", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "nothing that is not flagged" in done.stdout
    assert "-0.85" in done.stdout
    again = script("published", "--study", "SimpleRL-Zoo", "--out", tmp_path / "again")
    for name in ("gain_artefact.png", "gain_artefact.svg"):
        assert (tmp_path / "out" / name).stat().st_size > 10_000
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert again.returncode == 0
    wrong = script("published", "--benchmark", "GSM8", "--out", tmp_path / "no")
    assert wrong.returncode == 2
    assert "did you mean GSM8K" in wrong.stderr
