"""Problem sets: what is in them, what is refused and in which words."""

import json
import re

import pytest

from configs.errors import UsageError
from configs.load import load_suite, names
from rewards.procedural import asked_sums, in_test_split, sums
from rewards.suites import _gym_rows, check_held_out, load_problems


def operands(question):
    a, b = question.removesuffix("=?").split("+")
    return int(a), int(b)


def test_sums_are_right_in_range_and_all_different():
    for split, size in (("test", 256), ("train", 4096)):
        rows = sums(split, size, seed=0)
        pairs = [operands(question) for question, _, _ in rows]
        for (a, b), (_, answer, _) in zip(pairs, rows, strict=True):
            assert a + b == int(answer) <= 999
            assert min(a, b) >= 100
        assert len({frozenset(pair) for pair in pairs}) == size


def test_no_pair_stands_on_both_sides_in_either_order():
    test, train = (
        {frozenset(operands(question)) for question, _, _ in sums(split, size, 0)}
        for split, size in (("test", 19_000), ("train", 140_000))  # nearly all there are
    )
    assert not test & train
    assert all(in_test_split(a, b) == in_test_split(b, a) for a, b in ((347, 285), (100, 899), (555, 444)))


def test_the_held_out_share_is_one_in_eight():
    held = [in_test_split(a, b) for a in range(100, 500) for b in range(a, 1000 - a)]
    assert abs(sum(held) / len(held) - 1 / 8) < 5 * (7 / 64 / len(held)) ** 0.5


def asked_pairs(split, size, digits):
    rows = asked_sums(split, size, seed=0, digits=digits)
    pairs = [
        tuple(map(int, question.removeprefix("What is ").removesuffix("?").split(" + "))) for question, _, _ in rows
    ]
    assert [str(a + b) for a, b in pairs] == [answer for _, answer, _ in rows]
    return pairs


def test_asked_sums_split_all_pairs_in_two_halves_with_their_swapped_twins():
    for digits, low, high in ((1, 0, 9), (2, 10, 99)):
        everything = {frozenset((a, b)) for a in range(low, high + 1) for b in range(low, high + 1)}
        test, train = (asked_pairs(split, len(everything) // 2, digits) for split in ("test", "train"))
        held, seen = {frozenset(pair) for pair in test}, {frozenset(pair) for pair in train}
        assert not held & seen
        assert len(held) == len(test)
        assert len(seen) == len(train)
        assert len(everything - held - seen) == len(everything) % 2
    with pytest.raises(UsageError, match="27 pairs in its test split"):
        asked_sums("test", 28, seed=0, digits=1)


def test_no_twin_of_a_held_out_sum_is_trained_on_or_shown():
    def pairs(suite):
        return {frozenset(re.findall(r"\d+", one.question)) for one in load_problems(suite).problems}

    assert len(pairs("asked-sums-1")) == 27
    assert len(pairs("asked-sums-1") | pairs("asked-sums-1-train")) == 55


def test_what_a_suite_skips_is_what_the_other_asks():
    asked, trained = load_problems("chain-sum"), load_problems("chain-sum-train")
    check_held_out(asked, trained)
    gym = load_suite("chain-sum").reasoning_gym
    both = gym.model_copy(update={"size": len(asked.problems) + len(trained.problems)})
    stream = [question for question, _ in _gym_rows("both", both)]
    assert stream == [one.question for one in (*asked.problems, *trained.problems)]


def test_sums_are_the_same_on_every_machine():
    """Pinned when the suites were made: a change breaks the comparison with every run kept until then."""
    found = [load_problems(name).fingerprint for name in ("sums", "sums-train")]
    assert found == ["1f8286e0adecb700", "47252d291331e1bd"]


def test_a_set_knows_its_problems_by_id():
    suite = load_problems("sums")
    assert [each.id for each in suite.problems[:2]] == ["sums/test/0", "sums/test/1"]
    assert suite.bad_gold == ()
    assert suite.first(3).problems == suite.problems[:3]
    assert suite.first(3).fingerprint != suite.fingerprint == suite.first(256).fingerprint


def write(path, *rows, bom=""):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text(bom + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


ROW = {"id": "a", "problem": "1+1?", "answer": "2"}


def test_a_file_keeps_its_ids_and_lists_golds_that_cannot_be_graded(tmp_path):
    bad = {"id": 7, "problem": "?", "answer": r"\frac{", "level": 3, "source": "me"}
    suite = load_problems(write(tmp_path / "own.jsonl", ROW, "", bad, bom="\ufeff"))
    assert [(each.id, each.level, each.source) for each in suite.problems] == [("a", None, None), ("7", "3", "me")]
    assert suite.bad_gold == ("7",)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "holds no problem"),
        ([ROW, ROW], "id 'a' occurs more than once"),
        ([ROW, "{oops"], "line 2: not JSON"),
        ([{"id": "a", "problem": "?"}], "line 1: no answer; the line has id, problem"),
        (["[]"], "line 1: expected a JSON object"),
        ([{"id": "a", "problem": "?", "answer": ""}], "no answer is LaTeX or a number"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_line(tmp_path, rows, says):
    with pytest.raises(UsageError, match=says):
        load_problems(write(tmp_path / "own.jsonl", *rows))


def test_unknown_missing_and_undecodable_suites_are_refused(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}')
    for suite, says in (
        ("maths500", "did you mean math500"),
        (str(tmp_path / "no.jsonl"), "can't be read"),
        (str(tmp_path / "latin.jsonl"), "not UTF-8"),
    ):
        with pytest.raises(UsageError, match=says):
            load_problems(suite)
    with pytest.raises(UsageError, match="sums has 19944 pairs in its test split"):
        sums("test", 10**6, 0)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionError("no route"), "can't be fetched"),
        (ValueError("Unknown split"), "can't be loaded"),
        ("missing", "hf auth login"),
    ],
)
def test_a_hub_that_fails_names_the_way_out(monkeypatch, error, says):
    import datasets

    def fail(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("gone") if error == "missing" else error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UsageError, match=says) as caught:
        load_problems("gsm8k")
    assert "--suite path.jsonl" in str(caught.value)


def test_hub_rows_are_read_by_the_columns_and_rule_of_the_config(monkeypatch):
    import datasets

    rows = {
        "gsm8k": {"question": ["q"], "answer": ["so 3*4=12\n#### 1,200"]},
        "olympiadbench": {"question": ["q"], "final_answer": [["$2$", "3"]]},
        "math500": {"problem": ["q"], "answer": [r"\frac12"], "level": [4]},
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict(rows[name]))
    golds = []
    for name in rows:
        (problem,) = load_problems(name).problems
        golds.append((problem.id, problem.answer, problem.level))
    assert golds == [
        ("gsm8k/test/0", "1,200", None),
        ("olympiadbench/train/0", "$2$", None),
        ("math500/test/0", r"\frac12", "4"),
    ]
    rows["gsm8k"] = {"prompt": ["q"], "answer": ["#### 1"]}
    name = "gsm8k"
    with pytest.raises(UsageError, match="has no column question but prompt, answer"):
        load_problems("gsm8k")


def test_every_suite_config_loads():
    assert {"aime24", "aime25", "amc23", "math500", "gsm8k", "sums"} <= set(names("suites"))
    for name in names("suites"):
        load_suite(name)
