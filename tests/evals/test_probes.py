"""The probes on bases whose nature is known: one that knows the test by heart, one that guesses, one that sees letters."""

import random

import pytest

from configs.errors import UsageError
from evals.probes import contamination, cut_question, cuts, letter_questions, letters, renumbered
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
    assert set(found["by_tokens"]) == {"1", "2", "3+"}
