"""Read the answer back out of a completion, the same way in training, audit and regrading.

Every step is linear in the length of the text: a completion is written by something that learns to please this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from configs.schema import Reader, Reading, Template

END_OF_TURN = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "</s>",
    "<end_of_turn>",
    "<eos>",
    "<|im_start|>",
)
# A base that does not stop asks itself the next question.
RUN_ON = ("\nQuestion:", "\nProblem:", "\nUser:", "\nHuman:", "\nuser\n")

_BRACES = re.compile(
    r"\\(?:boxed|fbox)\s*(?:(?P<box>\{)|(?P<bare>[+-]?[0-9][0-9.,/]*))"
    r"|\\[{}]|(?P<brace>[{}])"  # \{ and \} are printed, so they open and close nothing
)
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
    text = _spoken(_cut(completion, template.stop), opened=template.thinking == "opened", lenient=reading == "lenient")
    answer = None if text is None else READERS[template.strict if reading == "strict" else template.lenient](text)
    return answer.strip() or None if answer else None


def _cut(text: str, stops: list[str]) -> str:
    # A stop string such as </answer> closes the answer and belongs to it; all others stand behind it.
    ends = [at + len(stop) * stop.startswith("</") for stop in stops if (at := text.find(stop)) >= 0]
    ends += [at for marker in END_OF_TURN + RUN_ON if (at := text.find(marker)) >= 0]
    return text[: min(ends)] if ends else text


def _spoken(text: str, *, opened: bool, lenient: bool) -> str | None:
    _, closed, tail = text.rpartition("</think>")
    if closed:
        return tail.partition("<think>")[0]
    if lenient:
        return text
    return None if opened or "<think>" in text else text


def boxed(text: str) -> str | None:
    r"""Content of the last balanced, non-empty \boxed{} or \fbox{}; of nested ones the inner. \boxed 5 counts too.

    >>> boxed(r"so \boxed{1}, no: \boxed{\frac{1}{2}} and \boxed{unfinished")
    '\\frac{1}{2}'
    """
    last, found = -1, None
    open_braces: list[tuple[int, int] | None] = []  # where a box starts and its content; None for any other brace
    for token in _BRACES.finditer(text):
        if token["box"]:
            open_braces.append((token.start(), token.end()))
        elif token["bare"]:
            last, found = token.start(), token["bare"].rstrip(".,/")
        elif token["brace"] == "{":
            open_braces.append(None)
        elif token["brace"] == "}" and open_braces and (box := open_braces.pop()):
            content = text[box[1] : token.start()] if box[0] > last else ""
            if content.strip():
                last, found = box[0], content
    return found


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


def _last_number(text: str) -> str | None:
    number = None
    for found in _NUMBER.finditer(text):
        number = found[0]
    return number.rstrip(",") if number else None


def anywhere(text: str) -> str | None:
    """A box, else a tag, else an answer line, else "the answer is X", else "#### X", else the last number."""
    readers = (boxed, answer_tag, answer_line, _sentence, _after_hashes, _last_number)
    return next((answer for reader in readers if (answer := reader(text))), None)


READERS: dict[Reader, Callable[[str], str | None]] = {
    "boxed": boxed,
    "answer-tag": answer_tag,
    "answer-line": answer_line,
    "any": anywhere,
}
