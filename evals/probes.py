"""Questions to a base that its scores leave open: has it read the test, can it see letters? (How far it calculates:
evals/arithmetic.py.)

Each probe is a list of requests, drawn greedily by any engine, and a function from the completions to estimates.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from configs.errors import UsageError
from evals.estimate import Estimate, mean_over_problems, paired_difference
from evals.sampling import Request
from rewards.reading import anywhere
from rewards.types import Problem
from rewards.verify import verify

SHOWN = 0.6
"""Share of a question that the contamination probe shows, as in Wu et al. 2025 (arXiv 2507.10532)."""

Unit = TypeVar("Unit")

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A question cut in two. The base sees `shown` and nothing else, no template; `rest` is what it should not know."""

    problem: Problem
    arm: str
    """`asked`, or `fresh`: the same question with other numbers, which no test set holds."""
    shown: str
    rest: str

    @property
    def request(self) -> Request:
        return Request(problem_id=f"{self.problem.id}|{self.arm}", sample=0, prompt=self.shown)

    @property
    def pair(self) -> list[str]:
        """The requests, by problem id, of this question in both arms."""
        return [f"{self.problem.id}|{arm}" for arm in ("asked", "fresh")]


def cut_question(text: str, share: float = SHOWN) -> tuple[str, str]:
    """The words that hold the first `share` of a text, and the words behind them.

    >>> cut_question("one two three four five")
    ('one two three', 'four five')
    """
    words = text.split()
    ends = np.cumsum([len(word) + 1 for word in words])
    count = int(np.searchsorted(ends, share * ends[-1])) + 1 if len(words) else 0
    return " ".join(words[:count]), " ".join(words[count:])


def renumbered(text: str, rng: random.Random) -> str:
    """The text with another number of as many digits in every number's place: as hard to guess, and never seen."""

    def other(found: re.Match[str]) -> str:
        low = 10 ** (len(found[0]) - 1) if len(found[0]) > 1 else 0
        value = rng.randrange(low, 10 ** len(found[0]) - 1)
        return str(value + (value >= int(found[0])))

    return _NUMBER.sub(other, text)


def cuts(problems: Sequence[Problem], *, seed: int) -> list[Cut]:
    """Both arms of every question whose hidden part holds a number: the others can't tell reading from guessing.

    Raises UsageError when no question does.
    """
    found = []
    for problem in problems:
        fresh = renumbered(problem.question, random.Random(f"{seed}/{problem.id}"))
        for arm, text in (("asked", problem.question), ("fresh", fresh)):
            shown, rest = cut_question(text)
            if _NUMBER.search(rest):
                found.append(Cut(problem=problem, arm=arm, shown=shown, rest=rest))
    both = {cut.problem.id for cut in found if cut.arm == "asked"} & {
        cut.problem.id for cut in found if cut.arm == "fresh"
    }
    if not both:
        raise UsageError("no question has a number in its last 40%; choose another --suite or a larger --limit")
    return [cut for cut in found if cut.problem.id in both]


def drawn_whole(units: Sequence[Unit], requests: Callable[[Unit], Sequence[str]], drawn: Container[str]) -> list[Unit]:
    """The units, one question each or one arm of it, all of whose `requests` (by problem id) were drawn.

    A prompt that was not drawn says nothing of the base; its pair goes with it. Raises UsageError where none is left.
    """
    kept = [unit for unit in units if all(id in drawn for id in requests(unit))]
    if not kept:
        raise UsageError("no question could be asked: none leaves room in the context; lower --max-tokens")
    return kept


def contamination(cuts: Sequence[Cut], completions: Mapping[str, str]) -> dict[str, dict[str, Estimate]]:
    """How much of the hidden part comes back, on questions as asked, on fresh ones, and the difference by question.

    `exact`: all hidden words, in order and nothing between. `rouge_l`: the share of them that stand in the completion
    in order (ROUGE-L recall, Lin 2004). `answer`: the gold follows; on a fresh question it is the wrong answer, and only
    one who knows the test by heart gives it. A question that the set asks twice is one cluster of the intervals.
    """
    same = [" ".join(cut.problem.question.split()) for cut in cuts if cut.arm == "asked"]
    rates: dict[str, dict[str, list[float]]] = {
        arm: {"exact": [], "rouge_l": [], "answer": []} for arm in ("asked", "fresh")
    }
    for cut in cuts:
        text = completions[cut.request.problem_id]
        rest, words = cut.rest.split(), text.split()
        rates[cut.arm]["exact"].append(float(words[: len(rest)] == rest))
        rates[cut.arm]["rouge_l"].append(_in_order(rest, words[: 2 * len(rest)]) / len(rest))
        answer = anywhere(" ".join(words[len(rest) :]))
        rates[cut.arm]["answer"].append(float(answer is not None and verify(cut.problem.answer, answer).correct))
    asked, fresh = ({name: np.array(values) for name, values in rates[arm].items()} for arm in ("asked", "fresh"))
    return {
        name: {
            "asked": mean_over_problems(asked[name], same=same),
            "fresh": mean_over_problems(fresh[name], same=same),
            "difference": paired_difference(fresh[name], asked[name], same=same),
        }
        for name in asked
    }


def _in_order(reference: Sequence[str], words: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(words) + 1)
    for expected in reference:
        before = 0
        for place, word in enumerate(words, start=1):
            before, row[place] = row[place], before + 1 if word == expected else max(row[place], row[place - 1])
    return row[-1]


# Letters

MANY = 4  # tokens of a word, and more
_EXAMPLES = (("banana", "a", 3), ("window", "w", 2), ("garden", "e", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """How often a letter occurs in a word, asked with the word as it is and with its letters apart."""

    word: str
    letter: str

    @property
    def count(self) -> int:
        return self.word.count(self.letter)

    def request(self, *, spelled: bool) -> Request:
        """Three worked examples before it: what is probed is seeing letters, not following the format."""

        def ask(word: str, letter: str) -> str:
            shown = " ".join(word) if spelled else word
            return f'Question: How many times does the letter "{letter}" occur in "{shown}"?\nAnswer:'

        shots = "".join(f"{ask(word, letter)} {count}\n\n" for word, letter, count in _EXAMPLES)
        arm = "spelled" if spelled else "whole"
        return Request(
            problem_id=f"{self.word}|{self.letter}|{arm}", sample=0, prompt=shots + ask(self.word, self.letter)
        )


def letter_questions(*, size: int, seed: int) -> list[Letters]:
    """Words of six letters and more from reasoning-gym's texts, half of them asked for a letter that repeats."""
    import reasoning_gym

    rows = reasoning_gym.create_dataset("letter_counting", size=40 * size, seed=seed, min_words=1, max_words=1)
    words = sorted({word for row in rows for word in re.findall(r'"([a-z]{6,})"\?$', row["question"])})
    rng = random.Random(seed)
    rng.shuffle(words)
    questions = []
    for word in words:
        repeated = sorted({letter for letter in word if word.count(letter) > 1})
        wanted = repeated if len(questions) % 2 == 0 else sorted(set(word) - set(repeated))
        if wanted:
            questions.append(Letters(word=word, letter=rng.choice(wanted)))
        if len(questions) == size:
            return questions
    raise UsageError(f"there are words for {len(questions)} letter questions, not {size}; lower --limit")


def counted_right(questions: Sequence[Letters], completions: Mapping[str, str], *, spelled: bool) -> np.ndarray:
    """1 for each question whose first number is the count, else 0."""

    def right(question: Letters) -> float:
        found = _NUMBER.search(completions[question.request(spelled=spelled).problem_id])
        return float(found is not None and int(found[0][:9]) == question.count)

    return np.array([right(one) for one in questions])


def letters(
    questions: Sequence[Letters], completions: Mapping[str, str], tokens_of: Mapping[str, int]
) -> dict[str, Any]:
    """Share of counts that are right, by arm and by how many tokens the tokenizer makes of the word.

    If seeing letters is what is hard, words apart are easier than words whole, and the more so the fewer tokens a word
    has: `hidden` is by how much, for words of so many tokens. `floor` is what the commonest count alone would score.
    """
    whole, spelled = (counted_right(questions, completions, spelled=arm) for arm in (False, True))
    tokens = np.array([tokens_of[one.word] for one in questions])
    sizes = np.minimum(tokens, MANY)
    counts = [one.count for one in questions]
    buckets = [(size, sizes == size) for size in range(1, MANY + 1) if (sizes == size).any()]
    return {
        "whole": mean_over_problems(whole),
        "spelled": mean_over_problems(spelled),
        "difference": paired_difference(whole, spelled),
        "floor": max(counts.count(value) for value in set(counts)) / len(counts),
        "tokens_per_word": float(tokens.mean()),
        "letters_per_token": float(sum(len(one.word) for one in questions) / tokens.sum()),
        "by_tokens": {
            f"{size}{'+' if size == MANY else ''}": {
                "whole": mean_over_problems(whole[kept]),
                "hidden": paired_difference(whole[kept], spelled[kept]),
            }
            for size, kept in buckets
        },
    }
