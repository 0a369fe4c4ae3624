"""What goes into the rollout browser: which rollouts, how much of each, and where its answer was read."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter

import numpy as np
import pytest
from kept import sums_suite, write_kept
from synthetic import LATENT

from configs.errors import UsageError
from configs.load import load_template
from evals.browse import LONGEST, browse, longest_that_fits, stratified, where_read
from evals.compare import compare
from evals.runs import load_runs
from rewards.reading import read
from rewards.suites import load_problems


@pytest.mark.parametrize(
    ("reader", "completion", "answer", "before"),
    [
        ("boxed", r"12, so \boxed{12}. There are 12 of them.", "12", r"12, so \boxed{"),
        ("boxed", r"\boxed{1}, no: \boxed{2} \boxed{2}, two, 2", "2", r"\boxed{1}, no: \boxed{2} \boxed{"),
        ("boxed", "\\boxed{4}\nQuestion: What is 4?", "4", r"\boxed{"),  # the next question is not read
        ("boxed", r"<think>\boxed{3}</think> \boxed{3} is 3", "3", r"<think>\boxed{3}</think> \boxed{"),
        ("boxed", r"\boxed{\frac{1}{2}} or \frac{1}{2}", r"\frac{1}{2}", r"\boxed{"),
        ("first-number", "7 and again 7", "7", ""),
        ("any", "first 5, then 5", "5", "first 5, then "),
        ("answer-line", "Answer: x\nso x it is", "x", "Answer: "),
    ],
)
def test_the_answer_is_found_where_the_reader_took_it(reader, completion, answer, before):
    template = load_template("qa").model_copy(update={"strict": reader})
    assert where_read(completion, answer, template, "strict") == len(before)


def test_an_answer_that_does_not_stand_there_is_nowhere_and_without_a_template_it_is_the_last():
    template = load_template("qa")
    assert where_read(r"\boxed{1} or \boxed{2}", "1, 2", template, "strict") == -1
    assert where_read(r"\boxed{1} and 1", "1", None, "strict") == len(r"\boxed{1} and ")


BABBLED = [
    ("qa-number", "strict", "1\n" * 500),
    ("none", "lenient", "<answer>1</answer>" + "1" * 982),
    ("r1-think", "lenient", "<answer>1</answer>" + "1\n" * 491),
]


@pytest.mark.parametrize(("name", "reading", "text"), BABBLED)
def test_fifty_thousand_completions_that_babble_their_answer_are_searched_in_under_a_minute(name, reading, text):
    template = load_template(name)
    assert read(text, template, reading) == "1"

    def seconds():
        began = time.process_time()
        where_read(text, "1", template, reading)
        return time.process_time() - began

    assert 50_000 * min(seconds() for _ in range(5)) < 60


def test_a_page_without_rollouts_reads_no_rollout_and_no_problem_set(monkeypatch, tmp_path):
    comparison = compared(tmp_path, monkeypatch, suite=None)
    for name in ("load_problems", "RolloutStore"):
        monkeypatch.setattr(f"evals.browse.{name}", lambda *_, **__: pytest.fail("read"))
    for limit in (0, -3):
        assert browse(comparison, limit=limit) is None


def compared(root, monkeypatch, suite):
    """The comparison of one run with kept rollouts, whose audits name this suite."""
    folder = write_kept(root, LATENT, sums_suite(root / "sums.jsonl", 4), samples=2)
    if suite:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["settings"]["suite"] = suite
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return compare(*load_runs([folder]))


@pytest.fixture
def online(monkeypatch, tmp_path):
    """The libraries of the hub as where there is a network, an empty cache, and a list of what asked for it."""
    import datasets
    import huggingface_hub

    asked = []

    def ask(*_, **__):
        asked.append(1)
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("hf_hub_download", "dataset_info"):
        monkeypatch.setattr(huggingface_hub.HfApi, name, ask)
    return asked


def test_a_comparison_fetches_no_set_of_the_hub_and_says_that_it_was_not_at_hand(online, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="can't be fetched"):
        load_problems("math500")
    assert online.pop()
    page = browse(compared(tmp_path, monkeypatch, "math500"))
    assert online == []
    assert page["count"] == 2 * 4 * 2
    assert "is not on this disk" in page["missing"]


def test_a_set_of_the_hub_that_was_used_before_is_had_without_the_hub(online, tmp_path):
    import datasets

    rows = [{"problem": f"What is {n} + {n}?", "answer": str(2 * n), "level": n} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = str(tmp_path / "rows.jsonl")
    datasets.load_dataset("json", data_files={"test": source}, cache_dir=str(tmp_path / "made"))
    (made,) = (tmp_path / "made" / "json").glob("*/*/*/dataset_info.json")
    kept = tmp_path / "cache" / "HuggingFaceH4___math-500" / "default" / made.parts[-3] / made.parts[-2]
    shutil.copytree(made.parent, kept)
    info = json.loads((kept / "dataset_info.json").read_text())
    (kept / "dataset_info.json").write_text(json.dumps(info | {"config_name": "default", "dataset_name": "math-500"}))
    (kept / "json-test.arrow").rename(kept / "math-500-test.arrow")
    problems = load_problems("math500", fetch=False).problems
    assert [(each.question, each.answer) for each in problems] == [(row["problem"], row["answer"]) for row in rows]
    assert online == []
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_sample_takes_of_every_stratum_its_share_to_within_one():
    rng = np.random.default_rng(1)
    strata = rng.choice(40, 5000, p=rng.dirichlet(np.ones(40)))
    for limit in (1, 40, 333, 4999):
        mask = stratified(strata, limit, np.random.default_rng(0))
        assert mask.sum() == limit
        for stratum, size in Counter(strata.tolist()).items():
            share = limit * size / strata.size
            assert abs(mask[strata == stratum].sum() - share) <= 1.5
    assert stratified(strata, 5000, rng).all()


def test_in_a_sample_every_thing_of_a_stratum_has_the_same_chance():
    strata = np.repeat([0, 1, 2], [3, 7, 50])
    draws = np.mean([stratified(strata, 20, np.random.default_rng(seed)) for seed in range(4000)], axis=0)
    assert draws == pytest.approx(20 / 60, abs=0.04)  # 5 standard errors


def test_texts_are_cut_at_the_largest_length_that_fits():
    rng = np.random.default_rng(0)
    for total in (50, 500, 5000):
        sizes = rng.integers(0, 100, 60)
        longest = longest_that_fits(sizes, total)
        fits = np.minimum(sizes, longest).sum() <= total
        assert fits
        assert longest == LONGEST or np.minimum(sizes, longest + 1).sum() > total
