"""Read the answer back out of a completion, the same way in training, audit and regrading.

Every step is linear in the length of the text: a completion is written by something that learns to please this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from configs.schema import Reader, Reading, Template

END_OF_TURN = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "</s>",
    "<end_of_turn>",
    "<eos>",
    "<|end|>",
    "<｜end▁of▁sentence｜>",
    "<|im_start|>",
)
# A base that does not stop asks itself the next question.
RUN_ON = (
    "\nQuestion:",
    "\nQ:",
    "\nProblem:",
    "\nUser:",
    "\nHuman:",
    "\nuser\n",
    "\n### Problem",
    "\n### Question",
    "\n**Problem",
    "\n**Question",
)

_BOX = re.compile(
    r"\\(?:boxed|fbox|framebox)(?![a-zA-Z])\s*(?:\[[^\]\n]{0,20}\]\s*)*(?:(?P<box>\{)|(?P<bare>[+-]?[0-9][0-9.,/]*))"
)
_BRACES = re.compile(_BOX.pattern + r"|\\[{}]|(?P<brace>[{}])")  # \{ and \} are printed, so they open and close nothing
_BESIDE = re.compile(  # what may stand between two boxes that are one answer
    r"(?:[\s,;.$&]|\\(?:quad|qquad|[ ,;()\[\]\\])|\\(?:text|mbox|mathrm)\{\s*,?\s*(?:and|or)\s*\}|and\b|or\b|[a-zA-Z](?:_\{?\d\}?)?\s*=)*"
)
FARTHEST = 60  # characters between two boxes that are one answer
_LINE = re.compile(r"^[ \t*#>]*(?:final )?answer[ \t*]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_IS = re.compile(r"answer is\b:?", re.IGNORECASE)
_VALUE = re.compile(
    r"[ \t*]*(?:(\$[^$\n]+\$)|([+-]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?\b(?:\\?%)?)|(.*?)(?:\. |\.?$))", re.MULTILINE
)
_NUMBER = re.compile(r"(?:(?<![0-9A-Za-z)])[+-])?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?")


def read(completion: str, template: Template, reading: Reading) -> str | None:
    r"""The answer in a completion, or None when there is none to read.

    Strict reads by the template's own contract, and nothing where thinking was opened and never closed. Lenient
    takes an answer wherever one stands. What follows an end-of-turn token, a stop string or a new question is not read.
    """
    lenient = reading == "lenient"
    text = spoken(completion, stops=template.stop, opened=template.thinking == "opened", lenient=lenient)
    answer = None if text is None else READERS[template.strict if reading == "strict" else template.lenient](text)
    return answer.strip() or None if answer else None


def missing(completion: str, template: Template, reading: Reading) -> str:
    """Why `read` found nothing: thinking_not_closed, only_in_thinking, unfinished_box or no_answer."""
    text = _cut(completion, template.stop)
    if reading == "strict" and "</think>" not in text and (template.thinking == "opened" or "<think>" in text):
        return "thinking_not_closed"
    thought, closed, said = text.rpartition("</think>")
    if closed and READERS[template.strict](thought.replace("</answer", "")):
        return "only_in_thinking"
    return "unfinished_box" if "\\boxed" in said else "no_answer"


def _cut(text: str, stops: Sequence[str]) -> str:
    ends = [at for stop in stops if not stop.startswith("</") and (at := text.find(stop)) >= 0]
    if "<" in text:
        ends += [at for marker in END_OF_TURN if (at := text.find(marker)) >= 0]
    if "\n" in text:
        ends += [at for marker in RUN_ON if (at := text.find(marker)) >= 0]
    text = text[: min(ends)] if ends else text
    # A stop string such as </answer> closes the answer and belongs to it; in a text that goes on thinking it ended nothing.
    thought = text.rfind("</think>") + 1
    ends = [at + len(stop) for stop in stops if stop.startswith("</") and (at := text.find(stop, thought)) >= 0]
    return text[: min(ends)] if ends else text


def spoken(completion: str, *, stops: Sequence[str] = (), opened: bool = False, lenient: bool = False) -> str | None:
    """What a completion says aloud: up to its end of turn or next question, behind its thinking.

    None where thinking was opened (by the prompt, if `opened`) and never closed, unless `lenient`.
    """
    text = _cut(completion, stops)
    _, closed, tail = text.rpartition("</think>")
    if closed:
        return tail.partition("<think>")[0]
    if lenient:
        return text
    return None if opened or "<think>" in text else text


def boxed(text: str) -> str | None:
    r"""Content of the last balanced, non-empty \boxed{}, \fbox{} or \framebox{}; of nested ones the inner. \boxed 5 counts.

    Different boxes side by side ("x = \boxed{1} or \boxed{2}") are one answer, "1, 2"; farther apart the last one counts.

    >>> boxed(r"so \boxed{1}, no, the answer must be: \boxed{\frac{1}{2}} and \boxed{unfinished")
    '\\frac{1}{2}'
    >>> boxed(r"\boxed{1} or \boxed{2}")
    '1, 2'
    """
    first = text.find("box")
    if first < 0:
        return None
    if (
        text.startswith("ed{", first + 3) and text.find("box", first + 3) < 0
    ):  # the usual case: one box, no braces in it
        content, closed, _ = text[first + 6 :].partition("}")
        if closed and "{" not in content and "\\" not in content and text[first - 1 : first] == "\\":
            return content if content.strip() else None
    boxes: list[tuple[int, int, str]] = []  # start, end, content, by start: an inner box replaces the one around it
    open_braces: list[tuple[int, int] | None] = []  # where a box starts and its content; None for any other brace
    for token in _BRACES.finditer(text, max(0, first - len(r"\frame"))):
        if token["box"]:
            open_braces.append((token.start(), token.end()))
        elif token["bare"]:
            boxes.append((token.start(), token.end(), token["bare"].rstrip(".,/")))
        elif token["brace"] == "{":
            open_braces.append(None)
        elif token["brace"] == "}" and open_braces and (box := open_braces.pop()):
            content = text[box[1] : token.start()] if not boxes or box[0] > boxes[-1][0] else ""
            if content.strip():
                boxes.append((box[0], token.end(), content))
    if not boxes:
        return None
    together = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if not 0 <= together[-1][0] - box[1] <= FARTHEST or not _BESIDE.fullmatch(text, box[1], together[-1][0]):
            break
        together.append(box)
    contents = dict.fromkeys(content.strip() for _, _, content in reversed(together))
    return boxes[-1][2] if len(contents) == 1 else ", ".join(contents)


def answer_tag(text: str) -> str | None:
    """Content of the last closed <answer>...</answer>; of a box inside it, if there is one."""
    before, closed, _ = text.rpartition("</answer>")
    _, opened, content = before.rpartition("<answer>")
    return boxed(content) or content if closed and opened else None


def answer_line(text: str) -> str | None:
    """What follows the last "Answer:" that starts a line; of a box in that line, its content."""
    return _last(_LINE, text)


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    content = None
    for found in pattern.finditer(text):
        content = found[1].strip(" \t\r*") or content
    return None if content is None else boxed(content) or content


def _sentence(text: str) -> str | None:
    end = None
    for found in _IS.finditer(text):
        end = found.end()
    if end is None or not (value := _VALUE.match(text, end)):
        return None
    return next((group for group in value.groups() if group and group.strip()), None)


def _after_hashes(text: str) -> str | None:
    _, hashes, tail = text.rpartition("####")
    return tail.strip().partition("\n")[0] if hashes else None


def last_number(text: str) -> str | None:
    """The last number of a text, with its sign, thousands and fraction bar."""
    number = None
    for found in _NUMBER.finditer(text):
        number = found[0]
    return number.rstrip(",") if number else None


def stated(text: str) -> str | None:
    """A box, else a tag, else an answer line, else "the answer is X", else "#### X"."""
    readers = (boxed, answer_tag, answer_line, _sentence, _after_hashes)
    return next((answer for reader in readers if (answer := reader(text))), None)


def anywhere(text: str) -> str | None:
    """What is stated as the answer, else the last number."""
    return stated(text) or last_number(text)


def first_number(text: str) -> str | None:
    """The first number of a text, with its sign, thousands and fraction bar."""
    found = _NUMBER.search(text)
    return found[0].rstrip(",") if found else None


READERS: dict[Reader, Callable[[str], str | None]] = {
    "boxed": boxed,
    "answer-tag": answer_tag,
    "answer-line": answer_line,
    "first-number": first_number,
    "any": anywhere,
}
