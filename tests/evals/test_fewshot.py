"""Worked examples: answered in the template's own form, never a question that is asked, the same for one seed."""

import pytest

from configs.errors import UsageError
from configs.load import load_template, names
from evals.fewshot import BETWEEN, few_shot
from rewards.reading import read
from rewards.suites import ProblemSet
from rewards.types import Problem


def problem_set(name, numbers):
    problems = tuple(
        Problem(
            id=f"{name}/{n}",
            question=f"What is {n} + {n}?",
            answer=str(2 * n),
            solution=f"Twice {n} is {2 * n}.\n#### {2 * n}",
        )
        for n in numbers
    )
    return ProblemSet(name=name, problems=problems, bad_gold=())


ASKED, TRAIN = problem_set("asked", range(5)), problem_set("train", range(3, 40))


@pytest.mark.parametrize("name", names("templates"))
def test_a_base_that_copies_an_example_is_read_as_that_examples_answer(name):
    template = load_template(name)
    shown = few_shot(template, ASKED, TRAIN, shots=1, seed=0)
    example = shown.ask("Now?").partition(BETWEEN)[0]
    number = int(example.partition("What is ")[2].partition(" ")[0])
    reply = example.partition(template.ask(f"What is {number} + {number}?"))[2]
    assert read(reply + BETWEEN + example, shown, "strict") == str(2 * number)
    assert shown.ask("Now?").endswith(template.ask("Now?"))


def test_examples_never_ask_what_the_suite_asks_and_are_the_same_for_one_seed():
    template = load_template("simple")
    one, again, other = (few_shot(template, ASKED, TRAIN, shots=20, seed=seed).prompt for seed in (1, 1, 2))
    assert one == again != other
    assert all(f"What is {n} + {n}?" not in one for n in range(5))
    assert one.count("Twice") == 20


def test_too_few_problems_say_what_to_do():
    with pytest.raises(UsageError, match="train has 35 problems that asked does not ask, and --shots is 36"):
        few_shot(load_template("simple"), ASKED, TRAIN, shots=36, seed=0)
