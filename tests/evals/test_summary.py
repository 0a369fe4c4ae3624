"""An audit's numbers against hand counts and simulated truths; behaviours on texts that show them and texts that don't."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from kept import box, kept_row, sums_suite

from configs.errors import UsageError
from configs.load import load_template
from evals.behaviours import NAMES, behaviours, loops
from evals.estimate import fixed_questions
from evals.forecast import outlook
from evals.manifest import write_json
from evals.regrade import against, regrade, told
from evals.rollouts import RolloutStore
from evals.summary import edge, summary
from rewards.suites import ProblemSet, load_problems
from rewards.types import Problem


def row(problem, sample, **changes):
    facts = {
        "completion": "x",
        "prompt_tokens": 1,
        "completion_tokens": 10,
        "finish": "stop",
        "logprob": -1.0,
        "seed": 0,
    }
    verdict = {"answer": "1", "correct": False, "lenient_correct": False, "status": "graded", "reason": "different"}
    return {"problem_id": problem, "sample": sample, **facts, **verdict, "reward": None, "step": None, **changes}


def problem_set(count, bad=()):
    problems = tuple(Problem(id=str(n), question=f"q{n}", answer="1") for n in range(count))
    return ProblemSet(name="made", problems=problems, bad_gold=bad)


def test_a_small_audit_worked_by_hand(tmp_path):
    store = RolloutStore(tmp_path)
    right = {"correct": True, "lenient_correct": True, "reason": "equal"}
    store.append(
        [row("0", 0, **right), row("1", 0, status="no_answer", answer=None, reason="no_answer", finish="length")]
    )
    store.append([row("1", 1, lenient_correct=True), row("0", 1), row("2", 0, **right), row("2", 1, **right)])
    found = summary(store, problem_set(3, bad=("2",)), samples=2, seed=0)
    assert found["pass_at_k"]["read"]["1"]["value"] == 0.25  # 1 of 2 and 0 of 2; the third problem's gold is bad
    assert found["pass_at_k"]["read"]["2"]["value"] == 0.5
    assert found["pass_at_k"]["lenient"]["1"]["value"] == 0.5
    assert found["pass_hat_k"]["2"]["value"] == 0
    assert found["reasons"] == {"equal": 3, "different": 2, "no_answer": 1}
    assert found["truncation_rate"]["value"] == 0.25
    assert found["answer_rate"]["value"] == 0.75
    assert found["completion_tokens"]["mean"] == 10
    assert found["mean_token_logprob"]["value"] == pytest.approx(-0.1)
    assert found["mean_completion_tokens"]["value"] == 10
    assert found["outlook"]["never_solved"] == 1
    asked = [one.pop("question") for one in found["problems"]]
    assert found["problems"] == [
        {"id": "0", "samples": 2, "correct": 1, "lenient": 1},
        {"id": "1", "samples": 2, "correct": 0, "lenient": 1},
    ]
    assert len(set(asked)) == 2


def test_problems_that_ask_the_same_but_for_spaces_say_so_in_the_audit(tmp_path):
    asked = ("what is  1 + 1?", "what is 1 + 1?\n", "what is 1 + 2?")
    problems = tuple(Problem(id=str(n), question=text, answer="1") for n, text in enumerate(asked))
    store = RolloutStore(tmp_path)
    store.append([row(str(n), 0) for n in range(3)])
    found = summary(store, ProblemSet(name="made", problems=problems, bad_gold=()), samples=1, seed=0)
    first, second, third = (one["question"] for one in found["problems"])
    assert first == second != third


def test_fixed_questions_covers_what_another_audit_of_the_same_questions_is_about():
    rng = np.random.default_rng(0)
    for rates in (rng.beta(0.3, 1, 30), rng.beta(0.02, 1, 30), rng.beta(5, 0.2, 60), np.full(30, 0.5)):
        covered, widths = [], []
        for _ in range(1000):
            found = fixed_questions(rng.binomial(16, rates), np.full(rates.size, 16))
            covered.append(found.low <= rates.mean() <= found.high)
            widths.append(found.high - found.low)
        assert np.mean(covered) >= 0.93, (rates.mean(), np.mean(covered))
        pooled = 2 * 1.96 * np.sqrt(rates.mean() * (1 - rates.mean()) / (16 * rates.size))
        assert np.mean(widths) < 1.3 * pooled  # never much wider than if all questions were alike


def test_the_outlook_is_what_counting_gives():
    rng = np.random.default_rng(1)
    rates = np.array([0.0, 0.0, 0.1, 0.4])
    correct = (rates * 20).astype(int)
    found = outlook(correct, np.full(4, 20))
    waits = [next(n for n in range(1, 10_000) if rng.random() < rates[rng.integers(4)]) for _ in range(4000)]
    assert found["rollouts_to_first_reward"]["value"] == pytest.approx(np.mean(waits), rel=0.1)
    assert found["never_solved"] == 2
    assert (1 - found["missed_below"]) ** 20 == pytest.approx(0.05)
    assert found["smallest_group"] == 19  # 19 of the 20 samples hold one of the two right ones; 18 may hold neither
    assert outlook(np.array([0, 0, 0, 8]), np.full(4, 20))["smallest_group"] is None
    assert outlook(np.array([10, 10]), np.array([20, 20]))["smallest_group"] == 2
    assert outlook(np.array([0]), np.array([20]))["rollouts_to_first_reward"]["high"] is None


def test_the_edge_is_what_is_solved_sometimes_and_less_than_half_the_time():
    counts = [0, 1, 7, 8, 16]
    audit = {"problems": [{"id": str(n), "samples": 16, "correct": count} for n, count in enumerate(counts)]}
    assert [each["id"] for each in edge(audit, problem_set(6))] == ["1", "2"]
    first = edge(audit, problem_set(6))[0]
    assert first == {"id": "1", "problem": "q1", "answer": "1", "level": None, "form": "any"}


SHOWN = {
    "runs_on": "It is 5.\nQuestion: and now?",
    "goes_on_behind_an_end_token": "It is 5.<|im_end|> and more",
    "loops": "the answer is 5, the answer is 5, the answer is 5, the answer is 5, ",
    "boxes": r"\boxed{5}",
    "self_check": "Wait, 3 + 3 is 6. Let me double-check.",
    "code": "```python\nprint(1)\n```",
    "other_script": "所以答案是 5",
}


def shows(name, text):
    return behaviours(pa.chunked_array([[text]]), pa.chunked_array([["length"]]))[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_a_behaviour_is_seen_where_it_is_and_not_in_plain_work(name):
    assert shows(name, SHOWN[name])
    for plain in (
        "We add 3 and 2 and get 5.",
        r"$\frac{1}{2}+\alpha$ is the answer",
        "It waits for the import of goods.<|im_end|>",
    ):
        assert not shows(name, plain), plain


def test_rules_and_numbers_in_a_row_are_no_loop():
    assert not loops("-" * 300)
    assert not loops("1, 2, 3, 4, 5, 6")
    assert loops("abc def " * 40)


def test_a_million_rollouts_take_seconds_and_little_memory(tmp_path):
    code = f"""
import sys, time
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from evals.rollouts import SCHEMA, RolloutStore
from evals.summary import summary
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_summary import problem_set
folder, problems, samples = Path({str(tmp_path)!r}), 4000, 250
rng = np.random.default_rng(0)
for part in range(20):
    size = problems * samples // 20
    place = np.arange(part * size, (part + 1) * size)
    right = rng.random(size) < 0.2
    texts = dict(problem_id=(place % problems).astype(str), completion=["so it is 5"] * size, finish=["stop"] * size)
    numbers = dict(sample=place // problems, prompt_tokens=np.ones(size, int), completion_tokens=np.full(size, 9))
    verdicts = dict(answer=np.where(right, "5", rng.integers(0, 4, size).astype(str)), correct=right, lenient_correct=right)
    rest = dict(status=["graded"] * size, reason=["equal"] * size, logprob=np.full(size, -1.0), seed=np.zeros(size, int))
    columns = texts | numbers | verdicts | rest | dict(reward=[None] * size, step=[None] * size)
    folder.mkdir(exist_ok=True)
    arrays = {{name: pa.array(columns[name], type=SCHEMA.field(name).type) for name in SCHEMA.names}}
    pq.write_table(pa.table(arrays), folder / f"part-{{part:06d}}.parquet")
began = time.perf_counter()
found = summary(RolloutStore(folder), problem_set(problems), samples=samples, seed=0)
gib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20  # rusage holds the parent's too
print(time.perf_counter() - began, gib, found["pass_at_k"]["read"]["1"]["value"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    seconds, gib, value = map(float, done.stdout.split())
    print(f"{seconds:.1f} s, {gib:.2f} GiB")
    assert value == pytest.approx(0.2, abs=0.01)
    assert gib < 1.5
    assert seconds < 60  # about a third of that where nothing else runs


def test_regrading_finds_the_verdicts_that_another_reading_changes_and_keeps_the_old_ones(tmp_path, script, short_base):
    audit = tmp_path / "audit"
    flags = [
        "--base",
        short_base,
        "--suite",
        "sums",
        "--template",
        "qa",
        "--limit",
        6,
        "--samples",
        4,
        "--max-tokens",
        8,
    ]
    done = script("audit", *flags, "--out", audit)
    assert done.returncode == 0, done.stderr[-2000:]
    store = RolloutStore(audit / "rollouts")
    rows = list(store.rows())
    for path in store.parts():
        path.unlink()
    gold = {each["id"]: each for each in json.loads((audit / "audit.json").read_text())["problems"]}
    from rewards.suites import load_problems

    answers = {each.id: each.answer for each in load_problems("sums").problems}
    for each in rows:  # as if the base had answered without a box
        each.update(completion=f"It is {answers[each['problem_id']]}.", answer=None, status="no_answer", correct=False)
    store.append(rows)
    before = (audit / "audit.json").read_bytes()
    done = script("audit", "--regrade", audit, "--read", "lenient")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "24 verdicts or answers changed" in done.stdout
    assert "24 samples are right that were wrong, 0 wrong that were right: pass@1 moves by +" in done.stdout
    assert "inside the noise" not in done.stdout
    (out,) = audit.glob("regraded-lenient-*")
    assert json.loads((out / "audit.json").read_text())["pass_at_k"]["read"]["1"]["value"] == 1
    changes = [json.loads(line) for line in (out / "differences.jsonl").read_text().splitlines()]
    assert {each["problem_id"] for each in changes} == set(gold)
    assert changes[0]["before"]["correct"] is False
    assert changes[0]["after"]["correct"] is True
    assert (audit / "audit.json").read_bytes() == before
    assert script("audit", "--regrade", audit, "--read", "lenient").returncode == 2
    assert "no finished audit" in script("audit", "--regrade", tmp_path).stderr


def test_grading_again_that_a_full_disk_stopped_is_done_by_the_same_call(tmp_path, monkeypatch):
    suite = load_problems(sums_suite(tmp_path / "sums.jsonl", 6)["name"])
    folder = tmp_path / "audit"
    store = RolloutStore(folder / "rollouts")
    store.append([kept_row(n, sample, *box(None, n, True), right=True) for n in range(6) for sample in range(2)])
    facts = {"base": "any", "step": 0, "suite": {"name": suite.name, "fingerprint": suite.fingerprint}}
    facts |= {"sampling": {"samples": 2, "seed": 0}, "reading": "strict", "verifier": 0}
    write_json(folder / "audit.json", {**facts, **summary(store, suite, samples=2, seed=0)})
    write_json(folder / "manifest.json", {"settings": {"template": load_template("qa").model_dump()}})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for stopped in ("summary", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(f"evals.regrade.{stopped}", full)
            with pytest.raises(OSError, match="No space"):
                regrade(folder, suite, reading="strict")
        assert list(folder.glob("regraded-*")) == []
    out = regrade(folder, suite, reading="strict")
    assert json.loads((out / "audit.json").read_text())["pass_at_k"]["read"]["1"]["value"] == 1
    assert len(list(RolloutStore(out / "rollouts").rows())) == 12
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    with pytest.raises(UsageError, match="is there already"):
        regrade(folder, suite, reading="strict")


def test_what_grading_again_changes_in_one_problem_of_many_is_called_noise():
    problems = tuple(Problem(id=str(n), question=f"{n}+1", answer=str(n + 1)) for n in range(40))
    suite = ProblemSet(name="s", problems=problems, bad_gold=())

    def audit(correct):
        rows = [{"id": str(n), "samples": 4, "correct": right} for n, right in correct.items()]
        return {"reading": "strict", "verifier": 1, "problems": rows}

    before = audit(dict.fromkeys(range(40), 1))
    one = against(before, audit({n: 2 if n == 3 else 1 for n in range(40)}), suite)
    assert one["difference"]["value"] == pytest.approx(1 / 160)
    assert "1 samples are right that were wrong" in told({"against": one}, [(False, True)])
    assert "inside the noise" in told({"against": one}, [(False, True)])
    all_of_them = against(before, audit(dict.fromkeys(range(39), 3)), suite)  # one is not graded any more
    assert (all_of_them["difference"]["value"], all_of_them["difference"]["n"]) == (0.5, 39)
    assert "inside the noise" not in told({"against": all_of_them}, [(False, True)] * 78)
    assert told({"against": one}, [(False, False)]).endswith("no score changes")
