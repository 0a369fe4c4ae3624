"""Verdicts and rewards of completions whose worth is known, and the script that grades files."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from configs.load import load_template
from configs.schema import RewardName
from rewards.functions import REWARDS, sample_rng
from rewards.grade import grade
from rewards.types import STATUSES, Problem

NONE = load_template("none")
SCRIPT = Path(__file__).parents[2] / "scripts" / "grade.py"
CASES = [
    ("5", r"\boxed{5}", "graded", True),
    ("5", r"\boxed{6}", "graded", False),
    ("5", "5", "no_answer", False),
    ("5", r"\boxed{\frac{}", "no_answer", False),
    ("5", r"\boxed{)(}", "unparsable", False),
    ("", r"\boxed{5}", "bad_gold", False),
    (r"\sqrt{5}", r"\boxed{8^{8^{8^{8}}}}", "unparsable", False),
]


def verdict_of(gold, completion):
    return grade(Problem(id="t/0", question="?", answer=gold), completion, NONE, reading="strict")


def test_every_status_is_met_and_only_a_graded_answer_can_be_right():
    for gold, completion, status, correct in CASES:
        verdict = verdict_of(gold, completion)
        assert (verdict.status, verdict.correct) == (status, correct), (gold, completion)
        assert verdict.milliseconds > 0
    assert {status for _, _, status, _ in CASES} == set(STATUSES)


def test_rewards_are_what_the_table_says():
    paid = {  # right, wrong, no answer twice, unparsable, bad gold, power tower
        "correctness": [1, 0, 0, 0, 0, None, 0],
        "format": [1, 1, 0, 0, 1, None, 1],
        "inverted": [0, 1, 0, 0, 0, None, 0],
    }
    rng = sample_rng(seed=0, step=0, problem_id="t/0", sample=0)
    for name, expected in paid.items():
        assert [REWARDS[name](verdict_of(gold, text), rng) for gold, text, _, _ in CASES] == expected
    assert set(REWARDS) == set(get_args(RewardName))


def test_the_coin_is_fair_and_falls_the_same_way_for_the_same_sample():
    verdict = verdict_of("5", r"\boxed{5}")

    def flip(sample, verdict=verdict):
        return REWARDS["random"](verdict, sample_rng(seed=0, step=1, problem_id="t/0", sample=sample))

    flips = [flip(sample) for sample in range(2000)]
    assert flips == [flip(sample) for sample in range(2000)]
    assert set(flips) == {0.0, 1.0}
    assert abs(sum(flips) - 1000) < 112  # five standard deviations
    assert flip(0, verdict_of("", r"\boxed{5}")) is None


def run_script(*arguments, cwd):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


def test_the_script_keeps_fields_and_adds_the_verdict(tmp_path):
    rows = [{"gold": "5", "completion": r"\boxed{5}", "mine": "é"}, {"gold": 7, "completion": "I don't know"}]
    text = "\ufeff" + "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
    done = run_script("--in", "in.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    graded = [json.loads(line) for line in (tmp_path / "out.jsonl").open(encoding="utf-8")]
    facts = [(row["correct"], row["status"], row["answer"]) for row in graded]
    assert facts == [(True, "graded", "5"), (False, "no_answer", None)]
    assert graded[0]["mine"] == "é"
    assert "1 of 2 right" in done.stdout
    assert "out.lenient.jsonl" in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl"}


@pytest.mark.parametrize(
    ("content", "extra", "says"),
    [
        (None, [], "in.jsonl can't be read"),
        ('{"gold": "1", "completion": "2"}\n{broken', [], "line 2: not JSON"),
        ('{"gold": "1"}', [], "line 1: no completion; the line has gold"),
        ("[1]", [], "line 1: expected a JSON object"),
        ("", [], "holds no row"),
        ('{"gold": "1", "completion": 2}', [], "completion must be a string"),
        ('{"gold": "1", "completion": "2"}', ["--template", "qwen-boxd"], "did you mean qwen-boxed"),
        ('{"gold": "1", "completion": "2"}', ["--out", "in.jsonl"], "in.jsonl exists"),
        ('{"gold": "1", "completion": "2"}', ["--out", "no/out.jsonl"], "no is no folder"),
    ],
)
def test_what_the_script_cannot_do_it_says_in_one_line_and_leaves_nothing(tmp_path, content, extra, says):
    if content is not None:
        (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")
    done = run_script("--in", "in.jsonl", "--out", "out.jsonl", *extra, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert {file.name for file in tmp_path.iterdir()} <= {"in.jsonl"}


def test_help_needs_no_heavy_library(tmp_path):
    start = time.perf_counter()
    assert run_script("--help", cwd=tmp_path).returncode == 0
    assert time.perf_counter() - start < 3  # 0.2 s alone on an idle core
    heavy = "'torch' in sys.modules, 'sympy' in sys.modules, 'datasets' in sys.modules"
    code = f"import sys, rewards.grade, rewards.suites, rewards.functions; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False False\n"
