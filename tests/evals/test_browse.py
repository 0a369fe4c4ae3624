"""What goes into the rollout browser: which rollouts, how much of each, and where its answer was read."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from configs.load import load_template
from evals.browse import LONGEST, longest_that_fits, stratified, where_read


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
