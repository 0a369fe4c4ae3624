"""What is read from completions written by hand, and how long the worst of them take."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.load import load_template, names
from rewards.reading import boxed, read

NONE, R1, THINK, LAST, SIMPLE = (load_template(name) for name in ("none", "r1", "r1-think", "last-line", "simple"))


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed 5.", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{4} and \boxed{", "4"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{3} as \boxed{} asks", "3"),
        (r"stray } and { \boxed{6}", "6"),
        ("no box", None),
        (r"\boxed", None),
    ],
)
def test_the_last_balanced_box_is_read(text, content):
    assert boxed(text) == content


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        (" 13", "13", "13"),
        (" 13\n\nQuestion: What is 2 + 2?\nAnswer: 4", "13", "13"),
        (" 5 + 8 = 13", "5", "13"),  # the question said again is not an answer
        (" It is -1,300.5.", "-1,300.5", "-1,300.5"),
        (" I do not know", None, None),
        ("\n13", None, None),  # one line is the contract
    ],
)
def test_a_bare_number_is_the_first_of_the_line(text, strict, lenient):
    template = load_template("qa-number")
    assert (read(text, template, "strict"), read(text, template, "lenient")) == (strict, lenient)


def wrapped_or_joined(inner):
    return inner.map(lambda text: "{" + text + "}") | st.tuples(inner, inner).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.text("ab1 ", min_size=1), wrapped_or_joined), st.text("ab}{ "))
def test_any_balanced_content_comes_back_whole(content, before):
    assert boxed(before + r"\boxed{" + content + "}") == (content if content.strip() else None)


@pytest.mark.parametrize(
    "marker",
    [
        "<|im_end|>",
        "<|endoftext|>",
        "</s>",
        "<|im_start|>user",
        "\nQuestion: next?",
        "\nProblem: next",
    ],
)
def test_nothing_behind_the_end_of_an_answer_is_read(marker):
    assert read(rf"\boxed{{1}}{marker} \boxed{{2}}", NONE, "strict") == "1"
    assert read(rf"so{marker} \boxed{{2}}", NONE, "lenient") is None


def test_a_stop_string_that_closes_the_answer_is_part_of_it():
    assert read("<think>a</think> <answer>3</answer> <answer>4</answer>", R1, "strict") == "3"
    assert read("a</think> <answer>so \\boxed{3}</answer>\nUser: more", THINK, "strict") == "3"


def test_thinking_that_never_closes_holds_no_answer_unless_read_leniently():
    for template, text in (
        (THINK, r"hm \boxed{5}"),
        (NONE, r"<think>hm \boxed{5}"),
        (R1, r"<think><answer>5</answer>"),
    ):
        assert read(text, template, "strict") is None
        assert read(text, template, "lenient") == "5"


def test_a_box_inside_closed_thinking_is_not_the_answer():
    for reading in ("strict", "lenient"):
        assert read(r"<think>\boxed{5}</think> I stop.", NONE, reading) is None
    assert read(r"<think>\boxed{5}</think> \boxed{6} <think> \boxed{7}", NONE, "strict") == "6"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Steps\nAnswer: 12", "12"),
        ("**Answer:** $12$", "$12$"),
        ("Answer: 1\nAnswer: 2", "2"),
        ("Final answer: \\boxed{4}", "4"),
        ("The Answer: 12", None),
        ("12", None),
        ("Answer:\n12", None),
    ],
)
def test_an_answer_line_is_a_line_that_starts_so(text, answer):
    assert read(text, LAST, "strict") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"#### 3 \boxed{4}", "4"),
        ("<answer>5</answer> 6", "5"),
        ("Answer: 7\nor 8", "7"),
        ("so the answer is 9. Also 10", "9"),
        ("The answer is $x+1$, for 3 reasons", "$x+1$"),
        ("the answer is blue.", "blue"),
        ("work\n#### 1,234\nbye", "1,234"),
        ("2 and 3 make -5.", "-5"),
        ("we get 7/2", "7/2"),
        ("x-3 = 4-1", "1"),
        ("nothing", None),
        ("", None),
    ],
)
def test_lenient_takes_an_answer_wherever_one_stands(text, answer):
    assert read(text, SIMPLE, "lenient") == answer


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "}",
        r"\boxed{",
        r"\boxed",
        r"\boxed ",
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "Answer:",
        "\nAnswer: ",
        "answer is ",
        "answer is $",
        "####",
        "1,",
        "-1",
        " ",
        "\n",
        "* ",
        "$",
        r"\fbox{\boxed{",
        "\\",
        "answer is 1 ",
        "Answer:*  ",
    ],
)
def test_a_megabyte_of_anything_is_read_in_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    for template in (NONE, R1, THINK, LAST, SIMPLE):
        for reading in ("strict", "lenient"):
            start = time.perf_counter()
            read(text, template, reading)
            assert time.perf_counter() - start < 5, template.name


def test_every_template_reads_what_it_asks_for():
    good = {"boxed": r"\boxed{8}", "answer-tag": "</think><answer>8</answer>", "answer-line": "\nAnswer: 8", "any": "8"}
    good["first-number"] = "8"
    assert names("templates")
    for name in names("templates"):
        template = load_template(name)
        assert read("</think> " * (template.thinking == "opened") + good[template.strict], template, "strict") == "8"


def test_a_question_with_braces_is_asked_as_it_is():
    assert load_template("qa").ask("{problem} {x}") == "Question: {problem} {x}\nAnswer:"


def policies():
    """The rows of the table in rewards/README.md: completion, strict answer, lenient answer."""
    text = (Path(__file__).parents[2] / "rewards" / "README.md").read_text(encoding="utf-8")
    table = text.partition("| completion | strict reads | lenient reads |\n|---|---|---|\n")[2].partition("\n\n")[0]
    for line in table.splitlines():
        cells = [cell.strip().strip("`").replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        completion, strict, lenient = cells
        yield completion.replace(r"\n", "\n"), *(None if cell == "nothing" else cell for cell in (strict, lenient))


@pytest.mark.parametrize(("completion", "strict", "lenient"), list(policies()))
def test_the_written_policy_is_what_is_read(completion, strict, lenient):
    template = load_template("none")
    assert (read(completion, template, "strict"), read(completion, template, "lenient")) == (strict, lenient)
