"""Is the verifier right on cases judged by hand, does it hold its limits, and does it work wherever it is called?"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.load import load_template
from rewards.grade import grade, grade_many
from rewards.types import Problem
from rewards.verify import accepts_itself, in_form, verify
from tests.rewards.attacks import ATTACKS

HERE = Path(__file__).parent
CASES = [json.loads(line) for line in (HERE / "cases.jsonl").open(encoding="utf-8")]
NONE = load_template("none")


def verdict(case):
    form = "final" if case.get("final_form") else "any"
    if "answer" in case:
        return verify(case["gold"], case["answer"], form=form)
    template = load_template(case.get("template", "none"))
    problem = Problem(id="case", question="", answer=case["gold"], form=form)
    return grade(problem, case["completion"], template, reading=case.get("reading", "strict"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_cases_judged_by_hand(case):
    assert verdict(case).correct == case["right"], case["why"]


def test_the_cases_are_many_and_of_every_kind():
    kinds = {case["kind"] for case in CASES}
    assert len(CASES) >= 500
    assert len(kinds) >= 25
    assert 0.3 < sum(not case["right"] for case in CASES) / len(CASES) < 0.6
    assert len(ATTACKS) >= 150


def attack(entry):
    name, gold, completion, right, _ = entry
    seconds = time.perf_counter()
    correct = grade(Problem(id=name, question="", answer=gold), completion, NONE, reading="strict").correct
    return name, correct == right, time.perf_counter() - seconds


def failures(outcomes):
    return [(name, f"{seconds:.2f} s") for name, right, seconds in outcomes if not right or seconds > 1]


def test_attacks_are_graded_right_within_a_second():
    assert failures(map(attack, ATTACKS)) == []


def test_attacks_are_graded_right_off_the_main_thread_and_in_other_processes():
    with ThreadPoolExecutor(1) as threads:
        assert failures(threads.map(attack, ATTACKS)) == []
    with ProcessPoolExecutor(1) as processes:
        assert failures(processes.map(attack, ATTACKS)) == []


def test_attacks_stay_under_512_megabytes_and_run_nothing(tmp_path):
    code = """
import os, resource, sys
from configs.load import load_template
from rewards.grade import grade
from rewards.types import Problem
from tests.rewards.attacks import ATTACKS
limit = 512 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event in ("exec", "os.system", "subprocess.Popen", "open", "import") else None)
template = load_template("none")
seen.clear()
for name, gold, completion, right, _ in ATTACKS:
    grade(Problem(id=name, question="", answer=gold), completion, template, reading="strict")
print(sorted(set(seen)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parents[1], check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"


def test_one_bomb_does_not_delay_a_batch():
    bomb = Problem(id="bomb", question="", answer="5"), r"\boxed{9^{9^{9^{9^{9}}}}}"
    pairs = [(Problem(id=str(n), question="", answer=str(n)), rf"so \boxed{{{n}}}") for n in range(63)] + [bomb]
    start = time.perf_counter()
    verdicts = list(grade_many(pairs, NONE, reading="strict"))
    assert time.perf_counter() - start < 1.2
    assert [each.correct for each in verdicts] == [True] * 63 + [False]


def test_several_workers_give_the_same_verdicts_in_the_same_order():
    pairs = [(Problem(id=str(n), question="", answer=str(n % 7)), rf"\boxed{{{n % 5}}}") for n in range(1_234)]
    one, two = (
        [(each.answer, each.correct) for each in grade_many(iter(pairs), NONE, reading="strict", workers=workers)]
        for workers in (1, 2)
    )
    assert one == two
    assert len(one) == 1_234


SPELLINGS = [
    lambda value: f"{value.numerator}/{value.denominator}",
    lambda value: rf"\frac{{{value.numerator}}}{{{value.denominator}}}",
    lambda value: rf"-\dfrac{{{-value.numerator}}}{{{value.denominator}}}",
    lambda value: rf"{{{value.numerator} \over {value.denominator}}}",
    lambda value: rf"${3 * value.numerator}\div{3 * value.denominator}$",
    lambda value: f"{value.numerator * 100}/{value.denominator}%",
    lambda value: f"x = {value.numerator}/{value.denominator}",
    lambda value: rf"\text{{The answer is }} \frac{{{value.numerator}}}{{{value.denominator}}}.",
]
fractions = st.fractions(max_denominator=10**6)
spellings = st.sampled_from(SPELLINGS)


@settings(max_examples=300, deadline=None)
@given(fractions, spellings, spellings)
def test_any_rational_in_any_two_spellings_agrees(value, one, other):
    assert verify(one(value), other(value)).correct


@settings(max_examples=300, deadline=None)
@given(fractions, fractions, spellings, spellings)
def test_different_rationals_never_agree(value, another, one, other):
    assert verify(one(value), other(another)).correct == (value == another)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**12), st.data())
def test_a_changed_digit_never_agrees(value, data):
    digits = str(value)
    place = data.draw(st.integers(0, len(digits) - 1))
    digit = data.draw(st.sampled_from([each for each in "0123456789" if each != digits[place]]))
    changed = digits[:place] + digit + digits[place + 1 :]
    for spelling in (
        str,
        lambda text: f"{int(text):,}",
        lambda text: f"{int(text):,}".replace(",", r"\,"),
        lambda text: f"0.1{text}",
    ):
        assert verify(spelling(digits), spelling(digits)).correct
        assert not verify(spelling(digits), spelling(changed)).correct


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_decimals_and_separators_are_read_exactly(digits, places):
    value = Decimal(digits).scaleb(-places)
    assert verify(str(Fraction(value)), f"{value:,f}").correct


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 6), st.integers(0, 5))
def test_a_repeating_decimal_is_its_fraction(period, length, shift):
    digits = str(period % 10**length).zfill(length)
    value = Fraction(int(digits), 10**shift * (10**length - 1))
    assert verify(str(value), f"0.{'0' * shift}" + rf"\overline{{{digits}}}").correct


KINDS_THAT_ARE_SYMMETRIC = {
    "integer",
    "decimal",
    "fraction",
    "radical",
    "pi_e",
    "expression",
    "matrix",
    "set",
    "tuple",
    "scientific",
}
SYMMETRIC = [
    case for case in CASES if case["kind"] in KINDS_THAT_ARE_SYMMETRIC and "answer" in case and "final_form" not in case
]


def test_grading_is_symmetric_where_it_should_be():
    assert len(SYMMETRIC) > 100
    for case in SYMMETRIC:
        assert verify(case["answer"], case["gold"]).correct == case["right"], case["id"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_makes_it_raise(gold, answer):
    verify(gold, answer)
    verify(gold, answer, form="final")
    accepts_itself(gold)


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "}",
        r"\boxed{",
        r"\boxed{1}",
        r"\frac{",
        "$",
        "(",
        "9",
        "x",
        " ",
        "\n",
        "\\",
        "</think>",
        "<think>",
        "answer is ",
        "Answer:",
    ],
)
def test_a_megabyte_takes_less_than_a_second(piece):
    text = piece * (1_000_000 // len(piece))
    for reading in ("strict", "lenient"):
        start = time.perf_counter()
        grade(Problem(id="1", question="", answer="5"), text, NONE, reading=reading)
        assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "answer",
    [
        "-" * 1900 + "5",
        "x*" * 900 + "x",
        r"\sqrt" * 300 + "2",
        r"\frac" * 200 + "1" * 400,
        "(" * 900 + "5" + ")" * 900,
        "5" + "!" * 900,
        "x" + "^x" * 900,
        "1" + r"\pm 1" * 300,
        "[0,1]" + r"\cup[0,1]" * 180,
        "2^{" * 400 + "1" + "}" * 400,
    ],
)
def test_deep_and_long_answers_are_no_harm_deep_in_a_program(answer):
    def descend(levels):
        return descend(levels - 1) if levels else [verify("7", answer), verify(answer, answer)]

    assert not descend(300)[0].correct


def test_answers_that_cannot_be_read_say_why():
    assert {
        answer: verify("1", answer).reason for answer in ("", "x" * 2001, r"\frac{", "(" * 60 + "1", "9^{9^9}", "1/0")
    } == {
        "": "empty",
        "x" * 2001: "too_long",
        r"\frac{": "syntax",
        "(" * 60 + "1": "too_deep",
        "9^{9^9}": "too_big",
        "1/0": "undefined",
    }


def test_golds_that_hold_nothing_to_compare_are_refused():
    for gold in ("", "  ", "$$", "x" * 2001, r"\frac{", "1/0"):
        assert not accepts_itself(gold), gold


DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = [
    "math_500",
    "math_train",
    "aime_2024",
    "aime_2025",
    "amc_2023",
    "gsm8k_test",
    "minerva_math",
    "olympiadbench_math_en",
]
PRESENT = [name for name in SETS if (DATA / f"{name}.jsonl").exists()]


@pytest.mark.parametrize("name", PRESENT)
def test_golds_of_the_public_sets_accept_themselves_as_they_are_stored(name):
    golds = [json.loads(line)["answer"] for line in (DATA / f"{name}.jsonl").open(encoding="utf-8")]
    assert [gold for gold in golds if not accepts_itself(gold)] == []
    assert [gold for gold in golds if not in_form(gold, gold, "final")] == []


def test_aime_answers_are_integers_from_0_to_999_in_digits():
    for answer, right in [
        ("73", True),
        ("073", True),
        ("$73$", True),
        ("73.", True),
        (r"\frac{146}{2}", False),
        ("73.0", False),
        ("0073", False),
    ]:
        assert verify("073", answer, form="aime").correct == right, answer


def test_it_works_from_many_threads_at_once():
    def ask(n):
        return verify(rf"\sqrt{{{n * n * 2}}}", rf"{n}\sqrt{{2}}").correct

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(2, 400)))


def test_it_works_in_a_forked_child_and_inside_an_event_loop():
    child = os.fork()
    if child == 0:
        os._exit(0 if verify(r"\sqrt{27}", r"3\sqrt{3}").correct else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    async def ask():
        return await asyncio.to_thread(verify, r"\sqrt{50}", r"5\sqrt{2}")

    assert asyncio.run(ask()).correct


def test_the_callers_own_alarm_and_limits_survive():
    before = resource.getrlimit(resource.RLIMIT_AS), sys.getrecursionlimit(), threading.active_count()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(1000)
    verify(r"\sqrt{50}", r"5\sqrt{2}")
    verify(r"\sqrt{50}", "9^{9^{9}}")
    assert signal.alarm(0) > 900
    assert (resource.getrlimit(resource.RLIMIT_AS), sys.getrecursionlimit(), threading.active_count()) == before
