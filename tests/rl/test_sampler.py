"""Does the sampler's chance match a count, and does it find the problems that teach?"""

import numpy as np
import pytest
from scipy.stats import beta, binom

from rewards.types import Problem
from rl.sampler import Posterior, informative_chance


def problems(levels):
    return [
        Problem(id=f"{level}/{n}", question="?", answer="1", level=level)
        for level, size in levels.items()
        for n in range(size)
    ]


def test_the_chance_is_what_integrating_over_the_pass_rate_gives():
    grid = (np.arange(20_000) + 0.5) / 20_000
    for passes, failures, size in [(1, 1, 2), (0.5, 9.5, 8), (3, 2, 16), (20, 0.7, 4)]:
        density = beta.pdf(grid, passes, failures)
        mixed = 1 - binom.pmf(0, size, grid) - binom.pmf(size, size, grid)
        counted = (mixed * density).sum() / density.sum()
        assert informative_chance(np.array([passes]), np.array([failures]), size)[0] == pytest.approx(counted, abs=5e-3)


def test_hopeless_and_mastered_levels_are_left_for_the_one_that_teaches():
    rng = np.random.default_rng(0)
    rates = {"easy": 1.0, "edge": 0.3, "hopeless": 0.0}
    sampler = Posterior(problems(dict.fromkeys(rates, 200)), group_size=8, seed=1)
    shares = []
    for step in range(25):
        drawn = sampler.draw(step, 32)
        assert len(set(drawn)) == 32
        shares.append(np.mean([id.startswith("edge") for id in drawn]))
        sampler.update({id: (rng.binomial(8, rates[id.split("/")[0]]), 8) for id in drawn})
    assert 0.1 < shares[0] < 0.6  # it knows nothing yet
    assert np.mean(shares[10:]) > 0.8
    assert np.mean(shares[10:]) < 1  # and goes on looking elsewhere


def test_what_became_learnable_is_found_again():
    rng = np.random.default_rng(0)
    sampler = Posterior(problems({"a": 100, "b": 100}), group_size=8, seed=1)
    share = []
    for step in range(60):
        rates = {"a": 0.4, "b": 0.0} if step < 20 else {"a": 1.0, "b": 0.4}
        drawn = sampler.draw(step, 16)
        share.append(np.mean([id.startswith("b") for id in drawn]))
        sampler.update({id: (rng.binomial(8, rates[id.split("/")[0]]), 8) for id in drawn})
    assert np.mean(share[10:20]) < 0.25
    assert np.mean(share[45:]) > 0.75


def test_the_same_history_draws_the_same_problems_in_every_process():
    one, two = (Posterior(problems({"a": 50, "b": 50}), group_size=4, seed=3) for _ in range(2))
    for step in range(5):
        drawn = one.draw(step, 8)
        assert two.draw(step, 8) == drawn
        counts = {id: (step % 5, 4) for id in drawn if step % 5 <= 4}
        one.update(counts)
        two.update(dict(reversed(counts.items())))
    assert np.array_equal(one.chances(), two.chances())


def test_fewer_problems_than_groups_are_asked_again():
    assert sorted(Posterior(problems({"a": 3}), group_size=4, seed=0).draw(0, 5))[:1] == ["a/0"]
    assert len(Posterior(problems({"a": 3}), group_size=4, seed=0).draw(0, 5)) == 5


def test_edge_keeps_what_was_solved_sometimes_and_an_audits_edge_file_can_be_trained_on(tmp_path):
    import json
    from types import SimpleNamespace

    from evals.summary import edge
    from rewards.suites import ProblemSet, load_problems
    from rl.train import _Run

    asked = [Problem(id=f"s/{n}", question=f"{n}+1=?", answer=str(n + 1), level="1") for n in range(5)]
    counts = {"s/0": (0, 8), "s/1": (1, 8), "s/2": (3, 8), "s/3": (8, 8)}  # s/4 was not audited
    run = object.__new__(_Run)
    run.measures = SimpleNamespace(signal=lambda: counts)
    assert [one.id for one in run._at_the_edge(asked)] == ["s/1", "s/2"]

    audit = {"problems": [{"id": id, "correct": right, "samples": drawn} for id, (right, drawn) in counts.items()]}
    rows = edge(audit, ProblemSet(name="s", problems=tuple(asked), bad_gold=()))
    (tmp_path / "edge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(one.id, one.level) for one in load_problems(str(tmp_path / "edge.jsonl")).problems] == [
        ("s/1", "1"),
        ("s/2", "1"),
    ]
