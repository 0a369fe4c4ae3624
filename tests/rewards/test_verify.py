"""Is the verifier right on answers written by hand, does it hold its limits, and does it work wherever it is called?"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.verify import _MATH_VERIFY, accepts_itself, normal, rational, verify

SAME = [
    ("42", "42."),
    ("42", "$42$"),
    ("42", r"\(42\)"),
    ("7", "007"),
    ("-3", "\u22123"),
    ("1234", "1,234"),
    ("10000", r"10,\!000"),
    ("1234567", r"1{,}234\,567"),
    ("1234", "1 234"),
    (r"\frac34", "0.75"),
    (r"\dfrac{3}{4}", "3/4"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    (r"1\frac{1}{2}", "3/2"),
    (r"50\%", "0.5"),
    ("50%", r"$50\%$"),
    (r"90^\circ", "90"),
    ("5", r"\$5"),
    (r"\text{even}", "Even"),
    (r"\text{(C)}", "C"),
    ("Maria", r"\text{Maria}"),
    (r"5\sqrt7", r"5\sqrt{7}"),
    (r"\frac{\pi}{2}", r"\frac\pi2"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("(1,2)", "( 1, 2 )"),
    (r"\{1,2\}", r"\{2,1\}"),
    ("x^2+2x+1", "(x+1)^2"),
    ("[0,1)", r"\left[0,1\right)"),
    ("5", "x=5"),
    ("3", r"\sqrt{9}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
]
DIFFERENT = [
    ("42", "43"),
    ("50", r"50\%"),
    (r"50\%", "50"),
    (r"\frac13", "0.333"),
    ("even", "odd"),
    ("Maria", "Armai"),
    ("C", "D"),
    ("3", "-3"),
    ("(1,2)", "(2,1)"),
    ("x+1", "x-1"),
    (r"2\sqrt{2}", r"3\sqrt{2}"),
    ("12", "1 2"),
    ("[0,1)", "[0,1]"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_the_same_value_in_another_spelling_is_right(gold, answer):
    assert verify(gold, answer) == (True, "graded")


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_another_value_is_wrong_however_alike_it_looks(gold, answer):
    assert not verify(gold, answer)[0]


@settings(max_examples=150, deadline=None)
@given(st.fractions(max_denominator=10**6), st.integers(1, 50))
def test_a_fraction_equals_itself_expanded_and_nothing_next_to_it(value, factor):
    top, bottom = value.numerator * factor, value.denominator * factor
    for spelling in (f"{top}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", rf"$\dfrac{{{top}}}{{{bottom}}}$"):
        assert rational(normal(spelling)) == value
    assert verify(str(value), f"{top + 1}/{bottom}") == (False, "graded")


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_decimals_and_separators_are_read_exactly(digits, places):
    value = Decimal(digits).scaleb(-places)
    assert rational(normal(f"{value:,f}")) == Fraction(value)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_normal_spelling_never_fails_and_a_plain_reading_is_stable(text):
    rational(normal(text))
    assert not text.isdecimal() or not text.isascii() or rational(normal(text)) == int(text)


def test_empty_overlong_and_unreadable_answers_are_unparsable():
    for answer in ("", "   ", "1" * 2001, r"\frac{"):
        assert verify("1", answer) == (False, "unparsable")


def test_golds_made_for_this_test_accept_themselves():
    for gold in {gold for gold, _ in SAME + DIFFERENT}:
        assert accepts_itself(gold), gold


def test_golds_that_hold_nothing_to_compare_are_refused():
    for gold in ("", "  ", "$$", "9" * 2001, r"\frac{", "np.arcsin(1)"):
        assert not accepts_itself(gold), gold


DATA = Path(__file__).parents[3] / "shared" / "data"
FLOORS = {  # of how many golds each set accepted at least this many when this was written
    "math_500.jsonl": 500,
    "aime_2024.jsonl": 30,
    "aime_2025.jsonl": 30,
    "amc_2023.jsonl": 40,
    "gsm8k_test.jsonl": 1319,
    "minerva_math.jsonl": 266,
    "olympiadbench_math_en.jsonl": 672,
}


@pytest.mark.parametrize("name", [name for name in FLOORS if (DATA / name).exists()])
def test_golds_of_the_public_sets_accept_themselves(name):
    golds = [json.loads(line)["answer"] for line in (DATA / name).open(encoding="utf-8")]
    assert sum(map(accepts_itself, golds)) >= FLOORS[name]


def test_a_power_tower_is_a_timeout_its_worker_is_killed_and_the_next_answer_is_graded():
    assert verify(r"\sqrt{12}", r"2\sqrt{3}")[0]
    before = _MATH_VERIFY.process.pid
    start = time.perf_counter()
    assert verify(r"\sqrt{2}", "9^{9^{9^{9}}}") == (False, "timeout")
    assert time.perf_counter() - start < 2
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert verify(r"\sqrt{20}", r"2\sqrt{5}") == (True, "graded")


@pytest.mark.parametrize(
    "answer",
    [
        "{" * 1_000_000,
        r"\boxed{" * 100_000,
        "(" * 1_900,
        r"\frac{" * 300,
        r"\sqrt{" * 300 + "2" + "}" * 300,
        "99999999!",
        "10^{10^{10}}",
        "1" * 1_999,
        "9" * 999 + "^" + "9" * 999,
        "x" + "+x" * 900,
        r"\begin{pmatrix}" * 100,
    ],
)
def test_hostile_answers_are_wrong_and_soon_done(answer):
    verify(r"\sqrt{2}", r"\sqrt{3}")  # the worker's start is not what is timed
    start = time.perf_counter()
    assert not verify(r"\sqrt{2}", answer)[0]
    assert time.perf_counter() - start < 4  # 1 s limit, and a new worker where the last item killed it


def test_an_answer_that_is_code_is_not_run(tmp_path):
    mark = tmp_path / "ran"
    code = f"__import__('pathlib').Path('{mark}').touch()"
    verify("1", code)
    verify(r"\sqrt{2}", code)
    assert not mark.exists()


def test_it_works_off_the_main_thread_and_from_many_at_once():
    right = []

    def ask(n):
        right.append(verify(rf"\sqrt{{{n * n * 2}}}", rf"{n}\sqrt{{2}}"))

    threads = [threading.Thread(target=ask, args=[n]) for n in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [(True, "graded")] * 6


def test_a_forked_child_uses_a_worker_of_its_own_and_leaves_the_parents_alone():
    assert verify(r"\sqrt{18}", r"3\sqrt{2}")[0]
    parents = _MATH_VERIFY.process.pid
    child = os.fork()
    if child == 0:
        right = verify(r"\sqrt{27}", r"3\sqrt{3}")[0] and _MATH_VERIFY.process.pid != parents
        _MATH_VERIFY.stop()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _MATH_VERIFY.process.pid == parents
    assert verify(r"\sqrt{45}", r"3\sqrt{5}") == (True, "graded")


def test_the_callers_own_alarm_survives():
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(1000)
    verify(r"\sqrt{50}", r"5\sqrt{2}")
    assert signal.alarm(0) > 900


def test_no_worker_outlives_a_parent_that_is_killed():
    code = r"""
import os, signal
from rewards.verify import _MATH_VERIFY, verify
verify(r'\sqrt{8}', r'2\sqrt{2}')
print(_MATH_VERIFY.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    worker = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout)
    for _ in range(100):
        if not _alive(worker):
            return
        time.sleep(0.05)
    pytest.fail(f"worker {worker} is still there 5 s after its parent was killed")


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
