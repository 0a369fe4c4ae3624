"""The probes on bases whose nature is known: one that knows the test by heart, one that guesses, one that sees letters."""

import itertools
import json
import random
import re
import shutil
from collections import Counter
from dataclasses import replace

import pytest

from configs.errors import UsageError
from evals.arithmetic import by_level, reach, rungs
from evals.probes import contamination, cut_question, cuts, drawn_whole, letter_questions, letters, renumbered
from rewards.suites import load_problems
from rewards.types import Problem

PROBLEMS = [
    Problem(
        id=str(n),
        question=f"A train leaves at {n + 10} and drives for {n + 20} hours over {n + 300} hills. How far is {n + 40} miles?",
        answer=str(n + 7),
    )
    for n in range(40)
]


def test_a_question_is_cut_between_words_and_nothing_is_lost():
    for share in (0.1, 0.5, 0.6, 0.9):
        shown, rest = cut_question(PROBLEMS[0].question, share)
        assert f"{shown} {rest}".split() == PROBLEMS[0].question.split()
        assert abs(len(shown) / len(PROBLEMS[0].question) - share) < 0.15


def test_fresh_questions_have_other_numbers_of_the_same_length_and_the_same_words():
    for seed in range(200):
        text = "It has 3 cats, 47 dogs and 1200 birds."
        fresh = renumbered(text, random.Random(seed))
        for old, new in zip(text.split(), fresh.split(), strict=True):
            assert len(old) == len(new)
            assert (old != new) == old.isdigit()


def test_a_base_that_knows_the_test_by_heart_is_told_from_one_that_continues_well():
    asked = cuts(PROBLEMS, seed=0)
    by_heart = {problem.id: problem for problem in PROBLEMS}
    memory = {}
    for cut in asked:
        original = cut_question(by_heart[cut.problem.id].question)[1]
        memory[cut.request.problem_id] = f"{original} The answer is {cut.problem.answer}."
    found = contamination(asked, memory)
    assert found["exact"]["asked"].value == 1
    assert found["exact"]["fresh"].value == 0
    assert found["exact"]["difference"].low > 0.8
    assert found["answer"]["fresh"].value == 1  # the gold of a question that was not asked

    fluent = {cut.request.problem_id: renumbered(cut.rest, random.Random(cut.rest)) for cut in asked}
    found = contamination(asked, fluent)
    assert found["exact"]["asked"].value == 0
    assert found["exact"]["difference"].low <= 0 <= found["exact"]["difference"].high
    assert found["rouge_l"]["asked"].value == found["rouge_l"]["fresh"].value > 0.3  # the words, not the numbers


def test_a_question_one_arm_of_which_was_not_drawn_is_in_no_number():
    asked = cuts(PROBLEMS, seed=0)
    by_heart = {cut.request.problem_id: cut.rest for cut in asked}
    drawn = {id: text for id, text in by_heart.items() if id not in ("3|asked", "5|fresh")}
    kept = drawn_whole(asked, lambda cut: cut.pair, drawn)
    assert {cut.problem.id for cut in asked} - {cut.problem.id for cut in kept} == {"3", "5"}
    found = contamination(kept, drawn)["exact"]
    assert {name: (one.value, one.n) for name, one in found.items()} == {
        "asked": (1, 38),
        "fresh": (1, 38),
        "difference": (0, 38),
    }
    with pytest.raises(UsageError, match="lower --max-tokens"):
        drawn_whole(asked, lambda cut: cut.pair, {})


def test_the_script_counts_a_question_without_room_as_not_drawn_and_not_as_wrong(script, short_base, tmp_path):
    suite, rows = tmp_path / "suite.jsonl", []
    for n in range(4):
        filler = "over hills " * (2000 if n == 3 else 1)
        question = f"A train goes {filler}and {filler}for {n + 10} hours at {n + 20} miles. How far from {n + 300}?"
        rows.append({"id": str(n), "problem": question, "answer": str(n)})
    suite.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["contamination", "--base", short_base, "--suite", suite, "--max-tokens", 8, "--out", tmp_path / "probes"]
    done = script("probe", *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 of 4 questions" in done.stdout
    (path,) = (tmp_path / "probes").glob("*/probe.json")
    found = json.loads(path.read_text())
    assert (found["not_drawn"], found["exact"]["asked"]["n"]) == (1, 3)


def test_questions_without_a_hidden_number_can_tell_nothing():
    with pytest.raises(UsageError, match="no question has a number in its last 40%"):
        cuts([Problem(id="1", question="There are 5 of them and what of it, who would ask?", answer="5")], seed=0)


def test_letters_are_counted_right_by_one_who_sees_them_and_by_nobody_else():
    questions = letter_questions(size=60, seed=1)
    assert len({one.word for one in questions}) == 60
    assert sum(one.count > 1 for one in questions) == 30
    tokens = {one.word: 1 + index % 4 for index, one in enumerate(questions)}
    seeing = {
        one.request(spelled=arm).problem_id: f" {one.count}\n\nQuestion: 9" if arm else " 1"
        for one in questions
        for arm in (True, False)
    }
    found = letters(questions, seeing, tokens)
    assert found["spelled"].value == 1
    assert found["whole"].value == found["floor"] == 0.5
    assert found["difference"].low > 0.3
    assert found["tokens_per_word"] == 2.5
    assert set(found["by_tokens"]) == {"1", "2", "3", "4+"}
    assert sum(each["whole"].n for each in found["by_tokens"].values()) == 60


def test_what_words_of_few_tokens_hide_is_told_apart_from_what_is_hard_about_counting():
    questions = letter_questions(size=80, seed=2)
    tokens = {one.word: 1 + index % 2 for index, one in enumerate(questions)}
    says = {
        one.request(spelled=spelled).problem_id: str(one.count if spelled or tokens[one.word] > 1 else 0)
        for one in questions
        for spelled in (True, False)
    }
    found = letters(questions, says, tokens)["by_tokens"]
    assert found["1"]["hidden"].low > 0.8
    assert (found["2"]["hidden"].value, found["2"]["whole"].value) == (0, 1)


def test_a_question_that_a_set_asks_twice_is_asked_once_for_the_intervals():
    def shares(problems):
        known = {cut.request.problem_id: cut.rest for cut in cuts(problems, seed=0) if int(cut.problem.answer) % 2}
        asked = cuts(problems, seed=0)
        return contamination(asked, {one.request.problem_id: known.get(one.request.problem_id, "") for one in asked})

    twice = [replace(each, id=f"{each.id}/{copy}") for each in PROBLEMS for copy in (0, 1)]
    for arm in ("asked", "difference"):
        once, again = shares(PROBLEMS)["exact"][arm], shares(twice)["exact"][arm]
        assert (again.value, again.n) == (once.value, 2 * once.n)
        assert (again.low, again.high) == pytest.approx((once.low, once.high))


def test_arithmetic_is_asked_at_every_level_with_answers_that_python_agrees_with():
    asked = rungs(size=12, seed=5)
    assert len({one.problem.id for one in asked}) == len({one.problem.question for one in asked}) == len(asked)
    for one in asked:
        (sum_of,) = re.findall(r"[-+*0-9 ]*[0-9]", one.problem.question)
        assert eval(sum_of) == int(one.problem.answer)
        numbers = re.findall(r"[0-9]+", sum_of)
        graded = len(numbers) if one.ladder.endswith("terms") else len(numbers[0])
        assert graded == one.level
    levels = {ladder: {one.level for one in asked if one.ladder == ladder} for ladder in {one.ladder for one in asked}}
    assert sorted(map(len, levels.values())) == [4, 4, 5]


def test_another_seed_asks_other_problems_and_the_same_seed_the_same():
    one, again, other = ([each.problem.question for each in rungs(size=12, seed=seed)] for seed in (5, 5, 6))
    assert one == again
    assert len(set(one) & set(other)) < len(one) / 4  # of one digit there are not many


SUITES = ["chain-sum", "chain-sum-train", *(f"sum-of-{digits}-digits" for digits in range(1, 6))]


def test_no_problem_of_a_probe_is_measured_or_trained_on_elsewhere_where_a_level_has_enough_of_them():
    taken = {problem.question for name in SUITES for problem in load_problems(name).problems}
    ten = [[*map(str, range(10))]] * 2
    small = {f"{one} {sign} {other} =" for one, other in itertools.product(*ten) for sign in "+-"}
    left = len(small) - len({question.partition(": ")[2] for question in taken} & small)
    for seed in (0, 1):
        asked = rungs(size=64, seed=seed)
        again = Counter((one.ladder, one.level) for one in asked if one.problem.question in taken)
        assert list(again) == [("sums and differences of two numbers, digits", 1)]
        assert again.total() <= 64 - left + 5  # some are in no 512 draws


def test_the_ladder_of_two_numbers_adds_and_subtracts_as_its_name_says():
    of_two = [one for one in rungs(size=64, seed=0) if one.ladder == "sums and differences of two numbers, digits"]
    assert 0.3 < sum(" - " in one.problem.question for one in of_two) / len(of_two) < 0.7


def test_a_base_that_adds_up_to_three_digits_is_found_to_do_so():
    asked = rungs(size=20, seed=0)
    adds = {one.problem.id: one.ladder.startswith("sums and differences of two") and one.level <= 3 for one in asked}
    reached = {ladder.partition(",")[0]: reach(levels) for ladder, levels in by_level(asked, adds).items()}
    both = "sums and differences of"
    assert reached == {f"{both} two numbers": 3, f"{both} one-digit numbers": None, "products of two numbers": None}


def test_the_script_lays_bases_side_by_side_and_takes_no_old_answers_for_other_questions(script, short_base, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(short_base, other)
    flags = ["letters", "--limit", 4, "--out", tmp_path]
    done = script("probe", *flags, "--base", short_base, other)
    assert done.returncode == 0, done.stderr[-2000:]
    assert short_base.name in done.stdout
    found = [json.loads((tmp_path / f"{name}-letters/probe.json").read_text()) for name in (short_base.name, "other")]
    assert found[0]["by_tokens"] == found[1]["by_tokens"]
    assert found[0]["letters_per_token"] < 1  # its tokens are bytes, and a space stands before each word
    again = script("probe", *flags, "--base", other, "--seed", 1)
    assert (again.returncode, "differs in seed" in again.stderr) == (2, True)
