"""Problem sets: from the hub, from a generator, or from a file of one JSON object a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UsageError
from configs.fingerprint import fingerprint
from configs.load import load_suite
from configs.schema import GymSuite, HubSuite, Suite
from rewards.procedural import asked_sums, solution, sums
from rewards.types import Problem
from rewards.verify import FORMS, accepts_itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSet:
    """A suite as it was loaded. Same fingerprint: same ids, questions and answers, in the same order."""

    name: str
    problems: tuple[Problem, ...]
    bad_gold: tuple[str, ...]
    """Ids of problems whose gold the verifier rejects: they stay in, and grading says so each time."""

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of a sha256 over ids, questions and answers."""
        return fingerprint([[each.id, each.question, each.answer] for each in self.problems])

    def first(self, count: int) -> ProblemSet:
        """The first `count` problems as a set of their own. Raises UsageError unless 0 < count."""
        if count < 1:
            raise UsageError(f"a problem set needs at least 1 problem, not {count}")
        kept = self.problems[:count]
        ids = {each.id for each in kept}
        return ProblemSet(name=self.name, problems=kept, bad_gold=tuple(each for each in self.bad_gold if each in ids))


def load_problems(suite: str, *, fetch: bool = True) -> ProblemSet:
    """The problems of a suite of configs/suites, or of a file whose path ends in .jsonl.

    A line of a file holds id, problem and answer, and may hold level, source, solution
    and form (any, final, aime). Raises UsageError with what to type
    when there is no such suite or file, a line can't be used, the hub can't be reached, or no gold is any good.
    Without `fetch` the hub is not asked: its sets are had only where they lie in the cache of `datasets`.
    """
    problems = tuple(_from_file(Path(suite)) if suite.endswith(".jsonl") else _from_config(load_suite(suite), fetch))
    if not problems:
        raise UsageError(f"{suite} holds no problem: each line must be a JSON object with id, problem and answer")
    if twice := [key for key, count in Counter(each.id for each in problems).items() if count > 1]:
        raise UsageError(f"{suite}: id {twice[0]!r} occurs more than once ({len(twice)} such ids); make them unique")
    bad = tuple(each.id for each in problems if not accepts_itself(each.answer))
    if len(bad) == len(problems):
        raise UsageError(f"{suite}: no answer is LaTeX or a number, {problems[0].answer[:60]!r} for one; write them so")
    return ProblemSet(name=suite, problems=problems, bad_gold=bad)


def is_at_hand(suite: str) -> bool:
    """Whether the problems of a suite need no hub: a file, or made here."""
    return suite.endswith(".jsonl") or load_suite(suite).hub is None


def check_held_out(suite: ProblemSet, train: ProblemSet) -> None:
    """Raises UsageError where a question that measures is also trained on."""
    if overlap := {one.question for one in suite.problems} & {one.question for one in train.problems}:
        raise UsageError(
            f"{len(overlap)} problems of {suite.name} are also in {train.name}; what is measured must be held out: "
            "choose another --suite or --eval-suite"
        )


def read_rows(path: Path, fields: Iterable[str]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Line numbers and JSON objects of a .jsonl file, one at a time; blank lines are passed over, a BOM too.

    Raises UsageError with path and line number when the file can't be read or a line isn't an object with all `fields`.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise UsageError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
                if missing := [field for field in fields if row.get(field) is None]:
                    has = ", ".join(row) or "nothing"
                    raise UsageError(f"{path}, line {number}: no {' and no '.join(missing)}; the line has {has}")
                yield number, row
    except json.JSONDecodeError as error:
        where = f"{path}, line {number}"
        raise UsageError(f"{where}: not JSON ({error.msg} at column {error.colno}); write one object a line") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}; name an existing .jsonl file") from error


def _from_file(path: Path) -> Iterable[Problem]:
    for number, row in read_rows(path, ("id", "problem", "answer")):
        level, source, solution = (
            None if row.get(key) is None else str(row[key]) for key in ("level", "source", "solution")
        )
        question, answer = str(row["problem"]), str(row["answer"])
        form = row.get("form", "any")
        if form not in FORMS:
            raise UsageError(f"{path}, line {number}: form {form!r} is none of {', '.join(FORMS)}")
        yield Problem(
            id=str(row["id"]),
            question=question,
            answer=answer,
            level=level,
            source=source,
            solution=solution,
            form=form,
        )


def _from_config(suite: Suite, fetch: bool) -> Iterable[Problem]:
    if made := suite.procedural:
        asked = made.generator == "asked-sums"
        rows = (
            asked_sums(made.split, made.size, made.seed, digits=made.digits[0])
            if asked
            else sums(made.split, made.size, made.seed, digits=made.digits)
        )
        for index, (question, answer, level) in enumerate(rows):
            name = f"{suite.name}/{made.split}/{index}"
            yield Problem(
                id=name,
                question=question,
                answer=answer,
                level=level,
                source=made.generator,
                solution=None if asked else solution(question),
            )
    if gym := suite.reasoning_gym:
        for index, (question, answer) in enumerate(_gym_rows(suite.name, gym)):
            yield Problem(
                id=f"{suite.name}/{index}",
                question=question,
                answer=answer,
                level=gym.level,
                source=f"reasoning-gym {gym.task}",
            )
    if hub := suite.hub:
        columns = hub.fields
        for index, row in enumerate(_hub_rows(suite.name, hub, fetch)):
            yield Problem(
                id=f"{suite.name}/{hub.split}/{row[columns['id']] if 'id' in columns else index}",
                question=str(row[columns["problem"]]),
                answer=_gold(row[columns["answer"]], suite),
                level=str(row[columns["level"]]) if "level" in columns else None,
                source=hub.id,
                solution=str(row[columns["solution"]]) if "solution" in columns else None,
                form=suite.form,
            )


def _gym_rows(name: str, gym: GymSuite) -> Iterable[tuple[str, str]]:
    import reasoning_gym

    try:
        wanted = gym.skip + gym.size
        rows = reasoning_gym.create_dataset(gym.task, size=8 * wanted, seed=gym.seed, **gym.options)
    except (ValueError, TypeError, AssertionError) as error:  # its ways to refuse a task, an option or a value
        raise UsageError(
            f"suite {name}: reasoning-gym refuses {gym.task}: {error}; correct the suite's YAML"
        ) from error
    seen: set[str] = set()
    for row in rows:
        if row["question"] not in seen:
            seen.add(row["question"])
            if len(seen) > gym.skip:
                yield row["question"], str(row["answer"])
            if len(seen) == wanted:
                return
    raise UsageError(f"suite {name}: {gym.task} has only {len(seen)} different questions; lower size from {gym.size}")


@contextmanager
def _offline() -> Iterator[None]:
    """What HF_DATASETS_OFFLINE=1 does, which `datasets` reads when it is imported."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def _gold(value: Any, suite: Suite) -> str:
    if suite.answer == "first-of-list":
        value = value[0] if value else ""
    return str(value).rpartition("####")[2].strip() if suite.answer == "after-hashes" else str(value).strip()


def _hub_rows(name: str, hub: HubSuite, fetch: bool) -> Iterable[dict[str, Any]]:
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import GatedRepoError

    def refuse(what: str) -> UsageError:
        file = "--suite path.jsonl (one JSON object a line with id, problem, answer)"
        return UsageError(f"suite {name}: {hub.id} {what}, or use a copy on disk: {file}")

    try:
        with nullcontext() if fetch else _offline():
            rows = datasets.load_dataset(hub.id, hub.config, split=hub.split, revision=hub.revision)
    except GatedRepoError as error:
        raise refuse("is gated; accept its terms on the hub and run 'hf auth login'") from error
    except DatasetNotFoundError as error:
        raise refuse("is not on the hub, or it is gated; run 'hf auth login'") from error
    except OSError as error:  # no network, offline mode, HTTP errors: all of them are OSErrors
        if not fetch:
            raise refuse("is not on this disk, and is not fetched here; audit a base on it once") from error
        raise refuse(f"can't be fetched from the hub ({type(error).__name__}); try again with a network") from error
    except (ValueError, DatasetsError) as error:  # no such config or split
        raise refuse(f"can't be loaded ({error}); correct configs/suites/{name}.yaml") from error
    assert isinstance(rows, datasets.Dataset)
    if unknown := sorted(set(hub.fields.values()) - set(rows.column_names)):
        has = ", ".join(rows.column_names)
        raise refuse(f"has no column {', '.join(unknown)} but {has}; correct configs/suites/{name}.yaml")
    yield from rows  # type: ignore[misc]
